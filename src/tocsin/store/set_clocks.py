"""What becomes of times in the database when the clock is set back."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from tocsin.store.deliveries import IS_PENDING, IS_SENDING
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import deliveries

_MICROSECOND = timedelta(microseconds=1)


@conducts(Conduct(takes_turn=True, changes_nouns=False))
def set_back(connection: sa.Connection, *, now: datetime, by: timedelta, lease: timedelta) -> None:
    """Have what was due by the clock of before be due now, and what waits wait no longer than it was to.

    `now` is by the clock as it was set. No lease may last longer than one does. With several workers each does this:
    what another has done already moves at most once more, and never before `now`.
    """
    due = deliveries.c.next_attempt_at
    connection.execute(
        deliveries.update().where(IS_PENDING, due > now, due <= now + by).values(next_attempt_at=now),
    )
    connection.execute(
        deliveries.update().where(IS_PENDING, due > now + by).values(next_attempt_at=_earlier(connection, due, by)),
    )
    connection.execute(
        deliveries.update().where(IS_SENDING, deliveries.c.lease_until > now + lease).values(lease_until=now + lease),
    )


def _earlier(connection: sa.Connection, instant: "sa.Column[datetime]", by: timedelta) -> "sa.ColumnElement[datetime]":
    if connection.dialect.name == "sqlite":
        micros = sa.type_coerce(instant, sa.BigInteger) - by // _MICROSECOND
        return sa.type_coerce(micros, instant.type)
    return sa.type_coerce(instant, sa.DateTime(timezone=True)) - sa.literal(by, sa.Interval)
