"""Lists of events, of an app and of a user, newest first."""

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from tocsin.ids import first_hex_id
from tocsin.store.pages import MAX_COUNT, read_page, total_of
from tocsin.store.schema import events

MERGED_APPS = 500
"""Up to so many apps are looked up one by one and merged; for more, all events are walked, newest first."""

_WALK_STEP = 1000

_IS_OWN = events.c.app_id.is_(None)

Page = tuple[list[bytes], int]
"""Event bodies and how many there are in all, as far as it is counted."""


def list_events_of_app(
    connection: sa.Connection,
    app_id: str,
    *,
    limit: int,
    offset: int,
    since: datetime | None = None,
    before: str | None = None,
) -> Page:
    """A page of event bodies of an app; `before` is an id, and only events with smaller ones are meant."""
    ids = _earlier(before).where(events.c.app_id == app_id)
    if since is not None:
        ids = ids.where(events.c.id >= first_hex_id(since))
    page, total = read_page(connection, [ids], limit=limit, offset=offset)
    return _bodies(connection, page), total


def list_events_of_user(
    connection: sa.Connection,
    user_id: str,
    app_ids: Collection[str],
    *,
    limit: int,
    offset: int,
    before: str | None = None,
) -> Page:
    """A page of event bodies of a user: those of the given apps and the user's own."""
    end = offset + limit + 1
    if len(app_ids) > MERGED_APPS:
        # Counted along the way: what is looked for is dense among all events, or the walk is long in any case.
        found = list(islice(_walk(connection, user_id, frozenset(app_ids), before), max(end, MAX_COUNT)))
        counted = min(len(found), MAX_COUNT)
    else:
        found = list(islice(_merge(connection, user_id, app_ids, before, step=min(end, _WALK_STEP)), end))
        counted = _count(connection, user_id, app_ids, before)
    ids = found[offset:end]
    return _bodies(connection, ids[:limit]), total_of(counted, offset, len(ids))


def _merge(
    connection: sa.Connection, user_id: str, app_ids: Iterable[str], before: str | None, *, step: int
) -> Iterator[str]:
    """Each app's events by its index, some at a time: what a page skips is read once, whatever the number of apps."""
    own = sa.and_(_IS_OWN, events.c.user_id == user_id)
    whose = [own, *(events.c.app_id == app_id for app_id in app_ids)]
    lists = (_descend(connection, sa.select(events.c.id).where(each), before, step) for each in whose)
    return (row.id for row in heapq.merge(*lists, key=_id_of, reverse=True))


def _walk(connection: sa.Connection, user_id: str, app_ids: frozenset[str], before: str | None) -> Iterator[str]:
    """All events, and of them those that are meant: told apart here, for no database takes so many parameters."""
    every = sa.select(events.c.id, events.c.app_id, events.c.user_id)
    for row in _descend(connection, every, before, _WALK_STEP):
        if row.app_id in app_ids or (row.app_id is None and row.user_id == user_id):
            yield row.id


def _descend(
    connection: sa.Connection, ids: "sa.Select[Any]", before: str | None, step: int
) -> "Iterator[sa.Row[Any]]":
    """The rows of a query from the newest on, so many a statement."""
    ids = ids.order_by(events.c.id.desc()).limit(step)
    while True:
        some = connection.execute(ids if before is None else ids.where(events.c.id < before)).all()
        yield from some
        if len(some) < step:
            return
        before = some[-1].id


def _id_of(row: "sa.Row[Any]") -> str:
    return str(row.id)


def _count(connection: sa.Connection, user_id: str, app_ids: Collection[str], before: str | None) -> int:
    ids = _earlier(before)
    every = sa.union_all(ids.where(_IS_OWN, events.c.user_id == user_id), ids.where(events.c.app_id.in_(app_ids)))
    some = every.limit(MAX_COUNT).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


def _earlier(before: str | None) -> "sa.Select[tuple[str]]":
    ids = sa.select(events.c.id)
    return ids if before is None else ids.where(events.c.id < before)


def _bodies(connection: sa.Connection, ids: Sequence[str]) -> list[bytes]:
    rows = connection.execute(sa.select(events.c.id, events.c.body).where(events.c.id.in_(ids))) if ids else ()
    found = {row.id: row.body for row in rows}
    return [found[event_id] for event_id in ids]
