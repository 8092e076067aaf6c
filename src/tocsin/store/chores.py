"""What upkeep looks after, found cheaply: reads that say whether there is anything to write."""

from datetime import datetime

import msgspec
import sqlalchemy as sa

from tocsin.store.deliveries import IS_PENDING, IS_SENDING
from tocsin.store.endings import IS_OF_REMOVED_APP, IS_OFF, IS_REMOVED, REMOVAL_TYPE
from tocsin.store.lives import HAS_END, HOLDS, IS_FAILING, find_next_end
from tocsin.store.schema import deliveries, fanouts, notifiers


class Chores(msgspec.Struct, frozen=True, kw_only=True):
    """Which kinds of upkeep have something to do, and when the next notifier's pause, hold or stop is over."""

    has_fanouts: bool
    has_lost_leases: bool
    has_expired: bool
    has_unwanted: bool
    has_holds_over: bool
    has_probes: bool
    next_end: datetime | None


def find_chores(connection: sa.Connection, now: datetime) -> Chores:
    is_left_over = sa.exists().where(
        deliveries.c.notifier_id == notifiers.c.id,
        IS_PENDING,
        sa.or_(IS_OFF, sa.and_(IS_OF_REMOVED_APP, deliveries.c.event_type != REMOVAL_TYPE)),
    )
    row = connection.execute(
        sa.select(
            sa.exists().where(fanouts.c.event_id.is_not(None)),
            sa.exists().where(IS_SENDING, deliveries.c.lease_until < now),
            sa.exists().where(IS_PENDING, deliveries.c.expires_at <= now),
            sa.exists().where(sa.or_(IS_OFF, IS_REMOVED), is_left_over),
            sa.exists().where(
                notifiers.c.state.in_(HOLDS), HAS_END, notifiers.c.held_until <= now, sa.not_(IS_REMOVED)
            ),
            sa.exists().where(IS_FAILING, HAS_END, notifiers.c.held_until <= now, sa.not_(IS_REMOVED)),
        )
    ).one()
    names = Chores.__struct_fields__[:-1]
    return Chores(**dict(zip(names, map(bool, row), strict=True)), next_end=find_next_end(connection, now))
