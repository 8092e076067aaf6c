"""What becomes of deliveries, in a model that is small enough to be plainly right; `test_model` holds a store to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tests.store.cast import LEASE
from tocsin.clock import ManualClock
from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState, Notifier, NotifierState
from tocsin.store.endings import REMOVAL_TYPE
from tocsin.store.leases import MAX_LOST_LEASES, SUSPECT_LOST_LEASES
from tocsin.store.port import Claim, NewEvent, Settlement

KEY_LIFETIME = timedelta(hours=24)

LIVE = {DeliveryState.PENDING, DeliveryState.SENDING}
UNDELIVERED = {DeliveryState.FAILED, DeliveryState.CANCELLED}


@dataclass(kw_only=True)
class Known:
    """One delivery. `is_forgotten`: whoever has its lease has crashed."""

    event_id: str
    event_type: str
    notifier_id: str
    due_at: datetime | None
    expires_at: datetime
    replay_of: str | None
    state: DeliveryState = DeliveryState.PENDING
    reason: DeliveryReason | None = None
    outcomes: list[AttemptOutcome] = field(default_factory=list)
    lost_in_a_row: int = 0
    lease: Claim | None = None
    is_forgotten: bool = False

    @property
    def is_pending(self) -> bool:
        return self.state is DeliveryState.PENDING

    @property
    def is_suspect(self) -> bool:
        return self.lost_in_a_row >= SUSPECT_LOST_LEASES

    def take(self, claim: Claim) -> None:
        self.state, self.lease, self.due_at, self.is_forgotten = DeliveryState.SENDING, claim, None, False

    def put_off(self, until: datetime) -> None:
        self.state, self.lease, self.due_at = DeliveryState.PENDING, None, until

    def end(self, state: DeliveryState, reason: DeliveryReason | None) -> None:
        self.state, self.lease, self.due_at, self.reason = state, None, None, reason

    def shown(self) -> tuple[Any, ...]:
        """What its row must say, be it live or over."""
        if self.state not in LIVE:
            return self.state, self.reason, len(self.outcomes), self.replay_of
        token = until = None
        if self.lease is not None:
            token, until = self.lease.lease_token, self.lease.claimed_at + LEASE
        count = len(self.outcomes) + (self.lease is not None)
        return self.state, self.due_at, count, self.lost_in_a_row, token, until, self.replay_of


class FirstUse(msgspec.Struct, frozen=True):
    """Of an idempotency key."""

    content: bytes
    bodies: tuple[bytes, ...]
    at: datetime


class Model:
    """`wanted` holds event and notifier of all that was accepted, `removed` the notifiers that are gone, and why."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.apps: list[str] = []
        self.notifiers: dict[str, Notifier] = {}
        self.removed: dict[str, DeliveryReason] = {}
        self.known: dict[str, Known] = {}
        self.wanted: set[tuple[str, str]] = set()
        self.events: set[str] = set()
        self.keys: dict[tuple[str, str], FirstUse] = {}
        self.lost: list[Claim] = []
        self.told: list[Settlement] = []

    def present(self, app_id: str | None = None) -> list[Notifier]:
        """The notifiers that are not removed, of one app or of all."""
        return [
            notifier
            for notifier in self.notifiers.values()
            if notifier.id not in self.removed and app_id in {None, notifier.app_id}
        ]

    def of(self, notifier_id: str) -> list[Known]:
        return [known for known in self.known.values() if known.notifier_id == notifier_id]

    def has(self, state: DeliveryState) -> bool:
        return any(known.state is state for known in self.known.values())

    def under_way(self) -> list[tuple[Known, Claim]]:
        """What is leased to somebody who may still tell how it went."""
        return [(known, known.lease) for known in self.known.values() if known.lease and not known.is_forgotten]

    def has_suspect_under_way(self) -> bool:
        return any(known.lease and known.is_suspect for known in self.known.values())

    def due(self, notifier: Notifier) -> list[str]:
        """What may be claimed for a notifier, the longest due first."""
        return self.waiting(notifier) if notifier.state is NotifierState.ACTIVE else []

    def probe(self, notifier: Notifier) -> list[str]:
        """What a failing notifier may be tried with now, if anything."""
        is_time = notifier.held_until is not None and notifier.held_until <= self.clock.now()
        is_free = not any(known.lease for known in self.of(notifier.id))
        is_probed = notifier.state is NotifierState.FAILING and notifier.id not in self.removed
        return self.waiting(notifier)[:1] if is_probed and is_time and is_free else []

    def waiting(self, notifier: Notifier) -> list[str]:
        """What is due, the longest first."""
        now = self.clock.now()
        due = [
            (known.due_at, id_)
            for id_, known in self.known.items()
            if known.notifier_id == notifier.id and known.due_at is not None and known.due_at <= now
        ]
        return [id_ for _, id_ in sorted(due)]

    def replayable(self) -> list[str]:
        """What is over, and whose notifier may get it again."""
        takers = {notifier.id for notifier in self.present() if notifier.active}
        return [id_ for id_, known in self.known.items() if known.state not in LIVE and known.notifier_id in takers]

    def missed(self, notifier_id: str) -> list[str]:
        """Of each event that a notifier was last sent in vain, and of which nothing is under way, that delivery."""
        live = {known.event_id for known in self.of(notifier_id) if known.state in LIVE}
        newest: dict[str, str] = {}
        for id_, known in self.known.items():
            if known.notifier_id == notifier_id and known.event_id not in live:
                newest[known.event_id] = max(id_, newest.get(known.event_id, ""))
        return sorted(id_ for id_ in newest.values() if self.known[id_].state in UNDELIVERED)

    def accept(self, events: Sequence[NewEvent], app_id: str) -> set[tuple[str, str]]:
        """Answers with who is to get what."""
        self.events |= {event.id for event in events}
        wanted = {(event.id, each.id) for event in events for each in self.present(app_id) if each.takes_events}
        self.wanted |= wanted
        return wanted

    def settle(self, known: Known, settlement: Settlement) -> None:
        known.outcomes.append(settlement.attempt.outcome)
        known.lost_in_a_row = 0
        if settlement.next_attempt_at is not None:
            known.put_off(settlement.next_attempt_at)
        else:
            known.end(settlement.state, settlement.reason)
        if settlement.attempt.outcome is not AttemptOutcome.UNKNOWN:
            self.told.append(settlement)

    def lose(self, some: Iterable[Known]) -> None:
        """Their leases are taken back."""
        for known in some:
            assert known.lease is not None
            if not known.is_forgotten:
                self.lost.append(known.lease)
            known.outcomes.append(AttemptOutcome.UNKNOWN)
            known.lost_in_a_row += 1
            if known.lost_in_a_row >= MAX_LOST_LEASES:
                known.end(DeliveryState.FAILED, DeliveryReason.POISON)
            else:
                known.put_off(self.clock.now())

    def expire(self) -> int:
        """Answers with how many."""
        late = [known for known in self.known.values() if known.is_pending and known.expires_at <= self.clock.now()]
        for known in late:
            known.end(DeliveryState.FAILED, DeliveryReason.EXPIRED)
        return len(late)

    def cancel_unwanted(self, some: Iterable[Known]) -> int:
        """Of these deliveries, end what waits for nobody; answers with how many."""
        unwanted = [(known, reason) for known in some if known.is_pending and (reason := self._why_unwanted(known))]
        for known, reason in unwanted:
            known.end(DeliveryState.CANCELLED, reason)
        return len(unwanted)

    def _why_unwanted(self, known: Known) -> DeliveryReason | None:
        removed = self.removed.get(known.notifier_id)
        if removed is None:
            is_off = self.notifiers[known.notifier_id].state is NotifierState.OFF
            return DeliveryReason.NOTIFIER_OFF if is_off else None
        is_last = removed is DeliveryReason.APP_REMOVED and known.event_type == REMOVAL_TYPE
        return None if is_last else removed

    def change(self, notifier: Notifier) -> None:
        self.notifiers[notifier.id] = notifier
        self.cancel_unwanted(self.of(notifier.id))

    def remove_notifier(self, notifier: Notifier) -> None:
        self.removed[notifier.id] = DeliveryReason.NOTIFIER_REMOVED
        gone = {"state": NotifierState.OFF, "active": False, "updated_at": self.clock.now()}
        self.change(msgspec.structs.replace(notifier, **gone))

    def remove_app(self, app_id: str) -> None:
        """Notifiers stay as they are, for the event that tells of the removal."""
        self.apps.remove(app_id)
        for notifier in self.present(app_id):
            is_off = notifier.state is NotifierState.OFF
            self.removed[notifier.id] = DeliveryReason.NOTIFIER_REMOVED if is_off else DeliveryReason.APP_REMOVED
        for known in self.known.values():
            if known.is_pending and self.notifiers[known.notifier_id].app_id == app_id:
                known.end(DeliveryState.CANCELLED, DeliveryReason.APP_REMOVED)

    def forget_keys(self) -> datetime:
        """Answers with the time before which they were used first."""
        oldest = self.clock.now() - KEY_LIFETIME
        self.keys = {key: first for key, first in self.keys.items() if first.at >= oldest}
        return oldest
