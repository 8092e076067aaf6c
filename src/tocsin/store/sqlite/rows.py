"""The rows that a batch of requests adds, gathered so that each table is written in few steps."""

from datetime import datetime
from typing import Any

import msgspec

from tocsin.ids import new_uuid7
from tocsin.model import Notifier
from tocsin.store.port import Claim, Dispatch, IdempotencyKey, NewEvent
from tocsin.store.schema import to_micros
from tocsin.store.sqlite.bulk import Bulk
from tocsin.store.sqlite.writer import Transaction

INSERT_EVENTS = Bulk("INSERT INTO events (id, app_id, user_id, type, received_at, body) VALUES", width=6)
INSERT_KEYS = Bulk(
    "INSERT OR REPLACE INTO idempotency_keys (app_id, key, request_hash, event_ids, created_at) VALUES", width=5
)
INSERT_FANOUTS = Bulk("INSERT INTO fanouts (event_id, app_id, notifier_ids, done_count, created_at) VALUES", width=5)
INSERT_DELIVERIES = Bulk(
    """
INSERT INTO deliveries (id, app_id, event_id, event_type, notifier_id, state, attempt_count, next_attempt_at,
                        lease_token, claimed_at, lease_until, created_at, expires_at)
VALUES""",
    width=13,
)
FIND_KEY = "SELECT request_hash, event_ids FROM idempotency_keys WHERE app_id = ? AND key = ?"
FIND_BODY = "SELECT body FROM events WHERE id = ?"


class NewRows:
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
        self._fanouts.append((event.id, event.app_id, listed, 0, to_micros(event.received_at)))

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
        INSERT_EVENTS.run(transaction.raw, self._events)
        INSERT_DELIVERIES.run(transaction.raw, self._deliveries)
        INSERT_KEYS.run(transaction.raw, self._keys)
        INSERT_FANOUTS.run(transaction.raw, self._fanouts)

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
