"""Storing a batch of requests on SQLite: what is looked up for it, and the rows it adds, each table in few steps."""

from collections.abc import Callable

from tocsin.store.intake import Intake
from tocsin.store.port import AppRoutes
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


class Found:
    """`tocsin.store.intake.Stored` inside a transaction."""

    def __init__(self, transaction: Transaction, routes_of: Callable[[Transaction, str], AppRoutes]) -> None:
        self._transaction = transaction
        self._routes_of = routes_of

    def find_key(self, app_id: str, key: str) -> tuple[bytes, list[str]] | None:
        row = self._transaction.raw.execute(FIND_KEY, (app_id, key)).fetchone()
        return None if row is None else (row[0], row[1].split(" "))

    def find_body(self, event_id: str) -> bytes | None:
        row = self._transaction.raw.execute(FIND_BODY, (event_id,)).fetchone()
        return None if row is None else row[0]

    def routes_of(self, app_id: str) -> AppRoutes:
        return self._routes_of(self._transaction, app_id)


def insert(transaction: Transaction, intake: Intake) -> None:
    INSERT_EVENTS.run(transaction.raw, intake.events)
    INSERT_DELIVERIES.run(transaction.raw, intake.deliveries)
    INSERT_KEYS.run(transaction.raw, intake.keys)
    INSERT_FANOUTS.run(transaction.raw, intake.fanouts)
