"""Why an event was sent to a notifier, or was not: each step of routing, the deliveries, and what would be sent.

The sentences are those of `explanation`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from tocsin.catalogue import Catalogue
from tocsin.clock import Clock
from tocsin.errors import NotFound
from tocsin.explanation import Case, Step, is_wanted, note, steps_of, summary
from tocsin.history import History
from tocsin.ids import new_uuid7
from tocsin.ingest import Draft, Ingest, alert_facts
from tocsin.life import LIFE_TYPES
from tocsin.model import Alert, App, Attempt, Delivery, Event, Notifier, User
from tocsin.preview import Preview, Previews
from tocsin.retry import TryAgain, next_step
from tocsin.routing import ALERT_TYPE, named_by_rules
from tocsin.store import events as event_verbs
from tocsin.store import known as known_verbs
from tocsin.store import notifiers as notifier_verbs
from tocsin.store.deliveries import LIVE, DeliveryFilter
from tocsin.store.fanouts import list_owed
from tocsin.store.known import Known
from tocsin.store.port import NewEvent, Store

MAX_DELIVERIES = 100
_NO_CHANCE = 0.5
"""The middle of what chance makes of a delay."""

_EVENT = msgspec.json.Decoder(Event)


class Planned(msgspec.Struct, frozen=True):
    """An attempt that is still to be made, if those before it fail; chance moves it by a quarter of its delay."""

    number: int
    due_at: datetime


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one notifier alone: `attempts` of the newest delivery, and all `deliveries`, newest first."""

    attempts: Sequence[Attempt]
    deliveries: Sequence[Delivery]
    preview: Preview
    schedule: Sequence[Planned]
    expires_at: datetime


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One notifier: whether it wants the event, why, and what came of it."""

    known: Known
    is_wanted: bool
    summary: str
    note: str | None
    steps: tuple[Step, ...]
    delivery: Delivery | None
    details: Details | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """An event and some notifiers of its app, of `total` in all."""

    event: NewEvent
    notifiers: Sequence[Explained]
    total: int


class Explain:
    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        catalogue: Catalogue,
        waits_for: Callable[[str], str | None],
        history: History,
        ingest: Ingest,
        previews: Previews,
        schedule_seconds: Sequence[float],
    ) -> None:
        """`waits_for` names the operator's setting that a platform lacks; `schedule_seconds` stand before attempts."""
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._waits_for = waits_for
        self._history = history
        self._ingest = ingest
        self._previews = previews
        self._schedule_seconds = schedule_seconds

    async def stored(
        self, app: App, event_id: str, notifier_id: str | None = None, *, limit: int, offset: int
    ) -> Explanation:
        """Of an event that came: one notifier whole, or a page of those that are there, or were when it came."""
        event = await self._store.read(event_verbs.find_received, app.id, event_id)
        if event is None:
            raise NotFound("event")
        case = await self._case(app, _as_it_came(event), is_draft=False)
        return await self._explain(app, case, notifier_id, limit=limit, offset=offset)

    async def draft(
        self, app: App, user: User, draft: Draft, notifier_id: str | None = None, *, limit: int, offset: int
    ) -> Explanation:
        """Of an event that is not stored: the same, were it to come now. Raises what would be refused."""
        case = await self._case(app, self._ingest.preview(app, user, draft), is_draft=True)
        return await self._explain(app, case, notifier_id, limit=limit, offset=offset)

    async def sample(self, app: App, user: User, notifier: Notifier, event_type: str) -> Preview:
        """What a notifier, stored or not, would send of the catalogue's example of an event. Raises NotFound."""
        kind = self._catalogue.events.get(event_type)
        if kind is None:
            raise NotFound("event type")
        event = self._ingest.own_event(event_type=kind.type, type_data=kind.sample, user=user, app=app)
        now = self._clock.now()
        return await self._previews.show(notifier, event, delivery_id=new_uuid7("de"), attempt=1, at=now)

    async def _case(self, app: App, event: NewEvent, *, is_draft: bool) -> Case:
        alerts: Sequence[Alert] = ()
        if event.type == ALERT_TYPE:
            alerts = (await self._store.read(notifier_verbs.get_routes, app.id)).alerts
        found = self._catalogue.event_type_of(event.type)
        return Case(
            event=event,
            is_draft=is_draft,
            type_name=None if found is None else found.name,
            type_id=None if found is None else found.id,
            alerts=alerts,
            named_ids=frozenset() if event.alert is None else named_by_rules(alerts, event.alert),
            owed=frozenset() if is_draft else await self._store.read(list_owed, event.id),
        )

    async def _explain(self, app: App, case: Case, notifier_id: str | None, *, limit: int, offset: int) -> Explanation:
        at = case.event.received_at
        if notifier_id is not None:
            one = await self._store.read(known_verbs.find_known, app.id, notifier_id)
            if one is None:
                raise NotFound("notifier")
            explained = (await self._explain_some(case, [one]))[0]
            details = await self._details(app, case, explained)
            return Explanation(
                event=case.event, notifiers=[msgspec.structs.replace(explained, details=details)], total=1
            )
        known = await self._store.read(known_verbs.list_known, app.id, at, limit=limit, offset=offset)
        total = await self._store.read(known_verbs.count_known, app.id, at)
        return Explanation(event=case.event, notifiers=await self._explain_some(case, known), total=total)

    async def _explain_some(self, case: Case, known: Sequence[Known]) -> list[Explained]:
        ids = [each.notifier.id for each in known]
        newest = {} if case.is_draft else await self._history.newest_deliveries(case.event.id, ids)
        return [self._explain_one(case, each, newest.get(each.notifier.id)) for each in known]

    def _explain_one(self, case: Case, known: Known, delivery: Delivery | None) -> Explained:
        steps = steps_of(case, known, self._waits_for(known.notifier.platform))
        return Explained(
            known=known,
            is_wanted=is_wanted(case, known),
            summary=summary(case, known, steps, delivery),
            note=note(case, known.notifier),
            steps=steps,
            delivery=delivery,
        )

    async def _details(self, app: App, case: Case, explained: Explained) -> Details:
        notifier, delivery = explained.known.notifier, explained.delivery
        now = self._clock.now()
        attempts: Sequence[Attempt] = ()
        deliveries: Sequence[Delivery] = ()
        if delivery is not None:
            delivery, attempts = await self._history.get_delivery(app, delivery.id)
            only = DeliveryFilter(event_id=case.event.id, notifier_id=notifier.id)
            deliveries, _ = await self._history.list_deliveries(app, only, limit=MAX_DELIVERIES, offset=0)
        expires_at = now + self._history.lifetime(notifier) if delivery is None else delivery.expires_at
        schedule: Sequence[Planned] = ()
        if (delivery is None and explained.is_wanted) or (delivery is not None and delivery.state in LIVE):
            schedule = self._schedule(notifier, delivery, expires_at, now)
        preview = await self._previews.show(
            notifier,
            case.event,
            delivery_id=new_uuid7("de") if delivery is None else delivery.id,
            attempt=schedule[0].number if schedule else 1,
            at=now,
        )
        return Details(
            attempts=attempts, deliveries=deliveries, preview=preview, schedule=schedule, expires_at=expires_at
        )

    def _schedule(
        self, notifier: Notifier, delivery: Delivery | None, expires_at: datetime, now: datetime
    ) -> list[Planned]:
        """The attempts from the next one on, or from the one under way, were each to fail at once."""
        number, due_at = 1, now
        if delivery is not None and delivery.next_attempt_at is not None:
            number, due_at = delivery.attempt_count + 1, max(now, delivery.next_attempt_at)
        elif delivery is not None:
            number = delivery.attempt_count
        if notifier.held_until is not None:
            due_at = max(due_at, notifier.held_until)
        planned: list[Planned] = []
        while due_at < expires_at:
            planned.append(Planned(number, due_at))
            step = next_step(
                attempt=number,
                schedule_seconds=notifier.retry_schedule or self._schedule_seconds,
                now=due_at,
                expires_at=expires_at,
                chance=_NO_CHANCE,
            )
            if not isinstance(step, TryAgain):
                break
            number, due_at = number + 1, step.at
        return planned


def _as_it_came(event: NewEvent) -> NewEvent:
    """A stored event with what routing was told of it, which stands in its body.

    One that tells of a notifier's life is taken for our own, though a client may have posted it.
    """
    if event.type == ALERT_TYPE:
        return msgspec.structs.replace(event, alert=alert_facts(_EVENT.decode(event.body).type_data))
    if event.type in LIFE_TYPES:
        return msgspec.structs.replace(event, about=_EVENT.decode(event.body).type_data.get("notifier_id"))
    return event
