"""Signing in: by password, by a link, by a code that comes by mail. And signing out."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Path, Response

from tocsin.accounts import LINK_OVER
from tocsin.api.context import VerbsOf
from tocsin.dashboard.forms import local_path
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import NotAuthenticated, NotFound
from tocsin.letters import Letter
from tocsin.model import User
from tocsin.verbs import Verbs

REFUSED = 403
"""A 401 would have to name a scheme of HTTP that the browser could use."""

router = page_router()

LinkSecret = Annotated[str, Path(max_length=100)]


@router.get("/login")
async def show_sign_in(visit: VisitOf, verbs: VerbsOf, next: str = "/") -> Response:  # noqa: A002 - a name in URLs
    target = local_path(next)
    if visit.signed_in is not None:
        return visit.go(target)
    return _show_form(visit, verbs, target)


@router.post("/login")
async def sign_in(visit: VisitOf, verbs: VerbsOf) -> Response:
    target = local_path(visit.form.get("next"))
    name, password = visit.form.get("username", "").strip(), visit.form.get("password", "")
    try:
        user = await verbs.accounts.sign_in(name, password, address=visit.caller)
    except NotAuthenticated as error:
        return _show_form(visit, verbs, target, name=name, problem=error.message, status=REFUSED)
    return await _begin(visit, verbs, user, target)


@router.get("/login/code")
async def show_code(visit: VisitOf, verbs: VerbsOf, next: str = "/") -> Response:  # noqa: A002 - a name in URLs
    _need_codes(verbs)
    return visit.show("code.html", target=local_path(next), problem=None)


@router.post("/login/code")
async def ask_code(visit: VisitOf, verbs: VerbsOf) -> Response:
    """The answer is the same whether the name is somebody's or not, and takes as long."""
    _need_codes(verbs)
    target = local_path(visit.form.get("next"))
    name = visit.form.get("username", "").strip()
    if not name:
        return _show_form(visit, verbs, target, problem=visit.words("sign_in.no_name"), status=422)

    def write(code: str) -> Letter:
        shown = f"{code[:4]} {code[4:]}"
        text = visit.words("code.mail_text", code=shown, url=visit.site.public_url)
        return Letter(visit.words("code.mail_subject", code=shown), text)

    await verbs.accounts.ask_code(name, browser=visit.secret, write=write, address=visit.caller)
    return visit.go(f"/login/code?{urlencode({'next': target})}")


@router.post("/login/code/check")
async def take_code(visit: VisitOf, verbs: VerbsOf) -> Response:
    _need_codes(verbs)
    target = local_path(visit.form.get("next"))
    try:
        user = await verbs.accounts.take_code(visit.form.get("code", ""), browser=visit.secret, address=visit.caller)
    except NotAuthenticated as error:
        return visit.show("code.html", target=target, problem=error.message, status=REFUSED)
    return await _begin(visit, verbs, user, target)


@router.get("/login/{secret}")
async def show_link(secret: LinkSecret, visit: VisitOf, verbs: VerbsOf) -> Response:
    """A button, for whatever looks at links before people do (mail scanners, previews in chats) must not use it up.

    It says whose account it opens: who was sent somebody else's link shall see it before anything is entered there.
    """
    user = await verbs.accounts.find_link(secret)
    if user is None:
        return visit.show("link.html", secret=secret, user=None, problem=LINK_OVER, status=REFUSED)
    return visit.show("link.html", secret=secret, user=user, problem=None)


@router.post("/login/{secret}")
async def take_link(secret: LinkSecret, visit: VisitOf, verbs: VerbsOf) -> Response:
    try:
        user = await verbs.accounts.take_link(secret, address=visit.caller)
    except NotAuthenticated as error:
        return visit.show("link.html", secret=secret, user=None, problem=error.message, status=REFUSED)
    return await _begin(visit, verbs, user, "/")


@router.post("/logout")
async def sign_out(visit: VisitOf, verbs: VerbsOf) -> Response:
    if visit.signed_in is not None:
        await verbs.sessions.end(visit.signed_in.user, visit.signed_in.session.id)
        visit.sign_out()
    return visit.go("/login")


def _show_form(
    visit: Visit, verbs: Verbs, target: str, *, name: str = "", problem: str | None = None, status: int = 200
) -> Response:
    return visit.show(
        "sign_in.html",
        status=status,
        target=target,
        name=name,
        problem=problem,
        sends_codes=verbs.accounts.sends_codes,
    )


async def _begin(visit: Visit, verbs: Verbs, user: User, target: str) -> Response:
    """A session of its own for each time that somebody signs in: what the browser had before is worth nothing."""
    secret = await verbs.sessions.begin(user, address=visit.address, device=visit.device, replaces=visit.session_secret)
    visit.sign_in(secret)
    return visit.go(target)


def _need_codes(verbs: Verbs) -> None:
    if not verbs.accounts.sends_codes:
        raise NotFound("page")
