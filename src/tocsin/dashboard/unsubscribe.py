"""The page and the one-click POST by which a recipient leaves an e-mail notifier (RFC 8058)."""

from fastapi import APIRouter, Response

from tocsin.dashboard.routes import OpenRoute
from tocsin.dashboard.visit import VisitOf
from tocsin.unsubscribe import Unsubscribe

SECRET_ADDRESS = {"referrer-policy": "no-referrer"}


def unsubscribe_router(unsubscribe: Unsubscribe) -> APIRouter:
    """Two routes that need no session: the link itself is signed. Opening it changes nothing, for mail scanners do."""
    router = APIRouter(include_in_schema=False, route_class=OpenRoute)

    @router.get("/unsubscribe/{code}")
    async def show(code: str, visit: VisitOf) -> Response:
        _, address = unsubscribe.read(code)
        return visit.show("unsubscribe.html", address=address, is_done=False, headers=SECRET_ADDRESS)

    @router.post("/unsubscribe/{code}")
    async def leave(code: str, visit: VisitOf) -> Response:
        address = await unsubscribe.leave(code)
        return visit.show("unsubscribe.html", address=address, is_done=True, headers=SECRET_ADDRESS)

    return router
