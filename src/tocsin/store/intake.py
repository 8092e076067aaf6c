"""What a batch of requests stores: decided once, the same for every database, before anything is inserted.

A database brings how it finds what is stored already and how it writes instants; it inserts the rows gathered here.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import msgspec

from tocsin.errors import Conflict
from tocsin.ids import new_uuid7
from tocsin.model import Notifier
from tocsin.store.port import (
    INLINE_FANOUT,
    Accepted,
    AppRoutes,
    Claim,
    Dispatch,
    IdempotencyKey,
    NewEvent,
    NewEvents,
)

Row = tuple[Any, ...]


class Stored(Protocol):
    """What is in the database already."""

    def find_key(self, app_id: str, key: str) -> tuple[bytes, list[str]] | None:
        """The hash of the request that used this key, and the ids of its events."""
        ...

    def find_body(self, event_id: str) -> bytes | None: ...

    def routes_of(self, app_id: str) -> AppRoutes: ...


class Intake:
    """Takes requests one by one and gathers their rows, so that each table is written in one go.

    Columns: events (id, app_id, user_id, type, received_at, body); deliveries (id, app_id, event_id, event_type,
    notifier_id, state, attempt_count, next_attempt_at, lease_token, claimed_at, lease_until, created_at, expires_at);
    keys (app_id, key, request_hash, event_ids, created_at); fanouts (event_id, app_id, notifier_ids, done_count,
    created_at).
    """

    def __init__(
        self,
        stored: Stored,
        *,
        dispatch: Dispatch,
        instant: Callable[[datetime], Any],
        undo: list[Callable[[], None]],
    ) -> None:
        """`instant` gives a time as the database keeps it; `undo` collects how slots that were taken are given back."""
        self._stored = stored
        self._dispatch = dispatch
        self._instant = instant
        self._undo = undo
        self.events: list[Row] = []
        self.deliveries: list[Row] = []
        self.keys: list[Row] = []
        self.fanouts: list[Row] = []
        self._new_keys: dict[tuple[str, str], tuple[bytes, list[str]]] = {}
        self._new_bodies: dict[str, bytes] = {}

    def add(self, new: NewEvents) -> Accepted | Exception:
        """Gather what one request stores, and answer it as it will be answered once that is durable."""
        if new.idempotency is not None:
            known = self._find_key(new.app_id, new.idempotency.key)
            if known is not None:
                return self._replay(new.idempotency, known)
        bodies: list[bytes] = []
        event_ids: list[str] = []
        claims: list[Claim] = []
        waiting: set[str] = set()
        has_fanout = False
        for event in new.events:
            first = self._first_of(event)
            if first is not None:
                event_id, body = first
                bodies.append(body)
                event_ids.append(event_id)
                continue
            bodies.append(event.body)
            event_ids.append(event.id)
            self._add_event(event)
            has_fanout |= self._add_deliveries(event, claims, waiting)
        if new.idempotency is not None:
            self._add_key(new.app_id, new.idempotency, event_ids, new.events[0].received_at)
        return Accepted(bodies=tuple(bodies), claims=tuple(claims), waiting=frozenset(waiting), has_fanout=has_fanout)

    def _replay(self, sent: IdempotencyKey, known: tuple[bytes, list[str]]) -> Accepted | Exception:
        request_hash, event_ids = known
        if request_hash != sent.request_hash:
            return Conflict("this Idempotency-Key was used with another request: use a new key")
        bodies = [self._find_body(event_id) for event_id in event_ids]
        if None in bodies:
            # A young key may name an older event (by its dedup key) that retention has removed.
            return Conflict("this Idempotency-Key was used for events that are gone: use a new key")
        return Accepted(bodies=tuple(body for body in bodies if body is not None), is_replay=True)

    def _add_event(self, event: NewEvent) -> None:
        received_at = self._instant(event.received_at)
        self.events.append((event.id, event.app_id, event.user_id, event.type, received_at, event.body))
        if event.dedup_key is not None and event.app_id is not None:
            self._add_key(event.app_id, IdempotencyKey(event.dedup_key, b""), [event.id], event.received_at)
        self._new_bodies[event.id] = event.body

    def _add_key(self, app_id: str, key: IdempotencyKey, event_ids: list[str], at: datetime) -> None:
        self._new_keys[app_id, key.key] = (key.request_hash, event_ids)
        self.keys.append((app_id, key.key, key.request_hash, " ".join(event_ids), self._instant(at)))

    def _add_deliveries(self, event: NewEvent, claims: list[Claim], waiting: set[str]) -> bool:
        """Make an event's deliveries, or record the duty to: then the answer is True."""
        if event.app_id is None:
            return False
        wanted = self._dispatch.route(event, self._stored.routes_of(event.app_id))
        if len(wanted) > INLINE_FANOUT:
            notifier_ids = msgspec.json.encode([notifier.id for notifier in wanted]).decode()
            self.fanouts.append((event.id, event.app_id, notifier_ids, 0, self._instant(event.received_at)))
            return True
        for notifier in wanted:
            claim = self._hand_over(event, notifier)
            if claim is None:
                waiting.add(notifier.id)
            else:
                claims.append(claim)
            self._add_delivery(event, notifier, claim)
        return False

    def _hand_over(self, event: NewEvent, notifier: Notifier) -> Claim | None:
        dispatch = self._dispatch
        if not dispatch.take_slot(notifier):
            return None
        self._undo.append(lambda: dispatch.give_back_slot(notifier.id))
        return Claim(
            delivery_id=new_uuid7("de"),
            app_id=notifier.app_id,
            event_id=event.id,
            event_type=event.type,
            attempt=1,
            lease_token=event.id,
            claimed_at=event.received_at,
            expires_at=dispatch.expires_at(event, notifier),
            notifier=notifier,
            body=event.body,
        )

    def _add_delivery(self, event: NewEvent, notifier: Notifier, claim: Claim | None) -> None:
        now = self._instant(event.received_at)
        what = (event.app_id, event.id, event.type, notifier.id)
        row: Row
        if claim is None:
            row = (new_uuid7("de"), *what, "pending", 0, now, None, None, None)
            expires_at = self._dispatch.expires_at(event, notifier)
        else:
            until = self._instant(self._dispatch.lease_until(claim.claimed_at))
            row = (claim.delivery_id, *what, "sending", 1, None, claim.lease_token, now, until)
            expires_at = claim.expires_at
        self.deliveries.append((*row, now, self._instant(expires_at)))

    def _first_of(self, event: NewEvent) -> tuple[str, bytes] | None:
        """The event that came earlier with the same dedup key."""
        if event.dedup_key is None or event.app_id is None:
            return None
        known = self._find_key(event.app_id, event.dedup_key)
        if known is None:
            return None
        event_id = known[1][0]
        body = self._find_body(event_id)
        return None if body is None else (event_id, body)

    def _find_key(self, app_id: str, key: str) -> tuple[bytes, list[str]] | None:
        return self._new_keys.get((app_id, key)) or self._stored.find_key(app_id, key)

    def _find_body(self, event_id: str) -> bytes | None:
        return self._new_bodies.get(event_id) or self._stored.find_body(event_id)
