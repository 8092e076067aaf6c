"""What holds for every request and answer: a request id, safe headers, tolerant paths, HEAD, and no bug shown."""

import re

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api.callers import ALLOWANCE, address_in, told_of
from tocsin.api.problems import answer, crashed
from tocsin.audit import Actor, set_actor
from tocsin.errors import InvalidInput, NotFound, RequestError
from tocsin.ids import new_request_id

LOG = structlog.get_logger()

SAFE_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Of every answer; those of the API are never shown as pages."""

PAGE_HEADERS = {
    # Nothing from elsewhere, no code or style in the page itself, and no other site around it.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    # With "no-referrer" browsers send our own forms with "Origin: null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Of every answer in HTML, in place of those above."""

CRASH_PAGE = "crash_page"
"""Where the state of a request has the page that stands for a crash, if it was for one."""

HTTPS_ALONE = "max-age=31536000"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class Answers:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, is_https: bool = False) -> None:
        """`is_https` says that clients come by https, and shall never come otherwise again."""
        self._app = app
        self._is_https = is_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, send, is_https=self._is_https).run(self._app, receive)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send, *, is_https: bool) -> None:
        self._send = send
        self._is_https = is_https
        self._is_head = scope["method"] == "HEAD"
        self._is_started = False
        self._request_id = request_id(scope)
        self._scope = {
            **scope,
            "path": tidy_path(scope["path"]),
            "method": "GET" if self._is_head else scope["method"],
        }
        self._state = self._scope.setdefault("state", {})

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        refusal = refuse_nul(self._scope)
        if refusal is not None:
            await answer(refusal)(self._scope, receive, self._answer)
            return
        set_actor(Actor(kind="visitor", address=address_in(self._scope), request_id=self._request_id))
        try:
            await app(self._scope, receive, self._answer)
        except ClientDisconnect:
            return  # nobody is there to answer
        except Exception:
            LOG.exception(
                "request.crashed",
                request_id=self._request_id,
                method=self._scope["method"],
                path=_without_secrets(self._scope["path"]),
            )
            if self._is_started:
                raise
            page: Response | None = self._state.get(CRASH_PAGE)
            await (page or crashed())(self._scope, receive, self._answer)

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_started = True
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            headers.update(told_of(self._state.get(ALLOWANCE)))
            is_page = headers.get("content-type", "").startswith("text/html")
            for name, value in (SAFE_HEADERS | PAGE_HEADERS if is_page else SAFE_HEADERS).items():
                headers.setdefault(name, value)
            if self._is_https:
                headers.setdefault("strict-transport-security", HTTPS_ALONE)
        elif self._is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _without_secrets(path: str) -> str:
    """A path as it may be logged: that of a page may be a permission, as `/login/SECRET` is."""
    return path if path.startswith("/v1/") else "/" + path.split("/")[1]


def request_id(scope: Scope) -> str:
    """The id that the client gave its request, when it is a plain one, or a new one."""
    return read_request_id(dict(scope["headers"]).get(b"x-request-id"))


def read_request_id(given: bytes | None) -> str:
    """As `request_id`, of the header's value."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return str(given, "ascii")
    return new_request_id()


def refuse_nul(scope: Scope) -> RequestError | None:
    """What to answer to an address with a NUL character, which PostgreSQL takes in no text; None for others."""
    if "\0" in scope["path"]:
        return NotFound("page")
    if b"%00" in scope["query_string"]:
        return InvalidInput({"query": ["must not hold NUL characters"]})
    return None


def tidy_path(path: str) -> str:
    """`//v1/apps/` as `/v1/apps`: some clients join an address and a path with one slash too many."""
    return "/" + path.strip("/")
