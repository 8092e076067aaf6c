"""What becomes of times in the database when the clock is set back."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from tocsin.model import NotifierState
from tocsin.store.deliveries import IS_PENDING, IS_SENDING
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import deliveries, notifiers

_MICROSECOND = timedelta(microseconds=1)


IS_OUR_WAIT = notifiers.c.state.in_((NotifierState.HOLDING, NotifierState.FAILING))
"""A notifier waits for so long. A pause ends at the time that its user gave, whatever the clock said then."""


@conducts(Conduct(takes_turn=True))
def set_back(connection: sa.Connection, *, now: datetime, by: timedelta, lease: timedelta) -> None:
    """Have what was due by the clock of before be due now, and what waits wait no longer than it was to.

    `now` is by the clock as it was set. No lease may last longer than one does. With several workers each does this:
    what another has done already moves at most once more, and never before `now`.
    """
    _bring_forward(connection, deliveries.c.next_attempt_at, IS_PENDING, now=now, by=by)
    _bring_forward(connection, notifiers.c.held_until, IS_OUR_WAIT, now=now, by=by)
    connection.execute(
        deliveries.update().where(IS_SENDING, deliveries.c.lease_until > now + lease).values(lease_until=now + lease),
    )


def _bring_forward(
    connection: sa.Connection,
    instant: "sa.Column[datetime]",
    where: "sa.ColumnElement[bool]",
    *,
    now: datetime,
    by: timedelta,
) -> None:
    update = instant.table.update().where(where)
    connection.execute(update.where(instant > now, instant <= now + by).values({instant: now}))
    connection.execute(update.where(instant > now + by).values({instant: _earlier(connection, instant, by)}))


def _earlier(connection: sa.Connection, instant: "sa.Column[datetime]", by: timedelta) -> "sa.ColumnElement[datetime]":
    if connection.dialect.name == "sqlite":
        micros = sa.type_coerce(instant, sa.BigInteger) - by // _MICROSECOND
        return sa.type_coerce(micros, instant.type)
    return sa.type_coerce(instant, sa.DateTime(timezone=True)) - sa.literal(by, sa.Interval)
