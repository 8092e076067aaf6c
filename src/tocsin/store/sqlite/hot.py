"""The three statements of the hot path for SQLite, batched: store events, claim deliveries, settle attempts."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from tocsin.clock import Clock
from tocsin.errors import Conflict
from tocsin.ids import new_uuid7
from tocsin.model import Notifier
from tocsin.store import notifiers as notifier_verbs
from tocsin.store.port import (
    INLINE_FANOUT,
    Accepted,
    AppRoutes,
    Claim,
    Claimed,
    Dispatch,
    IdempotencyKey,
    NewEvent,
    NewEvents,
    Settlement,
)
from tocsin.store.schema import from_micros, to_micros
from tocsin.store.sqlite.writer import Transaction

INSERT_EVENT = "INSERT INTO events (id, app_id, user_id, type, received_at, body) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_KEY = (
    "INSERT OR REPLACE INTO idempotency_keys (app_id, key, request_hash, event_ids, created_at) VALUES (?, ?, ?, ?, ?)"
)
INSERT_FANOUT = "INSERT INTO fanouts (event_id, app_id, notifier_ids, done_count, created_at) VALUES (?, ?, ?, 0, ?)"
INSERT_DELIVERY = """
INSERT INTO deliveries (id, app_id, event_id, event_type, notifier_id, state, attempt_count, next_attempt_at,
                        lease_token, claimed_at, lease_until, created_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
FIND_KEY = "SELECT request_hash, event_ids FROM idempotency_keys WHERE app_id = ? AND key = ?"
FIND_BODY = "SELECT body FROM events WHERE id = ?"
CLAIM = """
UPDATE deliveries SET state = 'sending', attempt_count = attempt_count + 1, next_attempt_at = NULL, reason = NULL,
                      lease_token = :token, claimed_at = :now, lease_until = :until
 WHERE id IN (SELECT id FROM deliveries
               WHERE notifier_id = :notifier AND state = 'pending' AND next_attempt_at <= :now
               ORDER BY next_attempt_at, id LIMIT :count)
RETURNING id, app_id, event_id, event_type, attempt_count, expires_at"""
NEXT_DUE = "SELECT min(next_attempt_at) FROM deliveries WHERE notifier_id = ? AND state = 'pending'"
SETTLE = """
UPDATE deliveries SET state = ?, reason = ?, next_attempt_at = ?, finished_at = ?, lease_token = NULL,
                      lease_until = NULL, lost_lease_count = 0
 WHERE id = ? AND lease_token = ? AND state = 'sending'"""
INSERT_ATTEMPT = """
INSERT INTO attempts (delivery_id, number, started_at, duration_ms, outcome, reason, response_status,
                      response_body, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
LATE_ATTEMPT = """
UPDATE attempts SET duration_ms = ?, response_status = ?, response_body = ?, error = ?
 WHERE delivery_id = ? AND number = ? AND outcome = 'unknown'"""


class HotVerbs:
    """The batch verbs, with what they remember between transactions: routes, until a plain write changes any."""

    def __init__(self, clock: Clock, dispatch: Dispatch) -> None:
        self._clock = clock
        self._dispatch = dispatch
        self._routes: dict[str, AppRoutes] = {}
        self._notifiers: dict[str, Notifier | None] = {}

    def forget(self) -> None:
        """Drop what is remembered: a plain write may have changed it."""
        self._routes.clear()
        self._notifiers.clear()

    def add_events(self, transaction: Transaction, batch: list[NewEvents]) -> list[Accepted | Exception]:
        rows = _Rows()
        results = [self._add_request(transaction, new, rows) for new in batch]
        rows.insert(transaction)
        return results

    def _add_request(self, transaction: Transaction, new: NewEvents, rows: "_Rows") -> Accepted | Exception:
        if new.idempotency is not None:
            known = rows.find_key(transaction, new.app_id, new.idempotency.key)
            if known is not None:
                return self._replay(transaction, new.idempotency, known, rows)
        bodies: list[bytes] = []
        event_ids: list[str] = []
        claims: list[Claim] = []
        waiting: set[str] = set()
        has_fanout = False
        for event in new.events:
            first = rows.first_of(transaction, event)
            if first is not None:
                event_id, body = first
                bodies.append(body)
                event_ids.append(event_id)
                continue
            bodies.append(event.body)
            event_ids.append(event.id)
            rows.add_event(event)
            has_fanout |= self._add_deliveries(transaction, event, rows, claims, waiting)
        if new.idempotency is not None:
            rows.add_key(new.app_id, new.idempotency, event_ids, new.events[0].received_at)
        return Accepted(bodies=tuple(bodies), claims=tuple(claims), waiting=frozenset(waiting), has_fanout=has_fanout)

    def _replay(
        self, transaction: Transaction, sent: IdempotencyKey, known: tuple[bytes, list[str]], rows: "_Rows"
    ) -> Accepted | Exception:
        request_hash, event_ids = known
        if request_hash != sent.request_hash:
            return Conflict("this Idempotency-Key was used with another request: use a new key")
        bodies = [rows.find_body(transaction, event_id) for event_id in event_ids]
        if None in bodies:
            # A young key may name an older event (by its dedup key) that retention has removed.
            return Conflict("this Idempotency-Key was used for events that are gone: use a new key")
        return Accepted(bodies=tuple(body for body in bodies if body is not None), is_replay=True)

    def _add_deliveries(
        self, transaction: Transaction, event: NewEvent, rows: "_Rows", claims: list[Claim], waiting: set[str]
    ) -> bool:
        """Make an event's deliveries, or record the duty to: then the answer is True."""
        if event.app_id is None:
            return False
        wanted = self._dispatch.route(event, self._routes_of(transaction, event.app_id))
        if len(wanted) > INLINE_FANOUT:
            rows.add_fanout(event, [notifier.id for notifier in wanted])
            return True
        for notifier in wanted:
            claim = self._hand_over(transaction, event, notifier)
            if claim is None:
                waiting.add(notifier.id)
            else:
                claims.append(claim)
            rows.add_delivery(event, notifier, self._dispatch, claim)
        return False

    def _hand_over(self, transaction: Transaction, event: NewEvent, notifier: Notifier) -> Claim | None:
        dispatch = self._dispatch
        if not dispatch.take_slot(notifier):
            return None
        transaction.undo.append(lambda: dispatch.give_back_slot(notifier.id))
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

    def _routes_of(self, transaction: Transaction, app_id: str) -> AppRoutes:
        routes = self._routes.get(app_id)
        if routes is None:
            routes = notifier_verbs.get_routes(transaction.connection, app_id)
            self._routes[app_id] = routes
        return routes

    def claim(self, transaction: Transaction, batch: list[Mapping[str, int]]) -> list[Claimed]:
        return [self._claim(transaction, slots) for slots in batch]

    def _claim(self, transaction: Transaction, slots: Mapping[str, int]) -> Claimed:
        now = self._clock.now()
        claims: list[Claim] = []
        next_due: dict[str, datetime | None] = {}
        for notifier_id, count in slots.items():
            notifier = self._notifier(transaction, notifier_id)
            if notifier is None:
                next_due[notifier_id] = None
                continue
            found = self._claim_of(transaction, notifier, count, now)
            claims.extend(found)
            if len(found) < count:
                due = transaction.raw.execute(NEXT_DUE, (notifier_id,)).fetchone()[0]
                next_due[notifier_id] = None if due is None else from_micros(due)
        return Claimed(claims=tuple(claims), next_due=next_due)

    def _claim_of(self, transaction: Transaction, notifier: Notifier, count: int, now: datetime) -> list[Claim]:
        token = uuid.uuid4().hex
        values = {
            "token": token,
            "now": to_micros(now),
            "until": to_micros(self._dispatch.lease_until(now)),
            "notifier": notifier.id,
            "count": count,
        }
        return [
            Claim(
                delivery_id=delivery_id,
                app_id=app_id,
                event_id=event_id,
                event_type=event_type,
                attempt=attempt_count,
                lease_token=token,
                claimed_at=now,
                expires_at=from_micros(expires_at),
                notifier=notifier,
                body=transaction.raw.execute(FIND_BODY, (event_id,)).fetchone()[0],
            )
            for delivery_id, app_id, event_id, event_type, attempt_count, expires_at in transaction.raw.execute(
                CLAIM, values
            ).fetchall()
        ]

    def _notifier(self, transaction: Transaction, notifier_id: str) -> Notifier | None:
        """A notifier whose deliveries may be sent now; None for one that is paused or removed."""
        if notifier_id not in self._notifiers:
            found = notifier_verbs.find_sendable(transaction.connection, notifier_id)
            self._notifiers[notifier_id] = found if found and self._dispatch.may_send(found) else None
        return self._notifiers[notifier_id]

    def settle(self, transaction: Transaction, batch: list[Settlement]) -> list[bool]:
        values = [_settle_values(settlement) for settlement in batch]
        cursor = transaction.raw.executemany(SETTLE, values)
        if cursor.rowcount == len(batch):
            transaction.raw.executemany(INSERT_ATTEMPT, [_attempt_values(settlement) for settlement in batch])
            return [True] * len(batch)
        # Some lease was lost meanwhile: find out whose, one by one, from the start.
        transaction.raw.execute("ROLLBACK TO batch")
        return [self._settle_one(transaction, settlement) for settlement in batch]

    def _settle_one(self, transaction: Transaction, settlement: Settlement) -> bool:
        held = transaction.raw.execute(SETTLE, _settle_values(settlement)).rowcount == 1
        attempt = settlement.attempt
        if held:
            transaction.raw.execute(INSERT_ATTEMPT, _attempt_values(settlement))
        else:
            late = (attempt.duration_ms, attempt.response_status, attempt.response_body)
            error = f"its lease was lost; came late: {attempt.error or attempt.outcome.value}"
            where = (settlement.delivery_id, attempt.number)
            transaction.raw.execute(LATE_ATTEMPT, (*late, error, *where))
        return held


class _Rows:
    """What a batch of requests inserts, gathered so that each table is written in one go."""

    def __init__(self) -> None:
        self._events: list[tuple[Any, ...]] = []
        self._deliveries: list[tuple[Any, ...]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._fanouts: list[tuple[Any, ...]] = []
        self._new_keys: dict[tuple[str, str], tuple[bytes, list[str]]] = {}
        self._new_bodies: dict[str, bytes] = {}

    def add_event(self, event: NewEvent) -> None:
        received_at = to_micros(event.received_at)
        self._events.append((event.id, event.app_id, event.user_id, event.type, received_at, event.body))
        if event.dedup_key is not None and event.app_id is not None:
            self.add_key(event.app_id, IdempotencyKey(event.dedup_key, b""), [event.id], event.received_at)
        self._new_bodies[event.id] = event.body

    def add_key(self, app_id: str, key: IdempotencyKey, event_ids: list[str], at: datetime) -> None:
        self._new_keys[app_id, key.key] = (key.request_hash, event_ids)
        self._keys.append((app_id, key.key, key.request_hash, " ".join(event_ids), to_micros(at)))

    def add_fanout(self, event: NewEvent, notifier_ids: list[str]) -> None:
        listed = msgspec.json.encode(notifier_ids).decode()
        self._fanouts.append((event.id, event.app_id, listed, to_micros(event.received_at)))

    def add_delivery(self, event: NewEvent, notifier: Notifier, dispatch: Dispatch, claim: Claim | None) -> None:
        now = to_micros(event.received_at)
        what = (event.app_id, event.id, event.type, notifier.id)
        row: tuple[Any, ...]
        if claim is None:
            row = (new_uuid7("de"), *what, "pending", 0, now, None, None, None)
            expires_at = dispatch.expires_at(event, notifier)
        else:
            until = to_micros(dispatch.lease_until(claim.claimed_at))
            row = (claim.delivery_id, *what, "sending", 1, None, claim.lease_token, now, until)
            expires_at = claim.expires_at
        self._deliveries.append((*row, now, to_micros(expires_at)))

    def insert(self, transaction: Transaction) -> None:
        for statement, rows in (
            (INSERT_EVENT, self._events),
            (INSERT_DELIVERY, self._deliveries),
            (INSERT_KEY, self._keys),
            (INSERT_FANOUT, self._fanouts),
        ):
            if rows:
                transaction.raw.executemany(statement, rows)

    def find_key(self, transaction: Transaction, app_id: str, key: str) -> tuple[bytes, list[str]] | None:
        known = self._new_keys.get((app_id, key))
        if known is not None:
            return known
        row = transaction.raw.execute(FIND_KEY, (app_id, key)).fetchone()
        return None if row is None else (row[0], row[1].split(" "))

    def find_body(self, transaction: Transaction, event_id: str) -> bytes | None:
        body = self._new_bodies.get(event_id)
        if body is None:
            row = transaction.raw.execute(FIND_BODY, (event_id,)).fetchone()
            body = None if row is None else row[0]
        return body

    def first_of(self, transaction: Transaction, event: NewEvent) -> tuple[str, bytes] | None:
        """The event that came earlier with the same dedup key."""
        if event.dedup_key is None or event.app_id is None:
            return None
        known = self.find_key(transaction, event.app_id, event.dedup_key)
        if known is None:
            return None
        event_id = known[1][0]
        body = self.find_body(transaction, event_id)
        return None if body is None else (event_id, body)


def _settle_values(settlement: Settlement) -> tuple[Any, ...]:
    next_at, finished_at = settlement.next_attempt_at, settlement.finished_at
    return (
        settlement.state.value,
        None if settlement.reason is None else settlement.reason.value,
        None if next_at is None else to_micros(next_at),
        None if finished_at is None else to_micros(finished_at),
        settlement.delivery_id,
        settlement.lease_token,
    )


def _attempt_values(settlement: Settlement) -> tuple[Any, ...]:
    attempt = settlement.attempt
    return (
        settlement.delivery_id,
        attempt.number,
        to_micros(attempt.started_at),
        attempt.duration_ms,
        attempt.outcome.value,
        None if attempt.reason is None else attempt.reason.value,
        attempt.response_status,
        attempt.response_body,
        attempt.error,
    )
