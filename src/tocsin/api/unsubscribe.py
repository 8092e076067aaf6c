"""The page and the one-click POST by which a recipient leaves an e-mail notifier (RFC 8058)."""

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from tocsin.unsubscribe import Unsubscribe

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<link rel="stylesheet" href="/assets/style.css"></head>
<body><main><h1>{title}</h1>{content}</main></body>
</html>
"""


def unsubscribe_router(unsubscribe: Unsubscribe) -> APIRouter:
    """Two routes that need no token: the link itself is signed. Opening it changes nothing, for mail scanners do."""
    router = APIRouter(include_in_schema=False)

    @router.get("/unsubscribe/{code}")
    async def show(code: str) -> HTMLResponse:
        _, address = unsubscribe.read(code)
        content = f"<p>The button ends these notifications for {escape(address)}.</p>"
        form = '<form method="post"><button type="submit">Unsubscribe</button></form>'
        return _page("Unsubscribe", content + form)

    @router.post("/unsubscribe/{code}")
    async def leave(code: str) -> HTMLResponse:
        address = await unsubscribe.leave(code)
        return _page("Unsubscribed", f"<p>{escape(address)} gets no more of these notifications.</p>")

    return router


def _page(title: str, content: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, content=content))
