"""What happened: the events of an app or a user and the deliveries made of them; and sending them again."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from tocsin.clock import Clock
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.ids import new_uuid7
from tocsin.model import App, Attempt, Delivery, DeliveryReason, DeliveryState, Notifier, User
from tocsin.notifiers import check_active, waits_for_setup
from tocsin.platforms.base import Platform
from tocsin.store import apps as app_verbs
from tocsin.store import deliveries as delivery_verbs
from tocsin.store import events as event_verbs
from tocsin.store import notifiers as notifier_verbs
from tocsin.store import replays, timeline
from tocsin.store.deliveries import DeliveryFilter
from tocsin.store.port import Store
from tocsin.store.schema import EPOCH
from tocsin.store.timeline import Page

MAX_HOURS = 72
MAX_EVENTS_SINCE = 1000
"""What `from` gives at most; it comes without pages, and whoever needs more takes pages."""

_RECOVER_STEP = 500
"""Replays made in one transaction: few enough that others do not wait long for the writer."""


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

    async def get_event(self, app: App, event_id: str) -> bytes:
        body = await self._store.read(event_verbs.find_event, app.id, event_id)
        if body is None:
            raise NotFound("event")
        return body

    async def list_deliveries(
        self, app: App, only: DeliveryFilter, *, limit: int, offset: int
    ) -> tuple[list[Delivery], int]:
        """A page of deliveries, newest first, and their number as far as they are counted."""
        found, total = await self._store.read(delivery_verbs.list_deliveries, app.id, only, limit=limit, offset=offset)
        return [self._shown(delivery) for delivery in found], total

    async def get_delivery(self, app: App, delivery_id: str) -> tuple[Delivery, list[Attempt]]:
        delivery = await self._find_delivery(app, delivery_id)
        return self._shown(delivery), await self._store.read(delivery_verbs.list_attempts, delivery.id)

    async def replay(self, app: App, delivery_id: str) -> Delivery:
        """Send the same event to the same notifier again, as a new delivery, whatever became of the first."""
        delivery = await self._find_delivery(app, delivery_id)
        notifier = await self._store.read(notifier_verbs.find_notifier, app.id, delivery.notifier_id)
        if notifier is None:
            raise Conflict("the notifier was removed: there is nobody to send this to")
        check_active(notifier)
        now = self._clock.now()
        new_id = await self._store.write(replays.replay, delivery, at=now, expires_at=now + self._lifetime(notifier))
        return self._shown(await self._find_delivery(app, new_id))

    async def recover(
        self, app: App, notifier_id: str, *, since: datetime, until: datetime | None, is_dry_run: bool
    ) -> int:
        """Replay what a notifier did not get of the events received in that time; answers with how many.

        What was recovered already, and is on its way or arrived, is left out, so that this can be repeated.
        """
        notifier = await self._store.read(notifier_verbs.find_notifier, app.id, notifier_id)
        if notifier is None:
            raise NotFound("notifier")
        if until is not None and until <= since:
            raise InvalidInput({"until": ["must be later than since"]})
        since = max(since, EPOCH)
        until = until if until is None else max(until, EPOCH)
        if is_dry_run:
            return await self._store.read(replays.count_recoverable, notifier_id, since=since, until=until)
        check_active(notifier)
        return await self._recover(notifier, since, until)

    async def _recover(self, notifier: Notifier, since: datetime, until: datetime | None) -> int:
        # Deliveries younger than this call are left alone, or those that fail at once would be replayed for ever.
        before_id = new_uuid7("de")
        total = 0
        while True:
            now = self._clock.now()
            count = await self._store.write(
                replays.recover,
                notifier.id,
                since=since,
                until=until,
                before_id=before_id,
                limit=_RECOVER_STEP,
                at=now,
                expires_at=now + self._lifetime(notifier),
            )
            total += count
            if count < _RECOVER_STEP:
                return total

    async def _find_delivery(self, app: App, delivery_id: str) -> Delivery:
        delivery = await self._store.read(delivery_verbs.find_delivery, app.id, delivery_id)
        if delivery is None:
            raise NotFound("delivery")
        return delivery

    def _lifetime(self, notifier: Notifier) -> timedelta:
        return self._platforms[notifier.platform].expires_after

    def _shown(self, delivery: Delivery) -> Delivery:
        """The delivery with what only this process knows: that it waits for the operator to set its platform up."""
        if delivery.state is not DeliveryState.PENDING or delivery.reason is not None:
            return delivery
        if waits_for_setup(self._platforms, self._ready, delivery.platform) is None:
            return delivery
        return msgspec.structs.replace(delivery, reason=DeliveryReason.WAITING_FOR_SETUP)
