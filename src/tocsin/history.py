"""What happened: the events of an app or a user and the deliveries made of them; and sending them again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from tocsin.audit import Action, Note
from tocsin.clock import Clock
from tocsin.dates import format_instant
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.ids import new_uuid7
from tocsin.model import App, Attempt, Delivery, DeliveryReason, DeliveryState, Notifier, User
from tocsin.notifier_rules import MAX_RATE, MIN_RATE
from tocsin.notifiers import check_active, waits_for_setup
from tocsin.platforms.base import Platform
from tocsin.store import apps as app_verbs
from tocsin.store import deliveries as delivery_verbs
from tocsin.store import endings, replays, timeline
from tocsin.store import events as event_verbs
from tocsin.store import notifiers as notifier_verbs
from tocsin.store.audit import add_note, with_note
from tocsin.store.deliveries import UNDELIVERED, DeliveryFilter
from tocsin.store.delivery_search import DeliverySearch, search_deliveries
from tocsin.store.event_search import EventFilter, search_events
from tocsin.store.known import find_known
from tocsin.store.port import NewEvent, Store
from tocsin.store.replays import Chosen, Made, Pace
from tocsin.store.schema import EPOCH
from tocsin.store.timeline import Page
from tocsin.store.walks import Found

MAX_HOURS = 72
MAX_EVENTS_SINCE = 1000
"""What `from` gives at most; it comes without pages, and whoever needs more takes pages."""

REPLAYS_PER_SECOND = 10.0
"""How fast many replays are sent, unless something else is asked for or the notifier is slower."""

_PAGE = 200
"""Events gone over in one transaction: few enough that others do not wait long for the writer."""

_NO_NOTIFIER = "is not a notifier of this app"


class ReplayWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent again, of the events received in a time; empty `types` and `reasons` leave nothing out.

    `to` is another notifier that gets it; a rate of None or 0 is the usual one.
    """

    since: datetime
    until: datetime | None = None
    types: Collection[str] = ()
    states: Collection[DeliveryState] = UNDELIVERED
    reasons: Collection[DeliveryReason] = ()
    to: str | None = None
    rate_per_second: float | None = None
    is_dry_run: bool = False


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many are sent again, how fast, and when the last is due; or would be, in a dry run."""

    count: int
    rate_per_second: float
    last_attempt_at: datetime | None


class History:
    def __init__(self, *, store: Store, clock: Clock, platforms: Mapping[str, Platform], ready: frozenset[str]) -> None:
        """`ready` names the platforms that are set up."""
        self._store = store
        self._clock = clock
        self._platforms = platforms
        self._ready = ready

    async def list_events(self, app: App, *, limit: int, offset: int, before: str | None = None) -> Page:
        """A page of events, newest first; `before` is an id, and only events with smaller ones are meant."""
        return await self._store.read(timeline.list_events_of_app, app.id, limit=limit, offset=offset, before=before)

    async def list_events_since(self, app: App, hours: int) -> list[bytes]:
        """The events received in the last hours, newest first, MAX_EVENTS_SINCE at most."""
        if not 1 <= hours <= MAX_HOURS:
            raise InvalidInput({"from": [f"must be a number of hours from 1 to {MAX_HOURS}"]})
        since = self._clock.now() - timedelta(hours=hours)
        page = await self._store.read(
            timeline.list_events_of_app, app.id, limit=MAX_EVENTS_SINCE, offset=0, since=since
        )
        return page[0]

    async def list_events_of(self, user: User, *, limit: int, offset: int, before: str | None = None) -> Page:
        """The user's own events and those of every app that the user may see."""
        apps = await self._store.read(app_verbs.list_apps, user)
        return await self._store.read(
            timeline.list_events_of_user,
            user.id,
            [app.id for app in apps],
            limit=limit,
            offset=offset,
            before=before,
        )

    async def search_events(self, app: App, only: EventFilter, *, limit: int) -> Found[NewEvent]:
        """A page of events, newest first; it may end early where much is looked through, and says so."""
        return await self._store.read(search_events, app.id, only, limit=limit)

    async def get_event(self, app: App, event_id: str) -> bytes:
        body = await self._store.read(event_verbs.find_event, app.id, event_id)
        if body is None:
            raise NotFound("event")
        return body

    async def find_events(self, app: App, event_ids: Collection[str]) -> dict[str, NewEvent]:
        """Those of these events that are kept, by id."""
        found = await self._store.read(event_verbs.find_all_received, event_ids)
        return {event_id: event for event_id, event in found.items() if event.app_id == app.id}

    async def list_deliveries(
        self, app: App, only: DeliveryFilter, *, limit: int, offset: int
    ) -> tuple[list[Delivery], int]:
        """A page of deliveries, newest first, and their number as far as they are counted."""
        found, total = await self._store.read(delivery_verbs.list_deliveries, app.id, only, limit=limit, offset=offset)
        return [self._shown(delivery) for delivery in found], total

    async def search_deliveries(self, app: App, only: DeliverySearch, *, limit: int) -> Found[Delivery]:
        """A page of deliveries, newest first; it may end early where much is looked through, and says so."""
        found = await self._store.read(search_deliveries, app.id, only, limit=limit)
        return found.of([self._shown(delivery) for delivery in found.items])

    async def get_delivery(self, app: App, delivery_id: str) -> tuple[Delivery, list[Attempt]]:
        delivery = await self._find_delivery(app, delivery_id)
        return self._shown(delivery), await self._store.read(delivery_verbs.list_attempts, delivery.id)

    async def newest_deliveries(self, event_id: str, notifier_ids: Collection[str]) -> dict[str, Delivery]:
        """The newest delivery of an event to each of these notifiers that has one, by notifier."""
        found = await self._store.read(delivery_verbs.find_newest, event_id, notifier_ids)
        return {notifier_id: self._shown(delivery) for notifier_id, delivery in found.items()}

    async def replay(self, app: App, delivery_id: str, *, to: str | None = None) -> Delivery:
        """Send the same event again, as a new delivery, whatever became of the first; `to` names another notifier."""
        delivery = await self._find_delivery(app, delivery_id)
        target = await self._find_target(app, to or delivery.notifier_id, field="notifier_id" if to else None)
        check_active(target)
        now = self._clock.now()
        expires_at = now + self.lifetime(target)
        change = partial(replays.replay, delivery=delivery, notifier_id=target.id, at=now, expires_at=expires_at)
        details = {"event_id": delivery.event_id, "to": target.id}
        note = Note(action=Action.DELIVERY_REPLAYED, at=now, app_id=app.id, object_id=delivery_id, details=details)
        new_id = await self._store.write(with_note(change, note))
        return self._shown(await self._find_delivery(app, new_id))

    async def cancel(self, app: App, delivery_id: str) -> Delivery:
        """End a delivery that waits. Raises Conflict for one that is being sent at this moment, or is over."""
        delivery = await self._find_delivery(app, delivery_id)
        now = self._clock.now()
        note = Note(
            action=Action.DELIVERY_CANCELLED,
            at=now,
            app_id=app.id,
            object_id=delivery_id,
            details={"event_id": delivery.event_id, "notifier_id": delivery.notifier_id},
        )
        await self._store.write(with_note(partial(endings.cancel, delivery_id=delivery_id, at=now), note))
        return await self._find_delivery(app, delivery_id)

    async def recover(
        self, app: App, notifier_id: str, wish: ReplayWish, *, enable: Callable[[], Awaitable[object]] | None = None
    ) -> Replayed:
        """Replay what a notifier did not get.

        What was recovered already, and is on its way or arrived, is left out, so that this can be repeated. `enable`
        makes the notifier active before that, once the wish is found to be one that can be granted.
        """
        if not set(wish.states) <= UNDELIVERED:
            raise InvalidInput({"states": [f"must be of {', '.join(sorted(UNDELIVERED))}"]})
        if await self._store.read(notifier_verbs.find_notifier, app.id, notifier_id) is None:
            raise NotFound("notifier")
        if enable is not None and not wish.is_dry_run:
            await self.replay_many(app, notifier_id, msgspec.structs.replace(wish, is_dry_run=True))
            await enable()
        return await self.replay_many(app, notifier_id, wish)

    async def replay_many(self, app: App, notifier_id: str, wish: ReplayWish) -> Replayed:
        """Replay what a notifier got or did not get: of each event, as its last delivery says.

        The notifier may be off or removed when another is to get it. Replays are due one after the other, the oldest
        event's first. An event that is on its way already is left out, and one that arrived at the other notifier.
        """
        if await self._store.read(find_known, app.id, notifier_id) is None:
            raise InvalidInput({"notifier_id": [_NO_NOTIFIER]})
        target = await self._find_target(app, wish.to or notifier_id, field="to" if wish.to else None)
        _check(wish)
        if not wish.is_dry_run:
            check_active(target)
        chosen = Chosen(
            app_id=app.id,
            notifier_id=notifier_id,
            target_id=target.id,
            since=max(wish.since, EPOCH),
            until=wish.until and max(wish.until, EPOCH),
            types=wish.types,
            states=wish.states,
            reasons=wish.reasons,
            # Deliveries younger than this call are left alone, or those that end at once would be replayed again.
            before_id=new_uuid7("de"),
        )
        asked = wish.rate_per_second or REPLAYS_PER_SECOND
        own = target.rate_per_second or self._platforms[target.platform].rate_per_second
        rate = min(asked, own or asked)
        pace = Pace(gap=timedelta(seconds=1 / rate), lifetime=self.lifetime(target))
        if not wish.is_dry_run:
            await self._store.write(add_note, self._note(app, notifier_id, target, wish))
        made = await (self._foresee(chosen, pace) if wish.is_dry_run else self._replay(chosen, pace))
        return Replayed(count=made.count, rate_per_second=rate, last_attempt_at=made.last_attempt_at)

    def _note(self, app: App, notifier_id: str, target: Notifier, wish: ReplayWish) -> Note:
        details: dict[str, Any] = {
            "to": target.id,
            "since": format_instant(wish.since),
            "until": wish.until and format_instant(wish.until),
            "types": sorted(wish.types),
            "states": sorted(wish.states),
            "reasons": sorted(wish.reasons),
        }
        return Note(
            action=Action.DELIVERIES_REPLAYED,
            at=self._clock.now(),
            app_id=app.id,
            object_id=notifier_id,
            details={name: value for name, value in details.items() if value},
        )

    def lifetime(self, notifier: Notifier) -> timedelta:
        """How long a delivery is kept trying: as long as the notifier says, or else its platform."""
        if notifier.expires_after is not None:
            return timedelta(seconds=notifier.expires_after)
        return self._platforms[notifier.platform].expires_after

    async def _replay(self, chosen: Chosen, pace: Pace) -> Made:
        made = Made()
        async for page in self._pages(chosen):
            now = self._clock.now()
            more = await self._store.write(replays.replay_chosen, chosen, page, pace=pace, at=now)
            made = Made(made.count + more.count, more.last_attempt_at or made.last_attempt_at)
        return made

    async def _foresee(self, chosen: Chosen, pace: Pace) -> Made:
        count = 0
        async for page in self._pages(chosen):
            count += await self._store.read(replays.count_replayable, chosen, page)
        if not count:
            return Made()
        first = await self._store.read(replays.first_free, chosen.target_id, pace=pace, at=self._clock.now())
        return Made(count, first + (count - 1) * pace.gap)

    async def _pages(self, chosen: Chosen) -> AsyncIterator[frozenset[str]]:
        """The events to look at, some at a time."""
        after = None
        while True:
            page = await self._store.read(replays.list_candidates, chosen, after=after, limit=_PAGE)
            if page:
                yield frozenset(page)
            if len(page) < _PAGE:
                return
            after = page[-1]

    async def _find_target(self, app: App, notifier_id: str, *, field: str | None) -> Notifier:
        """Who gets a replay; `field` is where a client names another than the one that got the first."""
        notifier = await self._store.read(notifier_verbs.find_notifier, app.id, notifier_id)
        if notifier is not None:
            return notifier
        if field is not None:
            raise InvalidInput({field: [_NO_NOTIFIER]})
        raise Conflict("the notifier was removed: there is nobody to send this to")

    async def _find_delivery(self, app: App, delivery_id: str) -> Delivery:
        delivery = await self._store.read(delivery_verbs.find_delivery, app.id, delivery_id)
        if delivery is None:
            raise NotFound("delivery")
        return delivery

    def _shown(self, delivery: Delivery) -> Delivery:
        """The delivery with what only this process knows: that it waits for the operator to set its platform up."""
        if delivery.state is not DeliveryState.PENDING or delivery.reason is not None:
            return delivery
        if waits_for_setup(self._platforms, self._ready, delivery.platform) is None:
            return delivery
        return msgspec.structs.replace(delivery, reason=DeliveryReason.WAITING_FOR_SETUP)


def _check(wish: ReplayWish) -> None:
    """Raise InvalidInput for a time or rate that cannot be."""
    wrong: dict[str, list[str]] = {}
    if wish.until is not None and wish.until <= wish.since:
        wrong["until"] = ["must be later than since"]
    if wish.rate_per_second and not MIN_RATE <= wish.rate_per_second <= MAX_RATE:
        wrong["rate_per_second"] = [f"must be from {MIN_RATE} to {MAX_RATE}, or 0 for the usual one"]
    if wrong:
        raise InvalidInput(wrong)
