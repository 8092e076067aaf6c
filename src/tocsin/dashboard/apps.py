"""An app's page: its notifiers, what happened last, and what was sent."""

from collections.abc import Iterable, Iterator

import msgspec
from fastapi import Response

from tocsin.access import Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.places import ReadsApp
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf
from tocsin.model import Event, Message
from tocsin.rendering import render
from tocsin.store.deliveries import DeliveryFilter

LAST = 20

router = page_router()


@router.get("/apps/{app}")
async def show_app(access: ReadsApp, visit: VisitOf, verbs: VerbsOf) -> Response:
    for right in (Right.NOTIFIERS_READ, Right.EVENTS_READ, Right.DELIVERIES_READ):
        access.require(right)
    app = access.app
    bodies, _ = await verbs.history.list_events(app, limit=LAST, offset=0)
    deliveries, _ = await verbs.history.list_deliveries(app, DeliveryFilter(), limit=LAST, offset=0)
    return visit.show(
        "app.html",
        access=access,
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
