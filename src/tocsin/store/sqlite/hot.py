"""The three statements of the hot path for SQLite, batched: store events, claim deliveries, settle attempts."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.clock import Clock
from tocsin.model import DeliveryState, Notifier
from tocsin.store import notifiers as notifier_verbs
from tocsin.store.firsts import Chance, count_firsts
from tocsin.store.intake import Intake
from tocsin.store.leases import SUSPECT_LOST_LEASES, give_up
from tocsin.store.port import Accepted, AppRoutes, Claim, Claimed, Dispatch, NewEvents, Settlement
from tocsin.store.schema import from_micros, to_micros
from tocsin.store.sqlite.bulk import Bulk
from tocsin.store.sqlite.rows import FIND_BODY, Found, insert
from tocsin.store.sqlite.space import Space
from tocsin.store.sqlite.writer import Transaction

_LEASE = """
UPDATE deliveries SET state = 'sending', attempt_count = attempt_count + 1, next_attempt_at = NULL,
                      lease_token = :token, claimed_at = :now, lease_until = :until"""
_CLAIMED = "RETURNING id, app_id, event_id, event_type, attempt_count, expires_at"
CLAIM_FIRSTS = f"""{_LEASE}
 WHERE id IN (SELECT id FROM deliveries
               WHERE notifier_id = :notifier AND state = 'pending' AND attempt_count = 0 AND next_attempt_at <= :now
               ORDER BY next_attempt_at, id LIMIT :count)
{_CLAIMED}"""  # noqa: S608 - made of constants
CLAIM = f"""{_LEASE}
 WHERE id IN (SELECT id FROM deliveries
               WHERE notifier_id = :notifier AND state = 'pending' AND next_attempt_at <= :now
                     AND (lost_lease_count < :suspect
                          OR id = (SELECT id FROM deliveries
                                    WHERE notifier_id = :notifier AND state = 'pending' AND next_attempt_at <= :now
                                          AND lost_lease_count >= :suspect
                                    ORDER BY next_attempt_at, id LIMIT 1)
                             AND NOT EXISTS (SELECT * FROM deliveries
                                              WHERE state = 'sending' AND lost_lease_count >= :suspect))
               ORDER BY next_attempt_at, id LIMIT :count)
{_CLAIMED}"""  # noqa: S608 - made of constants
NEXT_DUE = "SELECT min(next_attempt_at) FROM deliveries WHERE notifier_id = ? AND state = 'pending'"
# Begun by their verbs: Python counts no rows for a statement that begins with WITH (cursor.rowcount stays -1).
# SQLite names the columns of VALUES column1 and so on: delivery, lease, and then state, reason, end or next attempt.
# CROSS JOIN keeps SQLite to the order written.
FINISH = Bulk(
    """
INSERT INTO finished_deliveries (id, app_id, event_id, event_type, notifier_id, state, reason, attempt_count,
                                 created_at, expires_at, finished_at, replay_of)
SELECT id, app_id, event_id, event_type, notifier_id, ended.column3, ended.column4, attempt_count,
       created_at, expires_at, ended.column5, replay_of
  FROM (VALUES""",
    width=5,
    after=""") AS ended CROSS JOIN deliveries
 WHERE deliveries.id = ended.column1 AND deliveries.lease_token = ended.column2 AND deliveries.state = 'sending'""",
)
DELETE_FINISHED = Bulk("DELETE FROM deliveries WHERE id IN (", width=1, after=")")
RETRY = Bulk(
    """
UPDATE deliveries SET state = 'pending', next_attempt_at = again.column3,
                      lease_token = NULL, lease_until = NULL, lost_lease_count = 0
  FROM (VALUES""",
    width=3,
    after=""") AS again
 WHERE deliveries.id = again.column1 AND deliveries.lease_token = again.column2 AND deliveries.state = 'sending'""",
)
INSERT_ATTEMPTS = Bulk(
    """
INSERT INTO attempts (delivery_id, number, started_at, duration_ms, outcome, reason, response_status,
                      response_body, error)
VALUES""",
    width=9,
)
FIND_ATTEMPT = """
SELECT 1 FROM attempts WHERE delivery_id = ? AND number = ? AND started_at = ? AND outcome <> 'unknown'"""
LATE_ATTEMPT = """
UPDATE attempts SET duration_ms = ?, response_status = ?, response_body = ?, error = ?
 WHERE delivery_id = ? AND number = ? AND outcome = 'unknown'"""


class HotVerbs:
    """The batch verbs, with what they remember between transactions: routes, until a plain write changes any."""

    def __init__(self, clock: Clock, dispatch: Dispatch, space: Space, chance: Chance) -> None:
        self._clock = clock
        self._dispatch = dispatch
        self._space = space
        self._chance = chance
        self._routes: dict[str, AppRoutes] = {}
        self._notifiers: dict[str, Notifier | None] = {}
        self._unsendable: set[str] = set()

    def forget(self) -> None:
        """Drop what is remembered: a plain write may have changed it."""
        self._routes.clear()
        self._notifiers.clear()
        self._unsendable.clear()

    def add_events(self, transaction: Transaction, batch: list[NewEvents]) -> list[Accepted | Exception]:
        shortage = self._space.find_shortage()
        if shortage is not None:
            return [shortage for _ in batch]
        intake = Intake(
            Found(transaction, self._routes_of), dispatch=self._dispatch, instant=to_micros, undo=transaction.undo
        )
        results = [intake.add(new) for new in batch]
        insert(transaction, intake)
        return results

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
            if not self._is_sendable(transaction, notifier_id):
                next_due[notifier_id] = None
                continue
            found = self._claim_of(transaction, notifier_id, count, now)
            claims.extend(found)
            if len(found) < count:
                due = transaction.raw.execute(NEXT_DUE, (notifier_id,)).fetchone()[0]
                next_due[notifier_id] = None if due is None else from_micros(due)
        return Claimed(claims=tuple(claims), next_due=next_due)

    def _claim_of(self, transaction: Transaction, notifier_id: str, count: int, now: datetime) -> list[Claim]:
        token = uuid.uuid4().hex
        values = {
            "token": token,
            "now": to_micros(now),
            "until": to_micros(self._dispatch.lease_until(now)),
            "notifier": notifier_id,
            "suspect": SUSPECT_LOST_LEASES,
        }
        firsts = count_firsts(count, self._chance())
        rows = transaction.raw.execute(CLAIM_FIRSTS, values | {"count": firsts}).fetchall() if firsts else []
        if len(rows) < count:
            rows += transaction.raw.execute(CLAIM, values | {"count": count - len(rows)}).fetchall()
        notifier = self._notifiers[notifier_id]
        claims = []
        for delivery_id, app_id, event_id, event_type, attempt_count, expires_at in rows:
            body = transaction.raw.execute(FIND_BODY, (event_id,)).fetchone()
            if notifier is None or body is None:
                give_up(transaction.connection, [(delivery_id, token)], at=now)
                continue
            claims.append(
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
                    body=body[0],
                )
            )
        return claims

    def _is_sendable(self, transaction: Transaction, notifier_id: str) -> bool:
        """Whether a notifier's deliveries may be claimed: not when it is paused or removed.

        Those of one that cannot be read are claimed too, to be given up.
        """
        if notifier_id not in self._notifiers and notifier_id not in self._unsendable:
            found = notifier_verbs.find_sendables(transaction.connection, [notifier_id])
            sendable = {each: one for each, one in found.items() if one is None or self._dispatch.may_send(one)}
            self._notifiers |= sendable
            self._unsendable |= {notifier_id} - sendable.keys()
        return notifier_id in self._notifiers

    def settle(self, transaction: Transaction, batch: list[Settlement]) -> list[bool]:
        if _settle(transaction, batch):
            return [True] * len(batch)
        # Some lease was lost meanwhile: find out whose, one by one, from the start.
        transaction.raw.execute("ROLLBACK TO batch")
        return [self._settle_one(transaction, settlement) for settlement in batch]

    def _settle_one(self, transaction: Transaction, settlement: Settlement) -> bool:
        if _settle(transaction, [settlement]):
            return True
        attempt = settlement.attempt
        which = (settlement.delivery_id, attempt.number)
        if transaction.raw.execute(FIND_ATTEMPT, (*which, to_micros(attempt.started_at))).fetchone():
            # Recorded before, by a commit that this caller was not told of.
            return True
        late = (attempt.duration_ms, attempt.response_status, attempt.response_body)
        error = f"its lease was lost; came late: {attempt.error or attempt.outcome.value}"
        transaction.raw.execute(LATE_ATTEMPT, (*late, error, *which))
        return False


def _settle(transaction: Transaction, batch: list[Settlement]) -> bool:
    """Record attempts and move their deliveries on. False when one of the leases is lost; what was done stays then."""
    retries = [_retry_values(settlement) for settlement in batch if settlement.state is DeliveryState.PENDING]
    ended = [_end_values(settlement) for settlement in batch if settlement.state is not DeliveryState.PENDING]
    raw = transaction.raw
    if FINISH.run(raw, ended) != len(ended) or RETRY.run(raw, retries) != len(retries):
        return False
    DELETE_FINISHED.run(raw, [values[:1] for values in ended])
    INSERT_ATTEMPTS.run(raw, [_attempt_values(settlement) for settlement in batch])
    return True


def _retry_values(settlement: Settlement) -> tuple[Any, ...]:
    next_at = settlement.next_attempt_at
    return settlement.delivery_id, settlement.lease_token, None if next_at is None else to_micros(next_at)


def _end_values(settlement: Settlement) -> tuple[Any, ...]:
    finished_at = settlement.finished_at
    return (
        settlement.delivery_id,
        settlement.lease_token,
        settlement.state.value,
        None if settlement.reason is None else settlement.reason.value,
        None if finished_at is None else to_micros(finished_at),
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
