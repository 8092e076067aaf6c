"""Deliveries and their attempts: what is listed, cancelled, replayed, taken back and pruned."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.ids import first_hex_id, first_uuid7, new_uuid7
from tocsin.model import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryReason,
    DeliveryState,
    NotifierState,
    Reason,
)
from tocsin.store.schema import attempts, deliveries, events, fanouts, idempotency_keys, notifiers

MAX_LOST_LEASES = 5
"""A delivery whose attempt never ended this many times in a row is taken to end its worker: it is poison."""

SUSPECT_LOST_LEASES = 2
"""From so many on, only one such delivery is leased at a time. A process that is killed loses many leases at once;
this way only what ends it by itself comes to MAX_LOST_LEASES."""

MAX_COUNT = 10_000
"""`total_count` of a list of deliveries stops here; who looks for older ones filters."""

# Written out, for a partial index serves only a query that states its condition.
IS_PENDING = deliveries.c.state == sa.literal_column("'pending'")
IS_SENDING = deliveries.c.state == sa.literal_column("'sending'")

REMOVAL_TYPE = "delete_app"

UNDELIVERED = (DeliveryState.FAILED, DeliveryState.CANCELLED)


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    notifier_id: str | None = None
    event_id: str | None = None
    state: DeliveryState | None = None


def list_deliveries(
    connection: sa.Connection, app_id: str, only: DeliveryFilter, *, limit: int, offset: int
) -> tuple[list[Delivery], int]:
    """A page of an app's deliveries, newest first, and their number as far as MAX_COUNT."""
    where = [deliveries.c.app_id == app_id]
    if only.notifier_id is not None:
        where.append(deliveries.c.notifier_id == only.notifier_id)
    if only.event_id is not None:
        where.append(deliveries.c.id.in_(_ids_of_event(only.event_id)))
    if only.state is not None:
        where.append(deliveries.c.state == only.state)
    some = sa.select(deliveries.c.id).where(*where).limit(MAX_COUNT).subquery()
    total = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    page = _named().where(*where).order_by(deliveries.c.id.desc()).limit(limit).offset(offset)
    return [to_delivery(row) for row in connection.execute(page)], total


def find_delivery(connection: sa.Connection, app_id: str, delivery_id: str) -> Delivery | None:
    statement = _named().where(deliveries.c.app_id == app_id, deliveries.c.id == delivery_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else to_delivery(row)


def list_attempts(connection: sa.Connection, delivery_id: str) -> list[Attempt]:
    statement = sa.select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number)
    return [_to_attempt(row) for row in connection.execute(statement)]


def of_event(event_id: "str | sa.ColumnElement[str]") -> sa.ColumnElement[bool]:
    """The deliveries of an event, first ones and replays, told apart so that an index serves each."""
    is_of_event = deliveries.c.event_id == event_id
    return sa.or_(
        sa.and_(is_of_event, deliveries.c.replay_of.is_(None)),
        sa.and_(is_of_event, deliveries.c.replay_of.is_not(None)),
    )


def _ids_of_event(event_id: str) -> "sa.CompoundSelect[tuple[str]]":
    """For a list that filters by more: beside an OR, SQLite would rather walk all deliveries of the app."""
    ids = sa.select(deliveries.c.id).where(deliveries.c.event_id == event_id)
    return sa.union_all(ids.where(deliveries.c.replay_of.is_(None)), ids.where(deliveries.c.replay_of.is_not(None)))


def _named() -> "sa.Select[Any]":
    return sa.select(
        deliveries,
        notifiers.c.name.label("notifier_name"),
        notifiers.c.platform,
        notifiers.c.state.label("notifier_state"),
    ).join_from(deliveries, notifiers, notifiers.c.id == deliveries.c.notifier_id)


def to_delivery(row: "sa.Row[Any]") -> Delivery:
    values = {name: getattr(row, name) for name in Delivery.__struct_fields__}
    values["state"] = DeliveryState(row.state)
    is_held = row.state == DeliveryState.PENDING and row.notifier_state != NotifierState.ACTIVE
    reason = DeliveryReason.HELD if is_held else row.reason
    return Delivery(**values | {"reason": None if reason is None else DeliveryReason(reason)})


def _to_attempt(row: "sa.Row[Any]") -> Attempt:
    values = {name: getattr(row, name) for name in Attempt.__struct_fields__}
    values["outcome"] = AttemptOutcome(row.outcome)
    return Attempt(**values | {"reason": None if row.reason is None else Reason(row.reason)})


def replay(connection: sa.Connection, delivery: Delivery, *, at: datetime, expires_at: datetime) -> str:
    """Make a new delivery of the same event to the same notifier; answers with its id."""
    row = _replay_row(delivery, at, expires_at)
    connection.execute(deliveries.insert().values(**row))
    return str(row["id"])


def count_recoverable(connection: sa.Connection, notifier_id: str, *, since: datetime, until: datetime | None) -> int:
    """What a notifier did not get: the events received in that time whose last delivery to it ended undelivered."""
    where = _missed(notifier_id, since=since, until=until)
    return connection.execute(sa.select(sa.func.count()).select_from(deliveries).where(*where)).scalar_one()


def _missed(notifier_id: str, *, since: datetime, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    later = deliveries.alias("later")
    has_later = sa.exists().where(
        later.c.replay_of.is_not(None),
        later.c.event_id == deliveries.c.event_id,
        later.c.notifier_id == deliveries.c.notifier_id,
        later.c.id > deliveries.c.id,
    )
    where = [
        deliveries.c.notifier_id == notifier_id,
        deliveries.c.state.in_(UNDELIVERED),
        deliveries.c.event_id >= first_hex_id(since),
        sa.not_(has_later),
    ]
    if until is not None:
        where.append(deliveries.c.event_id < first_hex_id(until))
    return where


def recover(
    connection: sa.Connection,
    notifier_id: str,
    *,
    since: datetime,
    until: datetime | None,
    before_id: str,
    limit: int,
    at: datetime,
    expires_at: datetime,
) -> int:
    """Replay up to `limit` of what a notifier did not get, of deliveries made before that id; answers with how many."""
    where = [*_missed(notifier_id, since=since, until=until), deliveries.c.id < before_id]
    missed = connection.execute(sa.select(deliveries).where(*where).order_by(deliveries.c.event_id).limit(limit)).all()
    if missed:
        connection.execute(deliveries.insert(), [_replay_row(row, at, expires_at) for row in missed])
    return len(missed)


def _replay_row(row: "Delivery | sa.Row[Any]", at: datetime, expires_at: datetime) -> dict[str, Any]:
    return new_delivery(
        app_id=row.app_id,
        event_id=row.event_id,
        event_type=row.event_type,
        notifier_id=row.notifier_id,
        at=at,
        expires_at=expires_at,
        replay_of=row.id,
    )


def new_delivery(
    *,
    app_id: str | None,
    event_id: str,
    event_type: str,
    notifier_id: str,
    at: datetime,
    expires_at: datetime,
    replay_of: str | None = None,
) -> dict[str, Any]:
    """The row of a pending delivery that is due at once."""
    return {
        "id": new_uuid7("de"),
        "app_id": app_id,
        "event_id": event_id,
        "event_type": event_type,
        "notifier_id": notifier_id,
        "state": DeliveryState.PENDING,
        "attempt_count": 0,
        "next_attempt_at": at,
        "created_at": at,
        "expires_at": expires_at,
        "replay_of": replay_of,
    }


def cancel_pending(
    connection: sa.Connection,
    notifier_id: str,
    *,
    reason: DeliveryReason,
    at: datetime,
    except_event_id: str | None = None,
) -> None:
    """End what waits for a notifier."""
    where = [deliveries.c.notifier_id == notifier_id, IS_PENDING]
    if except_event_id is not None:
        where.append(deliveries.c.event_id != except_event_id)
    connection.execute(deliveries.update().where(*where).values(**_ended(DeliveryState.CANCELLED, reason, at)))


IS_OFF = notifiers.c.state == NotifierState.OFF
IS_REMOVED = notifiers.c.removed_at.is_not(None)
# A removed app's notifiers stay active for the one event that tells of its removal.
IS_OF_REMOVED_APP = sa.and_(IS_REMOVED, sa.not_(IS_OFF))


def cancel_unwanted(connection: sa.Connection, *, at: datetime) -> int:
    """End what came back to a notifier that was turned off or removed while an attempt was under way."""
    cases = (
        (DeliveryReason.NOTIFIER_REMOVED, sa.and_(IS_OFF, IS_REMOVED), sa.true()),
        (DeliveryReason.NOTIFIER_OFF, sa.and_(IS_OFF, sa.not_(IS_REMOVED)), sa.true()),
        (DeliveryReason.APP_REMOVED, IS_OF_REMOVED_APP, deliveries.c.event_type != REMOVAL_TYPE),
    )
    count = 0
    for reason, whose, which in cases:
        unwanted = sa.select(notifiers.c.id).where(whose)
        statement = deliveries.update().where(IS_PENDING, deliveries.c.notifier_id.in_(unwanted), which)
        count += connection.execute(statement.values(**_ended(DeliveryState.CANCELLED, reason, at))).rowcount
    return count


def expire(connection: sa.Connection, *, at: datetime) -> int:
    """Give up what was not delivered in time."""
    statement = deliveries.update().where(IS_PENDING, deliveries.c.expires_at <= at)
    return connection.execute(statement.values(**_ended(DeliveryState.FAILED, DeliveryReason.EXPIRED, at))).rowcount


def _ended(state: DeliveryState, reason: DeliveryReason, at: datetime) -> dict[str, Any]:
    return {"state": state, "reason": reason, "next_attempt_at": None, "finished_at": at}


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


def free_leases(connection: sa.Connection, *, at: datetime) -> int:
    """Take every lease back: for a process that knows that nobody else is at work."""
    return reap_leases(connection, lease_until=None, at=at)


def reap_leases(connection: sa.Connection, *, lease_until: datetime | None, at: datetime) -> int:
    """Take back the leases that ended before a time (None: all), recording each attempt's outcome as unknown."""
    where = [IS_SENDING]
    if lease_until is not None:
        where.append(deliveries.c.lease_until < lease_until)
    count = 0
    while lost := connection.execute(sa.select(deliveries).where(*where).limit(5000)).all():
        count += len(lost)
        connection.execute(attempts.insert(), [_unknown_attempt(row, at) for row in lost])
        for row in lost:
            connection.execute(
                deliveries.update()
                .where(deliveries.c.id == row.id, deliveries.c.lease_token == row.lease_token)
                .values(**_taken_back(row, at))
            )
    return count


def _unknown_attempt(row: "sa.Row[Any]", at: datetime) -> dict[str, Any]:
    return {
        "delivery_id": row.id,
        "number": row.attempt_count,
        "started_at": row.claimed_at,
        "duration_ms": max(0, (at - row.claimed_at) // timedelta(milliseconds=1)),
        "outcome": AttemptOutcome.UNKNOWN,
        "reason": Reason.LEASE_LOST,
        "error": "the worker stopped before it could tell how this attempt ended",
    }


def _taken_back(row: "sa.Row[Any]", at: datetime) -> dict[str, Any]:
    lost_count = row.lost_lease_count + 1
    lease = {"lease_token": None, "lease_until": None, "lost_lease_count": lost_count}
    if lost_count >= MAX_LOST_LEASES:
        return lease | _ended(DeliveryState.FAILED, DeliveryReason.POISON, at)
    return lease | {"state": DeliveryState.PENDING, "next_attempt_at": at}


def find_fanout(connection: sa.Connection) -> "sa.Row[Any] | None":
    """The oldest recorded duty to make deliveries, with the event's columns that they need."""
    statement = (
        sa.select(fanouts, events.c.type.label("event_type"), events.c.received_at)
        .join(events, events.c.id == fanouts.c.event_id)
        .order_by(fanouts.c.event_id)
        .limit(1)
    )
    return connection.execute(statement).one_or_none()


def add_fanned_out(
    connection: sa.Connection, event_id: str, rows: list[dict[str, Any]], *, done_count: int, is_last: bool
) -> None:
    """Make some of an event's deliveries and note how far the duty is done, both or none."""
    made = connection.execute(
        sa.select(deliveries.c.notifier_id).where(deliveries.c.event_id == event_id, deliveries.c.replay_of.is_(None))
    ).scalars()
    known = set(made)
    missing = [row for row in rows if row["notifier_id"] not in known]
    if missing:
        connection.execute(deliveries.insert(), missing)
    if is_last:
        connection.execute(fanouts.delete().where(fanouts.c.event_id == event_id))
    else:
        connection.execute(fanouts.update().where(fanouts.c.event_id == event_id).values(done_count=done_count))


def prune(connection: sa.Connection, *, finished_before: datetime, keys_before: datetime, limit: int) -> int:
    """Remove old finished deliveries with their attempts, old events without any, and old keys: `limit` of each."""
    old = connection.execute(
        sa.select(deliveries.c.id)
        .where(deliveries.c.id < first_uuid7("de", finished_before), deliveries.c.finished_at < finished_before)
        .limit(limit)
    ).scalars()
    ids = list(old)
    for some in (ids[start : start + 500] for start in range(0, len(ids), 500)):
        connection.execute(attempts.delete().where(attempts.c.delivery_id.in_(some)))
        connection.execute(deliveries.delete().where(deliveries.c.id.in_(some)))
    has_deliveries = sa.exists().where(of_event(events.c.id))
    is_due = sa.exists().where(fanouts.c.event_id == events.c.id)
    silent = (
        sa.select(events.c.id)
        .where(events.c.id < first_hex_id(finished_before), sa.not_(has_deliveries), sa.not_(is_due))
        .limit(limit)
    )
    pruned = connection.execute(events.delete().where(events.c.id.in_(silent))).rowcount
    key = sa.tuple_(idempotency_keys.c.app_id, idempotency_keys.c.key)
    stale = sa.select(idempotency_keys.c.app_id, idempotency_keys.c.key)
    stale = stale.where(idempotency_keys.c.created_at < keys_before).limit(limit)
    forgotten = connection.execute(idempotency_keys.delete().where(key.in_(stale))).rowcount
    return len(ids) + pruned + forgotten
