"""An app's page: its notifiers, what happened last, and what was sent."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from fastapi import Depends, Response

from tocsin.access import Access, Right
from tocsin.api.context import AppRef, VerbsOf
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import PrincipalOf, VisitOf
from tocsin.model import Event, Message
from tocsin.rendering import render
from tocsin.store.deliveries import DeliveryFilter

LAST = 20

router = page_router()


async def get_access(app: AppRef, principal: PrincipalOf, verbs: VerbsOf) -> Access:
    """The app that the path names, as the API finds it. Raises NotFound."""
    return await verbs.apps.get_access(principal, app)


AccessOf = Annotated[Access, Depends(get_access)]


@router.get("/apps/{app}")
async def show_app(access: AccessOf, visit: VisitOf, verbs: VerbsOf) -> Response:
    for right in (Right.APPS_READ, Right.NOTIFIERS_READ, Right.EVENTS_READ, Right.DELIVERIES_READ):
        access.require(right)
    app = access.app
    bodies, _ = await verbs.history.list_events(app, limit=LAST, offset=0)
    deliveries, _ = await verbs.history.list_deliveries(app, DeliveryFilter(), limit=LAST, offset=0)
    return visit.show(
        "app.html",
        app=app,
        role=access.role,
        notifiers=await verbs.notifiers.list(app),
        messages=list(_told(bodies)),
        deliveries=deliveries,
    )


def _told(bodies: Iterable[bytes]) -> Iterator[Message]:
    """Events in words; one that is damaged is left out."""
    for body in bodies:
        try:
            event = msgspec.json.decode(body, type=Event)
        except msgspec.MsgspecError:
            continue
        yield render(event)
