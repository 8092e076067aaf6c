"""Why an event was sent to each notifier of its app, or was not."""

from typing import Annotated

from fastapi import Path, Query, Response

from tocsin.access import Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.events import tell
from tocsin.dashboard.places import ReadsEvents
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf

SHOWN = 25
"""Notifiers on a page."""

MAX_SKIPPED = 1_000_000

router = page_router()


@router.get("/apps/{app}/events/{event_id}/explain")
async def explain_event(
    event_id: Annotated[str, Path(max_length=100)],
    access: ReadsEvents,
    visit: VisitOf,
    verbs: VerbsOf,
    skip: Annotated[int, Query(ge=0, le=MAX_SKIPPED)] = 0,
) -> Response:
    access.require(Right.DELIVERIES_READ)
    access.require(Right.NOTIFIERS_READ)
    found = await verbs.explain.stored(access.app, event_id, limit=SHOWN, offset=skip)
    address = f"/apps/{access.app.name}/events/{event_id}/explain"
    return visit.show(
        "deliveries/explain.html",
        access=access,
        event_id=event_id,
        told=next(iter(tell([found.event.body])), None),
        event_type=found.event.type,
        notifiers=found.notifiers,
        total=found.total,
        first=skip + 1,
        last=skip + len(found.notifiers),
        next=f"{address}?skip={skip + SHOWN}" if skip + SHOWN < found.total else None,
        previous=f"{address}?skip={max(0, skip - SHOWN)}" if skip else None,
    )
