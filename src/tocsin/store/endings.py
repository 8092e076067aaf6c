"""How deliveries end without an attempt, cancelled or given up; and the move to the history, where nothing changes.

On PostgreSQL these verbs run beside the hot statements of many processes: a row is locked first and then moved, and
one that somebody else works on at this moment is left to them. What is left is found the next time.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from tocsin.errors import Conflict
from tocsin.model import DeliveryReason, DeliveryState, NotifierState
from tocsin.store.deliveries import IS_PENDING
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import deliveries, finished_deliveries, notifiers

STEP = 1000
"""Deliveries that one transaction ends at most, so that others need not wait long for it."""

IDS_AT_ONCE = 500
"""Ids in one statement."""

REMOVAL_TYPE = "delete_app"

IS_OFF = notifiers.c.state == NotifierState.OFF
IS_REMOVED = notifiers.c.removed_at.is_not(None)
# A removed app's notifiers stay active for the one event that tells of its removal.
IS_OF_REMOVED_APP = sa.and_(IS_REMOVED, sa.not_(IS_OFF))

_KEPT = (
    "id",
    "app_id",
    "event_id",
    "event_type",
    "notifier_id",
    "attempt_count",
    "created_at",
    "expires_at",
    "replay_of",
)


def finish(
    connection: sa.Connection, ids: Sequence[str], *, state: DeliveryState, reason: DeliveryReason, at: datetime
) -> None:
    """Move live deliveries, which the caller has locked, to the history."""
    history = finished_deliveries.c
    end = (
        sa.literal(state, history.state.type),
        sa.literal(reason, history.reason.type),
        sa.literal(at, history.finished_at.type),
    )
    columns = [*_KEPT, "state", "reason", "finished_at"]
    for start in range(0, len(ids), IDS_AT_ONCE):
        is_meant = deliveries.c.id.in_(ids[start : start + IDS_AT_ONCE])
        ended = sa.select(*(deliveries.c[name] for name in _KEPT), *end).where(is_meant)
        connection.execute(finished_deliveries.insert().from_select(columns, ended))
        connection.execute(deliveries.delete().where(is_meant))


def _lock_pending(connection: sa.Connection, *where: sa.ColumnElement[bool], limit: int) -> list[str]:
    statement = sa.select(deliveries.c.id).where(IS_PENDING, *where).limit(limit).with_for_update(skip_locked=True)
    return list(connection.execute(statement).scalars())


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def cancel(connection: sa.Connection, delivery_id: str, *, at: datetime) -> None:
    """End one delivery that waits, by its owner's wish. Raises Conflict when it does not, or not any more."""
    # Waits for whoever works on it at this moment, and then sees what they made of it.
    statement = sa.select(deliveries.c.state).where(deliveries.c.id == delivery_id).with_for_update()
    state = connection.execute(statement).scalar_one_or_none()
    if state is None:
        raise Conflict("this delivery is over: there is nothing to cancel")
    if state != DeliveryState.PENDING:
        raise Conflict("this delivery is being sent at this moment: try again when the attempt has ended")
    finish(connection, [delivery_id], state=DeliveryState.CANCELLED, reason=DeliveryReason.BY_USER, at=at)


def cancel_pending(connection: sa.Connection, notifier_id: str, *, reason: DeliveryReason, at: datetime) -> None:
    """End what waits for a notifier that is turned off or removed. Of very much, upkeep ends the rest."""
    ids = _lock_pending(connection, deliveries.c.notifier_id == notifier_id, limit=STEP)
    finish(connection, ids, state=DeliveryState.CANCELLED, reason=reason, at=at)


def cancel_pending_of_app(connection: sa.Connection, app_id: str, *, except_event_id: str, at: datetime) -> None:
    """The same for all notifiers of an app that is removed."""
    is_other = deliveries.c.event_id != except_event_id
    ids = _lock_pending(connection, deliveries.c.app_id == app_id, is_other, limit=STEP)
    finish(connection, ids, state=DeliveryState.CANCELLED, reason=DeliveryReason.APP_REMOVED, at=at)


def cancel_unwanted(connection: sa.Connection, *, at: datetime, limit: int = STEP) -> int:
    """End what still waits for notifiers that are off or removed, so many at most; answers with how many.

    It came back from an attempt that was under way, or it was too much to be ended at once.
    """
    cases = (
        (DeliveryReason.NOTIFIER_REMOVED, sa.and_(IS_OFF, IS_REMOVED), sa.true()),
        (DeliveryReason.NOTIFIER_OFF, sa.and_(IS_OFF, sa.not_(IS_REMOVED)), sa.true()),
        (DeliveryReason.APP_REMOVED, IS_OF_REMOVED_APP, deliveries.c.event_type != REMOVAL_TYPE),
    )
    count = 0
    for reason, whose, which in cases:
        unwanted = deliveries.c.notifier_id.in_(sa.select(notifiers.c.id).where(whose))
        ids = _lock_pending(connection, unwanted, which, limit=limit - count)
        finish(connection, ids, state=DeliveryState.CANCELLED, reason=reason, at=at)
        count += len(ids)
    return count


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def expire(connection: sa.Connection, *, at: datetime, limit: int = STEP) -> int:
    """Give up what was not delivered in time, so many at most; answers with how many."""
    ids = _lock_pending(connection, deliveries.c.expires_at <= at, limit=limit)
    finish(connection, ids, state=DeliveryState.FAILED, reason=DeliveryReason.EXPIRED, at=at)
    return len(ids)
