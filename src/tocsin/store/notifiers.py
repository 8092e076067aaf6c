"""Notifiers of an app, and what routing needs to know of them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.errors import Conflict
from tocsin.model import Alert, DeliveryReason, Notifier, NotifierState
from tocsin.store import endings
from tocsin.store.port import AppRoutes
from tocsin.store.reading import read_each
from tocsin.store.schema import alerts, notifiers
from tocsin.store.sealed import opened, seal


class Changed(Conflict):
    """Someone else changed this at the same moment; try again."""


_IS_SENDABLE = (notifiers.c.active, notifiers.c.state == NotifierState.ACTIVE)


def get_routes(connection: sa.Connection, app_id: str) -> AppRoutes:
    """Every notifier and alert rule of an app that can be read, oldest first."""
    rules = sa.select(alerts).where(alerts.c.app_id == app_id).order_by(alerts.c.id)
    read = read_each(connection, rules, alerts.c.id, to_alert)
    return AppRoutes(
        notifiers=tuple(list_notifiers(connection, app_id)), alerts=tuple(alert for alert in read.values() if alert)
    )


def list_notifiers(connection: sa.Connection, app_id: str) -> list[Notifier]:
    """The notifiers of an app that can be read, oldest first."""
    statement = _present().where(notifiers.c.app_id == app_id).order_by(notifiers.c.id)
    return [notifier for notifier in _read(connection, statement).values() if notifier]


def count_states(connection: sa.Connection, app_ids: Collection[str]) -> dict[str, dict[NotifierState, int]]:
    """How many notifiers of each of these apps are in which state."""
    count = sa.func.count().label("number")
    is_shown = (notifiers.c.removed_at.is_(None), sa.not_(notifiers.c.is_fallback))
    statement = sa.select(notifiers.c.app_id, notifiers.c.state, count).where(
        notifiers.c.app_id.in_(app_ids), *is_shown
    )
    counts: dict[str, dict[NotifierState, int]] = {app_id: {} for app_id in app_ids}
    for row in connection.execute(statement.group_by(notifiers.c.app_id, notifiers.c.state)):
        counts[row.app_id][NotifierState(row.state)] = row.number
    return counts


def find_notifier(connection: sa.Connection, app_id: str, notifier_id: str) -> Notifier | None:
    """None also for one that is damaged."""
    one = _present().where(notifiers.c.app_id == app_id, notifiers.c.id == notifier_id)
    return read_each(connection, one, notifiers.c.id, partial(to_notifier, connection)).get(notifier_id)


def find_sendables(connection: sa.Connection, notifier_ids: Sequence[str]) -> dict[str, Notifier | None]:
    """Those of these notifiers whose deliveries may be sent now, by id: active, and neither paused nor disabled.

    None stands for one whose row cannot be read: nothing can ever be sent to it.
    """
    found: dict[str, Notifier | None] = {}
    for start in range(0, len(notifier_ids), 500):
        some = notifier_ids[start : start + 500]
        statement = sa.select(notifiers).where(notifiers.c.id.in_(some), *_IS_SENDABLE)
        found |= _read(connection, statement)
    return found


def add_notifier(connection: sa.Connection, notifier: Notifier) -> None:
    connection.execute(notifiers.insert().values(**_values(connection, notifier)))


def edit_notifier(connection: sa.Connection, notifier: Notifier) -> None:
    """Store a changed notifier. One that is off gets no more of what waits for it."""
    connection.execute(notifiers.update().where(notifiers.c.id == notifier.id).values(**_values(connection, notifier)))
    if notifier.state is NotifierState.OFF:
        endings.cancel_pending(connection, notifier.id, reason=DeliveryReason.NOTIFIER_OFF, at=notifier.updated_at)


def change_notifier(connection: sa.Connection, before: Notifier, after: Notifier) -> Notifier:
    """Store a changed notifier, if it is still as it was found. Raises Changed when it is not."""
    is_there = (notifiers.c.id == before.id, notifiers.c.removed_at.is_(None))
    row = connection.execute(sa.select(notifiers).where(*is_there).with_for_update()).one_or_none()
    if row is None or to_notifier(connection, row) != before:
        raise Changed
    edit_notifier(connection, after)
    return after


def remove_notifier(connection: sa.Connection, notifier_id: str, *, at: datetime) -> None:
    """Take a notifier away. Its row stays for the delivery log; what waited for it is cancelled."""
    connection.execute(
        notifiers.update()
        .where(notifiers.c.id == notifier_id)
        .values(removed_at=at, updated_at=at, active=False, state=NotifierState.OFF)
    )
    endings.cancel_pending(connection, notifier_id, reason=DeliveryReason.NOTIFIER_REMOVED, at=at)


def remove_all_notifiers(connection: sa.Connection, app_id: str, *, last_event_id: str, at: datetime) -> None:
    """Take away the notifiers of an app that is removed. Only the event that tells of it is still delivered."""
    endings.cancel_pending_of_app(connection, app_id, except_event_id=last_event_id, at=at)
    # They stay active for that last delivery: routing finds none of them, for their app is gone.
    connection.execute(
        notifiers.update().where(notifiers.c.app_id == app_id, notifiers.c.removed_at.is_(None)).values(removed_at=at)
    )


def list_holds_over(connection: sa.Connection, at: datetime) -> list[Notifier]:
    """Paused and holding notifiers whose time to go on has come."""
    statement = sa.select(notifiers).where(
        notifiers.c.state.in_([NotifierState.PAUSED, NotifierState.HOLDING]),
        notifiers.c.held_until.is_not(None),
        notifiers.c.held_until <= at,
        notifiers.c.removed_at.is_(None),
    )
    return [notifier for notifier in _read(connection, statement).values() if notifier]


def _present() -> "sa.Select[Any]":
    return sa.select(notifiers).where(notifiers.c.removed_at.is_(None), sa.not_(notifiers.c.is_fallback))


def _read(connection: sa.Connection, statement: "sa.Select[Any]") -> dict[str, Notifier | None]:
    return read_each(connection, statement, notifiers.c.id, partial(to_notifier, connection))


def _values(connection: sa.Connection, notifier: Notifier) -> dict[str, Any]:
    values = {name: getattr(notifier, name) for name in notifier.__struct_fields__}
    schedule = notifier.retry_schedule
    lists = {
        "selected_event_ids": list(notifier.selected_event_ids),
        "retry_schedule": None if schedule is None else list(schedule),
    }
    sealed = {
        column.name: seal(connection, column, notifier.id, values[column.name])
        for column in (notifiers.c.type_data, notifiers.c.secret, notifiers.c.previous_secret)
    }
    return values | lists | sealed


def to_notifier(connection: sa.Connection, row: "sa.Row[Any]") -> Notifier:
    """Raises ValueError or TypeError for a row that cannot be opened, or whose values are not of their kinds."""
    values = opened(connection, notifiers, row)
    return msgspec.convert({name: values[name] for name in Notifier.__struct_fields__}, Notifier)


def to_alert(row: "sa.Row[Any]") -> Alert:
    return msgspec.convert({name: getattr(row, name) for name in Alert.__struct_fields__}, Alert)


def list_lifetimes_of(connection: sa.Connection, notifier_ids: Sequence[str]) -> dict[str, tuple[str, int | None]]:
    """Platform and own lifetime of each of these notifiers that is still there, or gone with its app.

    One that went with its app is still to be told of that.
    """
    is_removed_alone = sa.and_(endings.IS_REMOVED, endings.IS_OFF)
    statement = sa.select(notifiers.c.id, notifiers.c.platform, notifiers.c.expires_after).where(
        notifiers.c.id.in_(notifier_ids), sa.not_(is_removed_alone)
    )
    return {row.id: (row.platform, row.expires_after) for row in connection.execute(statement)}
