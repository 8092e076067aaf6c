"""The delivery log of an app: what was sent to whom, newest first, with filters, and live."""

from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from fastapi import Depends, Query, Response

from tocsin.access import Right
from tocsin.api.context import VerbsOf
from tocsin.catalogue import Catalogue
from tocsin.dashboard.events import kinds_of, types_of
from tocsin.dashboard.live import SeenOf, StreamsOf, digest_of, may_read
from tocsin.dashboard.places import ReadsDeliveries
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.times import Times
from tocsin.dashboard.visit import VisitOf
from tocsin.errors import InvalidInput
from tocsin.model import App, Delivery, DeliveryState, Event
from tocsin.rendering import render
from tocsin.store.deliveries import LIVE, UNDELIVERED
from tocsin.store.delivery_search import DeliverySearch
from tocsin.store.walks import Found
from tocsin.verbs import Verbs

SHOWN = 30
"""Deliveries on a page."""

MAX_QUERY = 200

STATES = {"under_way": LIVE, "undelivered": UNDELIVERED} | {state.value: frozenset({state}) for state in DeliveryState}
"""What can be chosen, and the states that it stands for."""

router = page_router()

Word = Annotated[str, Query(max_length=MAX_QUERY)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the form of the log holds, as it was sent."""

    state: str = ""
    notifier: str = ""
    type: str = ""
    since: str = ""
    until: str = ""
    q: str = ""
    before: str = ""

    @property
    def filters(self) -> dict[str, str]:
        """What leaves something out, on whatever page."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value and name != "before"}

    def search(self, times: Times, catalogue: Catalogue) -> DeliverySearch:
        """Raises InvalidInput for what cannot be looked for."""
        wrong: dict[str, list[str]] = {}
        moments = {}
        for name, text in (("since", self.since), ("until", self.until)):
            try:
                moments[name] = times.read(text)
            except ValueError as error:
                wrong[name] = [str(error)]
        if self.state and self.state not in STATES:
            wrong["state"] = ["is no state of a delivery"]
        if wrong:
            raise InvalidInput(wrong)
        return DeliverySearch(
            notifier_id=self.notifier or None,
            states=STATES.get(self.state, frozenset()),
            types=types_of(catalogue, self.type.strip()),
            since=moments["since"],
            until=moments["until"],
            text=self.q.strip(),
            before=self.before or None,
        )


async def get_asked(
    state: Word = "",
    notifier: Word = "",
    type: Word = "",  # noqa: A002 - a name in URLs
    since: Word = "",
    until: Word = "",
    q: Word = "",
    before: Word = "",
) -> Asked:
    return Asked(state=state, notifier=notifier, type=type, since=since, until=until, q=q, before=before)


AskedOf = Annotated[Asked, Depends(get_asked)]


@router.get("/apps/{app}/deliveries")
async def list_deliveries(access: ReadsDeliveries, visit: VisitOf, verbs: VerbsOf, asked: AskedOf) -> Response:
    found: Found[Delivery] | None = None
    problems: Mapping[str, Sequence[str]] = {}
    try:
        only = asked.search(visit.times, verbs.notifiers.catalogue)
        found = await verbs.history.search_deliveries(access.app, only, limit=SHOWN)
    except InvalidInput as error:
        problems = error.fields
    address = f"/apps/{access.app.name}/deliveries"
    older = None
    if found is not None and found.before:
        older = f"{address}?{urlencode(asked.filters | {'before': found.before})}"
    notifiers = await verbs.notifiers.list(access.app)
    return visit.show(
        "deliveries/list.html",
        status=422 if problems else 200,
        access=access,
        found=found,
        titles={} if found is None else await titles_of(verbs, access.app, found.items),
        asked=asked,
        problems=problems,
        states=list(STATES),
        notifiers=notifiers,
        there={notifier.id for notifier in notifiers},
        types=[type_ for _, _, types in kinds_of(verbs.notifiers.catalogue) for type_, _ in types],
        older=older,
        newest=_with_query(address, asked.filters) if asked.before else None,
        stream=None if problems or asked.before else _with_query(f"{address}/live", asked.filters),
        digest="" if found is None else _digest(found.items),
    )


@router.get("/apps/{app}/deliveries/live")
async def follow_deliveries(
    access: ReadsDeliveries, visit: VisitOf, verbs: VerbsOf, streams: StreamsOf, asked: AskedOf, seen: SeenOf
) -> Response:
    """Tells when the first page of the log is another."""
    only = asked.search(visit.times, verbs.notifiers.catalogue)

    async def look() -> str:
        found = await verbs.history.search_deliveries(access.app, only, limit=SHOWN)
        return _digest(found.items)

    return streams.follow(visit, look, may_read(verbs, access.app, Right.DELIVERIES_READ), seen=seen)


async def titles_of(verbs: Verbs, app: App, deliveries: Sequence[Delivery]) -> dict[str, str]:
    """What happened, in a few words, by the ids of the events; without those that are gone or damaged."""
    events = await verbs.history.find_events(app, {delivery.event_id for delivery in deliveries})
    titles = {}
    for event_id, event in events.items():
        try:
            titles[event_id] = render(msgspec.json.decode(event.body, type=Event)).title
        except msgspec.MsgspecError:
            continue
    return titles


def _digest(deliveries: Sequence[Delivery]) -> str:
    return digest_of(
        [(each.id, each.state, each.reason, each.attempt_count, each.next_attempt_at) for each in deliveries]
    )


def _with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}?{urlencode(query)}" if query else address
