"""The events of an app and of a user. Bodies go out as they are stored, the same bytes that webhooks get."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel

from tocsin.api.context import ListsEvents, Meta, Page, PageQuery, ReadsEvents, VerbsOf, pagination
from tocsin.api.instants import InstantOut
from tocsin.api.problems import AS_USER, IN_APP, answers
from tocsin.errors import InvalidInput
from tocsin.history import MAX_EVENTS_SINCE, MAX_HOURS
from tocsin.store.pages import MAX_COUNT

router = APIRouter(prefix="/v1", tags=["Events"])

EventRef = Annotated[str, Path(description="The event's id.", examples=["54dcdd4a73636100011a0000"])]


_EVENT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)

_COUNTED = (
    f"`total_count` counts to {MAX_COUNT}, and further only as far as the page leads on. "
    "`before` leads as far as one likes, at the same cost for each page."
)


def get_before(
    before: Annotated[
        str | None,
        Query(description="Only those received before the one with this id.", examples=["54dcdd4a73636100011a0000"]),
    ] = None,
) -> str | None:
    """The event's id that a list goes on from. Raises InvalidInput."""
    if before and not _EVENT_ID.fullmatch(before):
        raise InvalidInput({"before": ["must be the id of an event"]})
    return before or None


Before = Annotated[str | None, Depends(get_before)]


class EventUserOut(BaseModel):
    username: str
    email: str
    id: str


class EventOut(BaseModel):
    """What happened. Events of a user, not of an app, come without the fields about the app."""

    id: str
    created_at: InstantOut
    user: EventUserOut
    app_id: str | None = None
    app_name: str | None = None
    type: str
    type_data: dict[str, Any]


class EventAnswer(BaseModel):
    event: EventOut


class EventsAnswer(BaseModel):
    events: list[EventOut]
    meta: Meta


@router.get(
    "/apps/{app}/events",
    operation_id="list_events",
    summary="List the events of an app, newest first",
    description=(
        f"`from` gives the events of the last hours at once, {MAX_EVENTS_SINCE} at most, and overrides paging. "
        f"{_COUNTED}"
    ),
    response_model=EventsAnswer,
    responses=answers(*IN_APP, 422),
)
async def list_events(
    app: ReadsEvents,
    page: Page,
    before: Before,
    verbs: VerbsOf,
    hours: Annotated[
        int | None,
        Query(
            alias="from",
            description=f"How many hours back, 1 to {MAX_HOURS}.",
            examples=[24],
            json_schema_extra={"minimum": 1, "maximum": MAX_HOURS},
        ),
    ] = None,
) -> Response:
    if hours is not None:
        bodies = await verbs.history.list_events_since(app, hours)
        return _events(bodies, pagination(PageQuery(number=1, size=max(1, len(bodies))), len(bodies)))
    bodies, total = await verbs.history.list_events(app, limit=page.limit, offset=page.offset, before=before)
    return _events(bodies, pagination(page, total))


@router.get(
    "/apps/{app}/events/{event}",
    operation_id="get_event",
    summary="Show an event of an app",
    response_model=EventAnswer,
    responses=answers(*IN_APP),
)
async def get_event(app: ReadsEvents, event: EventRef, verbs: VerbsOf) -> Response:
    body = await verbs.history.get_event(app, event)
    return _json(b'{"event":' + body + b"}")


@router.get(
    "/events",
    operation_id="list_events_of_user",
    summary="List the user's own events and those of every app that the user sees, newest first",
    description=_COUNTED,
    response_model=EventsAnswer,
    responses=answers(*AS_USER, 422),
)
async def list_events_of_user(principal: ListsEvents, page: Page, before: Before, verbs: VerbsOf) -> Response:
    principal.require_every_app()
    user = principal.user
    bodies, total = await verbs.history.list_events_of(user, limit=page.limit, offset=page.offset, before=before)
    return _events(bodies, pagination(page, total))


def _events(bodies: Sequence[bytes], meta: Meta) -> Response:
    listed = b",".join(bodies)
    return _json(b'{"events":[' + listed + b'],"meta":' + meta.model_dump_json().encode() + b"}")


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
