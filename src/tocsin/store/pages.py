"""What lists share: a page is found by ids in the order of an index, and counting ends somewhere."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

MAX_COUNT = 10_000
"""`total_count` of a list of events or deliveries stops here, or where the page asked for leads on beyond it."""


def read_page(
    connection: sa.Connection, parts: "Sequence[sa.Select[tuple[str]]]", *, limit: int, offset: int
) -> tuple[list[str], int]:
    """A page of the ids of all parts, newest first, and their number in all, as far as it is counted.

    What is skipped is skipped among ids, which an index holds: rows are looked up for the page alone.
    """
    if not parts:
        return [], 0
    end = offset + limit + 1
    page = _merge([_limit(connection, part, end) for part in parts])
    ids = connection.execute(page.order_by(sa.desc("id")).limit(limit + 1).offset(offset)).scalars().all()
    some = _merge(parts).limit(MAX_COUNT).subquery()
    counted = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    return list(ids[:limit]), total_of(counted, offset, len(ids))


def _merge(parts: "Sequence[sa.Select[tuple[str]]]") -> Any:
    return sa.union_all(*parts) if len(parts) > 1 else parts[0]


def _limit(connection: sa.Connection, part: "sa.Select[tuple[str]]", end: int) -> "sa.Select[tuple[str]]":
    """SQLite merges parts in the order of their indexes; PostgreSQL would gather them whole, and sort, without this."""
    if connection.dialect.name == "sqlite":
        return part
    return sa.select(part.order_by(sa.desc("id")).limit(end).subquery().c.id)


def total_of(counted: int, offset: int, found_count: int) -> int:
    """The number to tell: as counted, but never less than what is known to be there, so that pages lead to the end.

    `found_count` counts what was found at this offset, with one more than the page holds.
    """
    return max(counted, offset + found_count) if found_count else counted
