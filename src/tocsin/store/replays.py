"""Sending again: one delivery, or all that a notifier did not get. Each replay is a delivery of its own."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.errors import Conflict
from tocsin.ids import first_hex_id
from tocsin.model import Delivery
from tocsin.store.deliveries import new_delivery
from tocsin.store.schema import deliveries, events, finished_deliveries


def replay(connection: sa.Connection, delivery: Delivery, *, at: datetime, expires_at: datetime) -> str:
    """Make a new delivery of the same event to the same notifier; answers with its id.

    Raises Conflict when retention has removed the event.
    """
    if connection.execute(sa.select(events.c.id).where(events.c.id == delivery.event_id)).first() is None:
        raise Conflict("the event of this delivery is gone: it is older than what is kept")
    row = _replay_row(delivery, at, expires_at)
    connection.execute(deliveries.insert().values(**row))
    return str(row["id"])


def count_recoverable(connection: sa.Connection, notifier_id: str, *, since: datetime, until: datetime | None) -> int:
    """What a notifier did not get: the events received in that time whose last delivery to it ended undelivered."""
    where = _missed(notifier_id, since=since, until=until)
    return connection.execute(sa.select(sa.func.count()).select_from(finished_deliveries).where(*where)).scalar_one()


def _missed(notifier_id: str, *, since: datetime, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    missed = finished_deliveries
    where = [
        missed.c.notifier_id == notifier_id,
        # Written out for the partial index.
        missed.c.state != sa.literal_column("'delivered'"),
        missed.c.event_id >= first_hex_id(since),
        sa.not_(_has_later(deliveries.alias("live"))),
        sa.not_(_has_later(finished_deliveries.alias("later"))),
        sa.exists().where(events.c.id == missed.c.event_id),
    ]
    if until is not None:
        where.append(missed.c.event_id < first_hex_id(until))
    return where


def _has_later(later: sa.FromClause) -> sa.Exists:
    """Whether the event was sent again to the same notifier; only a replay can be later."""
    return sa.exists().where(
        later.c.replay_of.is_not(None),
        later.c.event_id == finished_deliveries.c.event_id,
        later.c.notifier_id == finished_deliveries.c.notifier_id,
        later.c.id > finished_deliveries.c.id,
    )


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
    missed = finished_deliveries
    where = [*_missed(notifier_id, since=since, until=until), missed.c.id < before_id]
    found = connection.execute(sa.select(missed).where(*where).order_by(missed.c.event_id).limit(limit)).all()
    if found:
        connection.execute(deliveries.insert(), [_replay_row(row, at, expires_at) for row in found])
    return len(found)


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
