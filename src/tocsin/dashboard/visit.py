"""One request of a browser: who is signed in, in which language, and the cookies that carry it."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tocsin import __version__
from tocsin.access import Principal
from tocsin.api.callers import address_in, caller_of
from tocsin.api.context import Site
from tocsin.dashboard.fields import Fields
from tocsin.dashboard.pages import Pages
from tocsin.dashboard.times import Times
from tocsin.dashboard.words import Languages
from tocsin.errors import NotAuthenticated
from tocsin.model import User
from tocsin.proxies import NOWHERE
from tocsin.sessions import LIFETIME, SECRET_BYTES, SignedIn
from tocsin.verbs import Verbs

SESSION = "tocsin_session"
VISIT = "tocsin_visit"
"""A secret of a browser in which nobody is signed in, for what its forms send."""

MAX_COOKIE_CHARACTERS = 100


class Visit:
    """A browser's request, and what its answer needs to know of it."""

    def __init__(self, request: Request) -> None:
        state = request.app.state
        site: Site = state.site
        self._languages: Languages = state.languages
        self._request = request
        self._pages: Pages = state.pages
        self._verbs: Verbs = state.verbs
        self._is_https = site.public_url.startswith("https:")
        self._sent = {name: self._read_cookie(name) for name in (SESSION, VISIT)}
        self._given: dict[str, str | None] = {}
        self.site = site
        self.words = self._languages.choose(request.headers.get("accept-language"))
        self.times = Times(self.words, None, self._verbs.sessions.clock)
        self.signed_in: SignedIn | None = None
        self.form = Fields()

    async def arrive(self) -> None:
        """Find out who is signed in, and how they like to read."""
        if (secret := self._sent[SESSION]) is None:
            return
        self.signed_in = await self._verbs.sessions.find(secret)
        if self.signed_in is not None:
            user = self.signed_in.user
            self.words = self._languages.all.get(user.language or "", self.words)
            self.times = Times(self.words, user.time_zone, self._verbs.sessions.clock)

    async def still_signed_in(self) -> User | None:
        """Who is signed in now, for an answer that takes long; asking is no use of the session."""
        secret = self._sent[SESSION]
        found = None if secret is None else await self._verbs.sessions.find(secret, is_use=False)
        return None if found is None else found.user

    @property
    def caller(self) -> str:
        """What the request counts for where something is limited: an address, or the network of one."""
        return caller_of(self._request)

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return address_in(self._request.scope) or NOWHERE

    @property
    def languages(self) -> list[str]:
        """Those that pages can be in."""
        return sorted(self._languages.all)

    @property
    def device(self) -> str:
        """What the browser says of itself."""
        return self._request.headers.get("user-agent", "")

    @property
    def secret(self) -> str:
        """What this browser alone knows beside us: its session's secret, or that of its visit, made now if need be."""
        if self.signed_in is not None and (session := self._sent[SESSION]) is not None:
            return session
        visit = self._given.get(VISIT) or self._sent[VISIT]
        if visit is None:
            visit = self._given[VISIT] = secrets.token_urlsafe(SECRET_BYTES)
        return visit

    @property
    def form_token(self) -> str:
        """What every form carries that changes something: nobody who does not know the secret can make it."""
        return hmac.digest(self.secret.encode(), b"form", hashlib.sha256).hex()

    def is_own_form(self, token: str) -> bool:
        """Whether a form was drawn for this browser, for who is signed in there now."""
        has_secret = self.signed_in is not None or self._sent[VISIT] is not None
        return has_secret and hmac.compare_digest(token.encode(), self.form_token.encode())

    def sign_in(self, secret: str) -> None:
        """Give the browser the secret of a new session; that of its visit is never used again."""
        self._given = {SESSION: secret, VISIT: None}

    def sign_out(self) -> None:
        self.signed_in = None
        self._given = {SESSION: None, VISIT: None}

    @property
    def session_secret(self) -> str | None:
        """The secret of the session that the browser has, whether it is still good or not."""
        return self._sent[SESSION]

    def show(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> HTMLResponse:
        """A page, drawn for this visit."""
        content = self._pages.render(
            template,
            values | {"visit": self, "t": self.words, "site": self.site, "version": __version__},
        )
        return HTMLResponse(content, status, headers)

    def go(self, path: str) -> RedirectResponse:
        """Send the browser on, to be asked for with GET."""
        return RedirectResponse(path, 303)

    def leave(self, response: Response) -> None:
        """Put the cookies that have changed into the answer."""
        for name, value in self._given.items():
            if value is None and self._sent[name] is None:
                continue
            response.set_cookie(
                self._cookie(name),
                value or "",
                max_age=int(LIFETIME.total_seconds()) if value else 0,
                path="/",
                secure=self._is_https,
                httponly=True,
                samesite="lax",
            )

    def _cookie(self, name: str) -> str:
        """With the prefix a browser takes it over https alone, and from no other host of the domain."""
        return f"__Host-{name}" if self._is_https else name

    def _read_cookie(self, name: str) -> str | None:
        value = self._request.cookies.get(self._cookie(name), "")
        return value if 0 < len(value) <= MAX_COOKIE_CHARACTERS else None

    def is_own_origin(self, origin: str) -> bool:
        """Whether an `Origin` is this server: as it is called from outside, or as this request calls it."""
        if origin == _origin_of(self.site.public_url):
            return True
        try:
            return urlsplit(origin).netloc == self._request.headers.get("host")
        except ValueError:
            return False


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def get_visit(request: Request) -> Visit:
    visit: Visit = request.state.visit
    return visit


VisitOf = Annotated[Visit, Depends(get_visit)]


async def get_signed_in(visit: VisitOf) -> SignedIn:
    """Who is signed in. Raises NotAuthenticated, upon which the browser is sent to sign in."""
    if visit.signed_in is None:
        raise NotAuthenticated("sign in first")
    return visit.signed_in


SignedInOf = Annotated[SignedIn, Depends(get_signed_in)]


async def get_principal(signed_in: SignedInOf) -> Principal:
    return Principal(signed_in.user, None)


PrincipalOf = Annotated[Principal, Depends(get_principal)]
