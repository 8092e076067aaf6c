"""The front page: a user's apps; for a visitor what this is, whether it is ready, and where to go."""

from typing import Any

import msgspec
from fastapi import Request, Response

from tocsin.access import Role
from tocsin.api.context import VerbsOf
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf, get_principal
from tocsin.model import App

router = page_router()


class Seen(msgspec.Struct, frozen=True):
    """An app, and what somebody is to it."""

    app: App
    role: Role


@router.get("/")
async def show_home(request: Request, visit: VisitOf, verbs: VerbsOf) -> Response:
    if visit.signed_in is None:
        problems: dict[str, Any] = dict(await request.app.state.readiness())
        return visit.show("status.html", problems=problems)
    principal = await get_principal(visit.signed_in)
    apps = await verbs.apps.list_apps(principal)
    seen = [Seen(app, (await verbs.apps.get_access(principal, app.id)).role) for app in apps]
    return visit.show("home.html", apps=seen)
