"""Reading what triggers have counted of deliveries that ended; putting old counts together, and removing them.

Hours are told apart for a day, later parts of a day, and then whole days (of UTC), so that a month is read quickly.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.ids import first_hex_id
from tocsin.store.pages import MAX_COUNT
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import events, tallies
from tocsin.tallies import hour_of

FOLDED = ((8 * 24, 24), (30, 6))
"""So many hours later, so many hours are counted as one: as many as charts of such a time show as one."""

NAMES = ("app_id", "state", "latency", "notifier_id")

_ADD = sa.text(
    "INSERT INTO tallies (app_id, hour, notifier_id, state, latency, part, count) "
    "VALUES (:app_id, :hour, :notifier_id, :state, :latency, 0, :count) "
    "ON CONFLICT (app_id, hour, notifier_id, state, latency, part) "
    "DO UPDATE SET count = tallies.count + excluded.count"
)


class Tally(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many deliveries ended so; what was not asked for apart is counted together, under its first value here."""

    app_id: str = ""
    notifier_id: str = ""
    hour: int = 0
    state: str
    latency: int = 0
    count: int


def sum_by_app(connection: sa.Connection, app_ids: Collection[str], since_hour: int) -> list[Tally]:
    """For each of these apps and hour, how many ended in which state."""
    own = tallies.c
    return _sum(connection, own.app_id.in_(app_ids), since_hour, own.app_id, own.hour, own.state)


def sum_by_hour(connection: sa.Connection, app_id: str, since_hour: int, notifier_id: str | None = None) -> list[Tally]:
    """For each hour, how many of an app, or of one of its notifiers, ended in which state and how late."""
    own = tallies.c
    whose = own.app_id == app_id
    if notifier_id is not None:
        whose = sa.and_(whose, own.notifier_id == notifier_id)
    return _sum(connection, whose, since_hour, own.hour, own.state, own.latency)


def sum_by_notifier(connection: sa.Connection, app_id: str, since_hour: int) -> list[Tally]:
    """For each notifier of an app, how many ended in which state and how late."""
    own = tallies.c
    return _sum(connection, own.app_id == app_id, since_hour, own.notifier_id, own.state, own.latency)


def _sum(
    connection: sa.Connection, whose: sa.ColumnElement[bool], since_hour: int, *apart: sa.Column[Any]
) -> list[Tally]:
    count = sa.cast(sa.func.sum(tallies.c.count), sa.BigInteger).label("count")
    found = sa.select(*apart, count).where(whose, tallies.c.hour >= since_hour).group_by(*apart)
    return [Tally(**row) for row in connection.execute(found).mappings()]


def count_events(connection: sa.Connection, app_ids: Collection[str], since: datetime) -> dict[str, int]:
    """How many events each of these apps has received since then; counting an app's ends at MAX_COUNT."""
    counts = {}
    for app_id in app_ids:
        some = sa.select(events.c.id).where(events.c.app_id == app_id, events.c.id >= first_hex_id(since))
        limited = some.limit(MAX_COUNT).subquery()
        counts[app_id] = connection.execute(sa.select(sa.func.count()).select_from(limited)).scalar_one()
    return counts


@conducts(Conduct(brings_work=False, changes_nouns=False))
def fold_tallies(connection: sa.Connection, *, at: datetime, limit: int) -> int:
    """Put the counts of hours long past together, so many rows at most; answers with how many."""
    now, count = hour_of(at), 0
    for hour in _hours(connection, now - FOLDED[-1][0]):
        size = next(size for age, size in FOLDED if hour < now - age)
        if hour % size:
            count += _move(connection, hour, hour - hour % size, limit - count)
        if count >= limit:
            break
    return count


def _hours(connection: sa.Connection, before: int) -> Iterator[int]:
    """The hours in which something was counted, from one to the next in their index."""
    hour = -1
    while True:
        later = sa.select(sa.func.min(tallies.c.hour)).where(tallies.c.hour > hour, tallies.c.hour < before)
        found: int | None = connection.execute(later).scalar_one()
        if found is None:
            return
        yield found
        hour = found


def _move(connection: sa.Connection, hour: int, to_hour: int, limit: int) -> int:
    key = tallies.primary_key.columns
    some = sa.select(*key).where(tallies.c.hour == hour).limit(limit)
    gone = tallies.delete().where(sa.tuple_(*key).in_(some)).returning(*(tallies.c[name] for name in (*NAMES, "count")))
    sums: Counter[tuple[str, ...]] = Counter()
    moved = 0
    for *values, number in connection.execute(gone):
        sums[tuple(values)] += number
        moved += 1
    added = [dict(zip(NAMES, values, strict=True), hour=to_hour, count=count) for values, count in sums.items()]
    if added:
        connection.execute(_ADD, added)
    return moved


@conducts(Conduct(brings_work=False, changes_nouns=False))
def prune_tallies(connection: sa.Connection, *, before: datetime, limit: int) -> int:
    """Remove what was counted in hours before that time, so many rows at most; answers with how many."""
    key = sa.tuple_(*tallies.primary_key.columns)
    old = sa.select(*tallies.primary_key.columns).where(tallies.c.hour < hour_of(before)).limit(limit)
    return connection.execute(tallies.delete().where(key.in_(old))).rowcount
