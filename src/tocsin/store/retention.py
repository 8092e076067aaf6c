"""Removing what is older than it is kept, row by row. Where whole partitions are dropped, only keys go this way."""

from datetime import datetime

import sqlalchemy as sa

from tocsin.ids import first_hex_id, first_uuid7
from tocsin.store.endings import IDS_AT_ONCE
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import attempts, deliveries, events, fanouts, finished_deliveries, idempotency_keys


@conducts(Conduct(changes_nouns=False))
def prune(connection: sa.Connection, *, finished_before: datetime, keys_before: datetime, limit: int) -> int:
    """Remove old finished deliveries with their attempts, old events without any, and old keys: `limit` of each.

    Answers with how many rows of all kinds went.
    """
    finished = finished_deliveries.c
    old = (
        sa.select(finished.id)
        .where(finished.id < first_uuid7("de", finished_before), finished.finished_at < finished_before)
        .limit(limit)
    )
    ids = list(connection.execute(old).scalars())
    for some in (ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE)):
        connection.execute(attempts.delete().where(attempts.c.delivery_id.in_(some)))
        connection.execute(finished_deliveries.delete().where(finished.id.in_(some)))
    return len(ids) + _prune_events(connection, finished_before, limit) + prune_keys(connection, keys_before, limit)


def _prune_events(connection: sa.Connection, before: datetime, limit: int) -> int:
    is_of_live = deliveries.c.event_id == events.c.id
    silent = (
        sa.select(events.c.id)
        .where(
            events.c.id < first_hex_id(before),
            sa.not_(sa.exists().where(finished_deliveries.c.event_id == events.c.id)),
            # First deliveries and replays apart, so that an index serves each.
            sa.not_(sa.exists().where(is_of_live, deliveries.c.replay_of.is_(None))),
            sa.not_(sa.exists().where(is_of_live, deliveries.c.replay_of.is_not(None))),
            sa.not_(sa.exists().where(fanouts.c.event_id == events.c.id)),
        )
        .limit(limit)
    )
    return connection.execute(events.delete().where(events.c.id.in_(silent))).rowcount


def prune_keys(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Forget old idempotency keys, so many at most; answers with how many."""
    key = sa.tuple_(idempotency_keys.c.app_id, idempotency_keys.c.key)
    stale = sa.select(idempotency_keys.c.app_id, idempotency_keys.c.key)
    stale = stale.where(idempotency_keys.c.created_at < before).limit(limit)
    return connection.execute(idempotency_keys.delete().where(key.in_(stale))).rowcount
