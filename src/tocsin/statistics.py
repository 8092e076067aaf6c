"""How an app's deliveries end: how many, over time, of which notifier, and how late those that arrived were."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cached_property

import msgspec

from tocsin.clock import Clock
from tocsin.model import App, Delivery, NotifierState
from tocsin.store import deliveries as delivery_verbs
from tocsin.store import notifiers as notifier_verbs
from tocsin.store import tallies as tally_verbs
from tocsin.store.port import Store
from tocsin.store.tallies import Tally
from tocsin.tallies import hour_of, percentile_ms, start_of

ARRIVED = "delivered"
ENDS = (ARRIVED, "failed", "cancelled")
DAY_HOURS = 24

MAX_FAILING = 10
"""So many notifiers are asked what failed last."""


class Span(msgspec.Struct, frozen=True):
    """A time up to now that is looked at in parts of so many hours, which divide the days of UTC."""

    hours: int
    part_hours: int


SPANS: Mapping[str, Span] = {"24h": Span(DAY_HOURS, 1), "7d": Span(7 * DAY_HOURS, 6), "30d": Span(30 * DAY_HOURS, 24)}


class Counts(msgspec.Struct, frozen=True, dict=True):
    """What ended: how many in each state, and those that arrived by how late they were."""

    by_state: Mapping[str, int]
    by_latency: Mapping[int, int]

    @cached_property
    def total(self) -> int:
        return sum(self.by_state.values())

    @property
    def success_share(self) -> float | None:
        """Of those that were not cancelled, how many arrived: from 0 to 1."""
        tried = self.total - self.by_state.get("cancelled", 0)
        return self.by_state.get(ARRIVED, 0) / tried if tried else None

    def percentile_ms(self, share: float) -> float | None:
        return percentile_ms(self.by_latency, share)


class Part(msgspec.Struct, frozen=True):
    """What ended from one time until another."""

    since: datetime
    until: datetime
    counts: Counts


class Series(msgspec.Struct, frozen=True):
    """A span's parts, oldest first, and all of them together. The last part is not over."""

    span: Span
    parts: tuple[Part, ...]
    whole: Counts


class Glance(msgspec.Struct, frozen=True):
    """An app's day: events since its midnight (as far as they are counted), and what ended in the last 24 hours."""

    events_today: int
    notifiers: Mapping[NotifierState, int]
    counts: Counts
    by_hour: tuple[Mapping[str, int], ...]


class Statistics:
    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def glance(self, apps: Collection[App], zone: tzinfo = UTC) -> dict[str, Glance]:
        """What lists of apps show of each, by id; days begin in this time zone."""
        app_ids = [app.id for app in apps]
        first = hour_of(self._clock.now()) - DAY_HOURS + 1
        tallies = await self._store.read(tally_verbs.sum_by_app, app_ids, first)
        events = await self.events_today(apps, zone)
        notifiers = await self._store.read(notifier_verbs.count_states, app_ids)
        return {
            app_id: Glance(events[app_id], notifiers[app_id], _counts(own), _by_hour(own, first))
            for app_id in app_ids
            for own in [[tally for tally in tallies if tally.app_id == app_id]]
        }

    async def events_today(self, apps: Collection[App], zone: tzinfo = UTC) -> dict[str, int]:
        """How many events each app has had since midnight in this time zone, as far as they are counted."""
        midnight = self._clock.now().astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return await self._store.read(tally_verbs.count_events, [app.id for app in apps], midnight.astimezone(UTC))

    async def series(self, app: App, span: Span, *, notifier_id: str | None = None) -> Series:
        """How what was sent for an app, or for one of its notifiers, ended over a span."""
        hours = _starts(span, self._clock.now())
        found = await self._store.read(tally_verbs.sum_by_hour, app.id, hours[0], notifier_id)
        parts: list[list[Tally]] = [[] for _ in hours]
        for tally in found:
            # One that a faster clock has counted already belongs to the part that is not over.
            parts[min((tally.hour - hours[0]) // span.part_hours, len(parts) - 1)].append(tally)
        return Series(
            span=span,
            parts=tuple(
                Part(start_of(hour), start_of(hour + span.part_hours), _counts(part))
                for hour, part in zip(hours, parts, strict=True)
            ),
            whole=_counts(found),
        )

    async def by_notifier(self, app: App, span: Span) -> dict[str, Counts]:
        """How what was sent to each notifier ended over a span; those to which nothing was are left out."""
        first = _starts(span, self._clock.now())[0]
        found: dict[str, list[Tally]] = {}
        for tally in await self._store.read(tally_verbs.sum_by_notifier, app.id, first):
            found.setdefault(tally.notifier_id, []).append(tally)
        return {notifier_id: _counts(tallies) for notifier_id, tallies in found.items()}

    async def last_failed(self, counts: Mapping[str, Counts], *, limit: int) -> list[Delivery]:
        """Deliveries of the newest events that failed, of the notifiers for which some did, the newest first."""
        failing = [(own.by_state.get("failed", 0), notifier_id) for notifier_id, own in counts.items()]
        some = [notifier_id for count, notifier_id in sorted(failing, reverse=True)[:MAX_FAILING] if count]
        return await self._store.read(delivery_verbs.find_last_failed, some, limit=limit)

    async def last_outcomes(self, app: App) -> dict[str, Delivery]:
        """The newest delivery that is over of each notifier that has one, by notifier."""
        return await self._store.read(delivery_verbs.find_last_finished, app.id)


def _starts(span: Span, now: datetime) -> list[int]:
    """The hours with which the parts of a span begin, oldest first."""
    hour = hour_of(now)
    last = hour - hour % span.part_hours
    return list(range(last - span.hours + span.part_hours, last + 1, span.part_hours))


def _counts(tallies: Iterable[Tally]) -> Counts:
    by_state: Counter[str] = Counter()
    by_latency: Counter[int] = Counter()
    for tally in tallies:
        by_state[tally.state] += tally.count
        if tally.state == ARRIVED:
            by_latency[tally.latency] += tally.count
    return Counts(by_state, by_latency)


def _by_hour(tallies: Iterable[Tally], first: int) -> tuple[Mapping[str, int], ...]:
    hours: list[Counter[str]] = [Counter() for _ in range(DAY_HOURS)]
    for tally in tallies:
        # One that a faster clock has counted already belongs to the hour that is not over.
        hours[min(tally.hour - first, DAY_HOURS - 1)][tally.state] += tally.count
    return tuple(hours)
