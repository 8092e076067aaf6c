"""Leases as plain verbs: what is due, and how a lease ends without an outcome. Claiming is a hot statement."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState, NotifierState, Reason
from tocsin.store.deliveries import IS_PENDING, IS_SENDING
from tocsin.store.endings import IDS_AT_ONCE, STEP, finish
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import attempts, deliveries, notifiers

MAX_LOST_LEASES = 5
"""A delivery whose attempt never ended this many times in a row is taken to end its worker: it is poison."""

MAX_DURATION_MS = 2**31 - 1

SUSPECT_LOST_LEASES = 2
"""From so many on, only one such delivery is leased at a time. A process that is killed loses many leases at once;
this way only what ends it by itself comes to MAX_LOST_LEASES."""


def list_due_notifiers(connection: sa.Connection, platforms: Collection[str]) -> list[tuple[str, datetime]]:
    """The notifiers of these platforms that have pending deliveries and may be sent to, each with when it is due.

    Walks the index from notifier to notifier, so that its cost grows with the notifiers and not with what waits.
    """
    first = sa.select(sa.func.min(deliveries.c.notifier_id).label("notifier_id")).where(IS_PENDING)
    walk = first.cte("walk", recursive=True)
    following = (
        sa.select(sa.func.min(deliveries.c.notifier_id))
        .where(IS_PENDING, deliveries.c.notifier_id > walk.c.notifier_id)
        .scalar_subquery()
    )
    walk = walk.union_all(sa.select(following).where(walk.c.notifier_id.is_not(None)))
    due = (
        sa.select(sa.func.min(deliveries.c.next_attempt_at))
        .where(IS_PENDING, deliveries.c.notifier_id == walk.c.notifier_id)
        .scalar_subquery()
    )
    statement = (
        sa.select(walk.c.notifier_id, due.label("due"))
        .join(notifiers, notifiers.c.id == walk.c.notifier_id)
        .where(notifiers.c.active, notifiers.c.state == NotifierState.ACTIVE, notifiers.c.platform.in_(platforms))
    )
    return [(row.notifier_id, row.due) for row in connection.execute(statement)]


@conducts(Conduct(takes_turn=False, changes_nouns=False))
def release(connection: sa.Connection, leases: Sequence[tuple[str, str]], *, at: datetime) -> None:
    """Give back deliveries, by id and lease token, whose attempt was not begun: it does not count."""
    for delivery_id, lease_token in leases:
        connection.execute(
            deliveries.update()
            .where(deliveries.c.id == delivery_id, deliveries.c.lease_token == lease_token, IS_SENDING)
            .values(
                state=DeliveryState.PENDING,
                attempt_count=deliveries.c.attempt_count - 1,
                next_attempt_at=at,
                lease_token=None,
                lease_until=None,
            )
        )


@conducts(Conduct(takes_turn=False, changes_nouns=False))
def give_up(connection: sa.Connection, leases: Sequence[tuple[str, str]], *, at: datetime) -> None:
    """End deliveries, by id and lease token, of which nothing can be sent: their event or notifier cannot be read."""
    for delivery_id, lease_token in leases:
        is_meant = (deliveries.c.id == delivery_id, deliveries.c.lease_token == lease_token, IS_SENDING)
        held = connection.execute(sa.select(deliveries).where(*is_meant).with_for_update()).one_or_none()
        if held is not None:
            connection.execute(attempts.insert(), [_unsent_attempt(held, at)])
            finish(connection, [delivery_id], state=DeliveryState.FAILED, reason=DeliveryReason.MISCONFIGURED, at=at)


def free_leases(connection: sa.Connection, *, at: datetime) -> int:
    """Take every lease back: for a process that knows that nobody else is at work."""
    total = 0
    while count := _take_back(connection, IS_SENDING, at=at, limit=STEP):
        total += count
    return total


@conducts(Conduct(takes_turn=False, changes_nouns=False))
def reap_leases(connection: sa.Connection, *, lease_until: datetime, at: datetime, limit: int = STEP) -> int:
    """Take back leases that ended before a time, so many at most; answers with how many."""
    return _take_back(connection, IS_SENDING, deliveries.c.lease_until < lease_until, at=at, limit=limit)


def _take_back(connection: sa.Connection, *where: sa.ColumnElement[bool], at: datetime, limit: int) -> int:
    """Take leases back, recording each attempt's outcome as unknown. Who settles one at this moment keeps it."""
    statement = sa.select(deliveries).where(*where).limit(limit).with_for_update(skip_locked=True)
    lost = connection.execute(statement).all()
    if not lost:
        return 0
    connection.execute(attempts.insert(), [_unknown_attempt(row, at) for row in lost])
    poison = [row.id for row in lost if row.lost_lease_count + 1 >= MAX_LOST_LEASES]
    finish(connection, poison, state=DeliveryState.FAILED, reason=DeliveryReason.POISON, at=at)
    others = [row.id for row in lost if row.lost_lease_count + 1 < MAX_LOST_LEASES]
    for start in range(0, len(others), IDS_AT_ONCE):
        connection.execute(
            deliveries.update()
            .where(deliveries.c.id.in_(others[start : start + IDS_AT_ONCE]))
            .values(
                state=DeliveryState.PENDING,
                next_attempt_at=at,
                lease_token=None,
                lease_until=None,
                lost_lease_count=deliveries.c.lost_lease_count + 1,
            )
        )
    return len(lost)


def _unknown_attempt(row: "sa.Row[Any]", at: datetime) -> dict[str, Any]:
    return {
        "delivery_id": row.id,
        "number": row.attempt_count,
        "started_at": row.claimed_at,
        # A clock that was set in between knows no bounds; the column does.
        "duration_ms": min(max(0, (at - row.claimed_at) // timedelta(milliseconds=1)), MAX_DURATION_MS),
        "outcome": AttemptOutcome.UNKNOWN,
        "reason": Reason.LEASE_LOST,
        "error": "the worker stopped before it could tell how this attempt ended",
    }


def _unsent_attempt(row: "sa.Row[Any]", at: datetime) -> dict[str, Any]:
    return {
        "delivery_id": row.id,
        "number": row.attempt_count,
        "started_at": at,
        "duration_ms": 0,
        "outcome": AttemptOutcome.FAILED,
        "reason": Reason.MISCONFIGURED,
        "error": "nothing was sent: its event or its notifier cannot be read",
    }
