"""Rows that may be damaged: one that cannot be read must not keep the others from being used."""

from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

T = TypeVar("T")

UNREADABLE = (ValueError, TypeError)
"""What comes of a row whose JSON or words are none."""


def read_each(
    connection: sa.Connection, statement: "sa.Select[Any]", ids: sa.Column[Any], convert: Callable[["sa.Row[Any]"], T]
) -> dict[str, T | None]:
    """What the rows stand for, by their ids and in their order; None for a row that cannot be read, which is told."""
    try:
        return {row.id: convert(row) for row in connection.execute(statement)}
    except UNREADABLE:
        found = connection.execute(statement.with_only_columns(ids)).scalars().all()
    return {row_id: _read(connection, statement.where(ids == row_id), ids, row_id, convert) for row_id in found}


def _read(
    connection: sa.Connection,
    statement: "sa.Select[Any]",
    ids: sa.Column[Any],
    row_id: str,
    convert: Callable[["sa.Row[Any]"], T],
) -> T | None:
    try:
        return convert(connection.execute(statement).one())
    except UNREADABLE as error:
        problem = type(error).__name__
    log = structlog.get_logger("tocsin.store")
    log.error("store.row_unreadable", table=ids.table.name, id=row_id, problem=problem)
    return None
