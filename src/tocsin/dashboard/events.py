"""What happened to an app: the timeline in sentences, each event whole, and sending one by hand."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import Path, Query, Response

from tocsin.access import Access, Right
from tocsin.api.context import VerbsOf
from tocsin.catalogue import Catalogue
from tocsin.dashboard.places import CurrentUser, ReadsEvents, WritesEvents
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import InvalidInput, TooLarge
from tocsin.explain import Explained
from tocsin.ingest import Draft
from tocsin.model import Event, Message
from tocsin.rendering import render
from tocsin.store.deliveries import DeliveryFilter
from tocsin.store.event_search import EventFilter
from tocsin.verbs import Verbs

SHOWN = 30
"""Events on a page."""

SHOWN_DELIVERIES = 50
SHOWN_JSON = 30_000
"""So many characters of an event stand on its page; the rest is in the raw file."""

MAX_QUERY = 200

FIRST_TYPE = "deployment"

router = page_router()

EventId = Annotated[str, Path(max_length=100)]
Word = Annotated[str, Query(max_length=MAX_QUERY)]


class Told(msgspec.Struct, frozen=True):
    """An event, and its sentence."""

    event: Event
    message: Message


@router.get("/apps/{app}/events")
async def list_events(
    access: ReadsEvents,
    visit: VisitOf,
    verbs: VerbsOf,
    type: Word = "",  # noqa: A002 - a name in URLs
    q: Word = "",
    since: Word = "",
    until: Word = "",
    before: Word = "",
) -> Response:
    problems: dict[str, list[str]] = {}
    moments: dict[str, datetime | None] = {}
    for name, text in (("since", since), ("until", until)):
        try:
            moments[name] = visit.times.read(text)
        except ValueError as error:
            problems[name] = [str(error)]
    asked = {"type": type, "q": q, "since": since, "until": until}
    only = EventFilter(
        types=types_of(verbs.notifiers.catalogue, type),
        since=moments.get("since"),
        until=moments.get("until"),
        text=q.strip(),
        before=before or None,
    )
    found = None if problems else await verbs.history.search_events(access.app, only, limit=SHOWN)
    address = f"/apps/{access.app.name}/events"
    filters = {name: value for name, value in asked.items() if value}
    older = newest = None
    if found is not None and found.before:
        older = f"{address}?{urlencode(filters | {'before': found.before})}"
    if before:
        newest = f"{address}?{urlencode(filters)}" if filters else address
    return visit.show(
        "events/list.html",
        status=422 if problems else 200,
        access=access,
        found=found,
        told=[] if found is None else list(tell([event.body for event in found.items])),
        asked=asked,
        is_filtered=bool(filters),
        problems=problems,
        kinds=kinds_of(verbs.notifiers.catalogue),
        may_send=access.may(Right.EVENTS_WRITE),
        older=older,
        newest=newest,
    )


@router.get("/apps/{app}/events/new")
async def show_form(
    access: WritesEvents,
    visit: VisitOf,
    verbs: VerbsOf,
    type: Word = FIRST_TYPE,  # noqa: A002 - a name in URLs
) -> Response:
    kind = verbs.notifiers.catalogue.events.get(type)
    sample = {} if kind is None else kind.sample
    return _show_form(visit, verbs, access, event_type=type, type_data=_pretty(sample))


@router.post("/apps/{app}/events/new")
async def send_event(access: WritesEvents, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    """Store the event as the API would; or, with the other button, tell who would get it."""
    event_type, text = visit.form.get("type", "").strip(), visit.form.get("type_data", "")
    app, explained = access.app, None
    try:
        draft = Draft(type=event_type, type_data=_read_json(text))
        if "explain" in visit.form:
            explained = (await verbs.explain.draft(app, user, draft, limit=SHOWN_DELIVERIES, offset=0)).notifiers
        else:
            accepted = await verbs.ingest.accept(app, user, [draft])
            event = msgspec.json.decode(accepted.bodies[0], type=Event)
            return visit.go(f"/apps/{app.name}/events/{event.id}?done=sent")
    except InvalidInput as error:
        problems = error.fields
    except TooLarge as error:
        problems = {"type_data": [error.message]}
    else:
        problems = {}
    return _show_form(
        visit,
        verbs,
        access,
        event_type=event_type,
        type_data=text,
        problems=problems,
        explained=explained,
        status=422 if problems else 200,
    )


@router.get("/apps/{app}/events/{event_id}")
async def show_event(
    event_id: EventId, access: ReadsEvents, visit: VisitOf, verbs: VerbsOf, done: str = ""
) -> Response:
    access.require(Right.DELIVERIES_READ)
    body = await verbs.history.get_event(access.app, event_id)
    deliveries, total = await verbs.history.list_deliveries(
        access.app, DeliveryFilter(event_id=event_id), limit=SHOWN_DELIVERIES, offset=0
    )
    told = next(iter(tell([body])), None)
    text = msgspec.json.format(body, indent=2).decode("utf-8", "replace")
    return visit.show(
        "events/event.html",
        access=access,
        event_id=event_id,
        told=told,
        deliveries=deliveries,
        left_out=total - len(deliveries),
        json=text[:SHOWN_JSON],
        is_cut=len(text) > SHOWN_JSON,
        is_sent=done == "sent",
        may_send=access.may(Right.EVENTS_WRITE),
    )


@router.get("/apps/{app}/events/{event_id}/raw")
async def get_raw(event_id: EventId, access: ReadsEvents, verbs: VerbsOf) -> Response:
    """The bytes that webhooks get."""
    body = await verbs.history.get_event(access.app, event_id)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def tell(bodies: Iterable[bytes]) -> list[Told]:
    """Events with their sentences; one that is damaged is left out."""
    told = []
    for body in bodies:
        try:
            event = msgspec.json.decode(body, type=Event)
        except msgspec.MsgspecError:
            continue
        told.append(Told(event, render(event)))
    return told


def kinds_of(catalogue: Catalogue) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The types that apps have events of, by category: its name, its title, and each type with its title."""
    kinds = [kind for kind in catalogue.events.values() if kind.scope == "app"]
    found = []
    for category in catalogue.categories:
        types = []
        for kind in kinds:
            event_type = catalogue.event_type_of(kind.type)
            if event_type is not None and event_type.category_id == category.id:
                types.append((kind.type, event_type.display_name))
        if types:
            found.append((category.name, category.display_name, types))
    others = [(kind.type, kind.type) for kind in kinds if catalogue.event_type_of(kind.type) is None]
    return [*found, ("", "", others)]


def types_of(catalogue: Catalogue, chosen: str) -> frozenset[str]:
    """What a choice stands for: one type, or with `category:NAME` all of a category; empty for all."""
    name = chosen.removeprefix("category:")
    if name == chosen:
        return frozenset({chosen} if chosen else ())
    types = next((types for category, _, types in kinds_of(catalogue) if category == name), [])
    return frozenset(type_ for type_, _ in types) or frozenset({chosen})


def _read_json(text: str) -> msgspec.Raw:
    """Raises InvalidInput that tells where it is wrong."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput({"type_data": [f"is not JSON: {error}"]}) from None
    if not isinstance(value, dict):
        raise InvalidInput({"type_data": ["must be an object"]})
    return msgspec.Raw(msgspec.json.encode(value))


def _pretty(sample: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(sample), indent=2).decode()


def _show_form(
    visit: Visit,
    verbs: Verbs,
    access: Access,
    *,
    event_type: str,
    type_data: str,
    problems: Mapping[str, Sequence[str]] | None = None,
    explained: Sequence[Explained] | None = None,
    status: int = 200,
) -> Response:
    return visit.show(
        "events/new.html",
        status=status,
        access=access,
        kinds=kinds_of(verbs.notifiers.catalogue),
        event_type=event_type,
        type_data=type_data,
        problems=problems or {},
        explained=explained,
    )
