"""The recorded duty to make an event's deliveries for many notifiers, worked off in steps."""

from typing import Any

import sqlalchemy as sa

from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import deliveries, events, fanouts


def find_fanout(connection: sa.Connection) -> "sa.Row[Any] | None":
    """The oldest recorded duty to make deliveries, with the event's columns that they need."""
    statement = (
        sa.select(fanouts, events.c.type.label("event_type"), events.c.received_at)
        .join(events, events.c.id == fanouts.c.event_id)
        .order_by(fanouts.c.event_id)
        .limit(1)
    )
    return connection.execute(statement).one_or_none()


def list_owed(connection: sa.Connection, event_id: str) -> frozenset[str]:
    """The notifiers that an event's deliveries are still to be made for."""
    statement = sa.select(fanouts.c.notifier_ids, fanouts.c.done_count).where(fanouts.c.event_id == event_id)
    row = connection.execute(statement).one_or_none()
    return frozenset() if row is None else frozenset(row.notifier_ids[row.done_count :])


@conducts(Conduct(takes_turn=False, changes_nouns=False))
def add_fanned_out(
    connection: sa.Connection,
    event_id: str,
    rows: list[dict[str, Any]],
    *,
    seen_count: int,
    done_count: int,
    is_last: bool,
) -> None:
    """Make some of an event's deliveries and note how far the duty is done, both or none.

    `seen_count` is how far the caller found it done: when somebody else was quicker, nothing happens.
    """
    is_meant = fanouts.c.event_id == event_id
    found = connection.execute(sa.select(fanouts.c.done_count).where(is_meant).with_for_update()).scalar_one_or_none()
    if found != seen_count:
        return
    if rows:
        connection.execute(deliveries.insert(), rows)
    if is_last:
        connection.execute(fanouts.delete().where(is_meant))
    else:
        connection.execute(fanouts.update().where(is_meant).values(done_count=done_count))
