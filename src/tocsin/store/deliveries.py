"""Deliveries and their attempts: how they are looked at, those under way and those in the history as one list."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.ids import new_uuid7
from tocsin.model import Attempt, AttemptOutcome, Delivery, DeliveryReason, DeliveryState, NotifierState, Reason
from tocsin.store.pages import MAX_COUNT, read_page
from tocsin.store.schema import attempts, deliveries, finished_deliveries, notifiers

# Written out, for a partial index serves only a query that states its condition.
IS_PENDING = deliveries.c.state == sa.literal_column("'pending'")
IS_SENDING = deliveries.c.state == sa.literal_column("'sending'")

LIVE = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
UNDELIVERED = frozenset({DeliveryState.FAILED, DeliveryState.CANCELLED})

LOOKED_AT = 50
"""So many that did not arrive are looked at of each notifier for those that failed."""

Ids = sa.Select[tuple[str]]


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are listed; `before` is an id, and only smaller ones are meant."""

    notifier_id: str | None = None
    event_id: str | None = None
    state: DeliveryState | None = None
    before: str | None = None


def list_deliveries(
    connection: sa.Connection, app_id: str, only: DeliveryFilter, *, limit: int, offset: int
) -> tuple[list[Delivery], int]:
    """A page of an app's deliveries, newest first, and their number as far as it is counted."""
    parts: list[Ids] = []
    if only.state is None or only.state in LIVE:
        parts += _live_of_event(app_id, only) if only.event_id is not None else _live(app_id, only)
    if only.state is None or only.state not in LIVE:
        parts.append(_finished(connection, app_id, only))
    ids, total = read_page(connection, parts, limit=limit, offset=offset)
    found = find_deliveries(connection, ids)
    return [found[delivery_id] for delivery_id in ids], total


def _live(app_id: str, only: DeliveryFilter) -> list[Ids]:
    parts = []
    if only.state is not DeliveryState.SENDING:
        parts.append(_ids(deliveries, app_id, only).where(IS_PENDING))
    if only.state is not DeliveryState.PENDING:
        # Few at any time: taken from their index whole, or all that waits might be walked for the order's sake.
        leased = sa.select(deliveries).where(IS_SENDING).cte("leased").prefix_with("MATERIALIZED")
        parts.append(_ids(leased, app_id, only))
    return parts


def _live_of_event(app_id: str, only: DeliveryFilter) -> list[Ids]:
    """First deliveries and replays apart, so that an index serves each."""
    ids = _ids(deliveries, app_id, only)
    if only.state is not None:
        ids = ids.where(deliveries.c.state == only.state)
    return [ids.where(deliveries.c.replay_of.is_(None)), ids.where(deliveries.c.replay_of.is_not(None))]


def _finished(connection: sa.Connection, app_id: str, only: DeliveryFilter) -> Ids:
    ids = _ids(finished_deliveries, app_id, only)
    if only.state is None:
        return ids
    if only.state in UNDELIVERED and only.event_id is None:
        # As a rule they are few, and would be looked for among all that arrived. Where they are many, a walk from the
        # newest on meets them soon.
        few = _undelivered(app_id, only).limit(MAX_COUNT).cte("few").prefix_with("MATERIALIZED")
        if connection.execute(sa.select(sa.func.count()).select_from(few)).scalar_one() < MAX_COUNT:
            return sa.select(few.c.id)
    return ids.where(finished_deliveries.c.state == only.state)


def _undelivered(app_id: str, only: DeliveryFilter) -> Ids:
    finished = finished_deliveries.c
    ids = _ids(finished_deliveries, app_id, only, is_narrowed=True)
    if only.notifier_id is None:
        ids = ids.where(finished.notifier_id.in_(sa.select(notifiers.c.id).where(notifiers.c.app_id == app_id)))
    # Written out for the partial index.
    return ids.where(finished.state == only.state, finished.state != sa.literal_column("'delivered'"))


def _ids(table: sa.FromClause, app_id: str, only: DeliveryFilter, *, is_narrowed: bool = False) -> Ids:
    is_narrowed |= only.notifier_id is not None or only.event_id is not None
    # Where something narrower is asked for, an empty text hides the app from the planner, which knows no numbers and
    # might rather walk all deliveries of the app.
    ids = sa.select(table.c.id).where((table.c.app_id.concat("") if is_narrowed else table.c.app_id) == app_id)
    if only.event_id is not None:
        ids = ids.where(table.c.event_id == only.event_id)
    if only.notifier_id is not None:
        ids = ids.where(table.c.notifier_id == only.notifier_id)
    return ids if only.before is None else ids.where(table.c.id < only.before)


def find_newest(connection: sa.Connection, event_id: str, notifier_ids: Collection[str]) -> dict[str, Delivery]:
    """The newest delivery of an event to each of these notifiers that has one, by notifier."""
    newest: dict[str, str] = {}
    # First deliveries and replays apart, so that an index serves each.
    for table, where in (
        (finished_deliveries, sa.true()),
        (deliveries, deliveries.c.replay_of.is_(None)),
        (deliveries, deliveries.c.replay_of.is_not(None)),
    ):
        found = sa.select(table.c.notifier_id, sa.func.max(table.c.id).label("id")).where(
            table.c.event_id == event_id, table.c.notifier_id.in_(notifier_ids), where
        )
        for row in connection.execute(found.group_by(table.c.notifier_id)):
            newest[row.notifier_id] = max(row.id, newest.get(row.notifier_id, ""))
    return {delivery.notifier_id: delivery for delivery in find_deliveries(connection, list(newest.values())).values()}


def find_last_finished(connection: sa.Connection, app_id: str) -> dict[str, Delivery]:
    """The newest delivery that is over of each notifier of an app that has one, by notifier."""
    newest = sa.select(sa.func.max(finished_deliveries.c.id)).where(finished_deliveries.c.notifier_id == notifiers.c.id)
    each = sa.select(newest.scalar_subquery()).where(notifiers.c.app_id == app_id, notifiers.c.removed_at.is_(None))
    ids = [found for found in connection.execute(each).scalars() if found is not None]
    return {delivery.notifier_id: delivery for delivery in find_deliveries(connection, ids).values()}


def find_last_failed(connection: sa.Connection, notifier_ids: Collection[str], *, limit: int) -> list[Delivery]:
    """Deliveries that failed, the newest first, of what did not arrive of each notifier's newest events."""
    finished = finished_deliveries.c
    ids: list[str] = []
    for notifier_id in notifier_ids:
        newest = (
            sa.select(finished.id, finished.state)
            # Written out for the partial index.
            .where(finished.notifier_id == notifier_id, finished.state != sa.literal_column("'delivered'"))
            .order_by(finished.event_id.desc())
            .limit(LOOKED_AT)
            .subquery()
        )
        failed = sa.select(newest.c.id).where(newest.c.state == DeliveryState.FAILED)
        ids += connection.execute(failed.order_by(newest.c.id.desc()).limit(limit)).scalars()
    newest_ids = sorted(ids, reverse=True)[:limit]
    found = find_deliveries(connection, newest_ids)
    return [found[delivery_id] for delivery_id in newest_ids]


def find_delivery(connection: sa.Connection, app_id: str, delivery_id: str) -> Delivery | None:
    delivery = find_deliveries(connection, [delivery_id]).get(delivery_id)
    return delivery if delivery is not None and delivery.app_id == app_id else None


def list_attempts(connection: sa.Connection, delivery_id: str) -> list[Attempt]:
    statement = sa.select(attempts).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number)
    return [_to_attempt(row) for row in connection.execute(statement)]


def find_deliveries(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Delivery]:
    """Deliveries by id, wherever they are."""
    found: dict[str, Delivery] = {}
    for table in (deliveries, finished_deliveries):
        left = [delivery_id for delivery_id in ids if delivery_id not in found]
        if left:
            found.update({row.id: _to_delivery(row) for row in connection.execute(_named(table, left))})
    return found


def _named(table: sa.Table, ids: Sequence[str]) -> "sa.Select[Any]":
    return (
        sa.select(
            table,
            notifiers.c.name.label("notifier_name"),
            notifiers.c.platform,
            notifiers.c.state.label("notifier_state"),
        )
        .join_from(table, notifiers, notifiers.c.id == table.c.notifier_id)
        .where(table.c.id.in_(ids))
    )


def _to_delivery(row: "sa.Row[Any]") -> Delivery:
    # What is under way has no reason and no end, what is over no next attempt: those columns are not there.
    values = {name: getattr(row, name) for name in Delivery.__struct_fields__ if name in row._fields}
    values["state"] = DeliveryState(row.state)
    if row.state == DeliveryState.PENDING and row.notifier_state != NotifierState.ACTIVE:
        values["reason"] = DeliveryReason.HELD
    elif values.get("reason") is not None:
        values["reason"] = DeliveryReason(values["reason"])
    return Delivery(**values)


def _to_attempt(row: "sa.Row[Any]") -> Attempt:
    values = {name: getattr(row, name) for name in Attempt.__struct_fields__}
    values["outcome"] = AttemptOutcome(row.outcome)
    return Attempt(**values | {"reason": None if row.reason is None else Reason(row.reason)})


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
