"""The columns whose values are sealed, and how rows are read and written through the seal."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.errors import ConfigError
from tocsin.sealing import MARK, Sealer, is_sealed
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import notifiers, variables

OPTION = "tocsin_sealer"
"""The execution option that carries the sealer with every connection of an engine."""

SEALED: tuple["sa.Column[Any]", ...] = (
    notifiers.c.type_data,
    notifiers.c.secret,
    notifiers.c.previous_secret,
    variables.c.value,
)

STEP = 200
"""Rows that one step of `reseal` holds."""


def seal(connection: sa.Connection, column: "sa.Column[Any]", row_id: str, value: Any) -> str | None:
    """What is stored of a value in this column of this row: JSON is sealed as its text, and no value as none."""
    if value is None and column.nullable:
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return sealer_of(connection).seal(text, _place(column, row_id))


def unseal(connection: sa.Connection, column: "sa.Column[Any]", row_id: str, stored: Any) -> Any:
    """The value behind what is stored. Raises Unsealable, or ValueError or TypeError for what is no sealed value."""
    if stored is None and column.nullable:
        return None
    if not isinstance(stored, str):
        raise TypeError(f"{_place(column, row_id)} is not sealed")
    text = sealer_of(connection).open(stored, _place(column, row_id))
    return msgspec.json.decode(text) if isinstance(column.type, sa.JSON) else text


def opened(connection: sa.Connection, table: sa.Table, row: "sa.Row[Any]") -> Mapping[str, Any]:
    """A row of a table with its sealed values opened. Raises ValueError or TypeError for one that cannot be read."""
    values = dict(row._mapping)  # noqa: SLF001 - its public name
    for column in SEALED:
        if column.table is table:
            values[column.name] = unseal(connection, column, row.id, values[column.name])
    return values


def check_keys(connection: sa.Connection) -> None:
    """Raise ConfigError when secrets are sealed with a key that is not here: nothing could be sent with them."""
    known = sealer_of(connection).key_ids
    for column in (notifiers.c.secret, notifiers.c.previous_secret, variables.c.value):
        is_foreign = [sa.not_(column.startswith(f"{MARK}:{key_id}:", autoescape=True)) for key_id in known]
        statement = sa.select(column).where(column.startswith(f"{MARK}:"), *is_foreign).limit(1)
        found = connection.execute(statement).scalar_one_or_none()
        if found is not None:
            raise ConfigError(
                f"secrets in the database are sealed with the key {found.split(':')[1]}, which is not among the keys "
                f"here ({', '.join(known)}): put it back into TOCSIN_SECRET_KEY, or into the key file"
            )


@conducts(Conduct(brings_work=False, changes_nouns=False))
def reseal(connection: sa.Connection, column: "sa.Column[Any]", after_id: str) -> tuple[int, str | None]:
    """Seal the next rows of a column with the first key; answers with how many were not, and where to go on.

    What was never sealed is sealed by this; what cannot be read stays as it is. None says that the end is reached.
    """
    table = column.table
    ids = table.c.id
    stored = sa.cast(column, sa.Text).label("stored")  # as it stands, for it may be damaged
    statement = (
        sa.select(ids, stored)
        .where(ids > after_id, column.is_not(sa.null()))
        .order_by(ids)
        .limit(STEP)
        .with_for_update()
    )
    rows = connection.execute(statement).all()
    count = 0
    for row in rows:
        resealed = _resealed(connection, column, row.id, row.stored)
        if resealed is not None:
            connection.execute(sa.update(table).where(ids == row.id).values({column.name: resealed}))
            count += 1
    return count, rows[-1].id if len(rows) == STEP else None


def _resealed(connection: sa.Connection, column: "sa.Column[Any]", row_id: str, stored: str) -> str | None:
    try:
        value = msgspec.json.decode(stored) if isinstance(column.type, sa.JSON) else stored
        if sealer_of(connection).is_current(value):
            return None
        if is_sealed(value):
            value = unseal(connection, column, row_id, value)
    except ValueError:
        return None
    return seal(connection, column, row_id, value)


def sealer_of(connection: sa.Connection) -> Sealer:
    sealer: Sealer = connection.get_execution_options()[OPTION]
    return sealer


def _place(column: "sa.Column[Any]", row_id: str) -> str:
    return f"{column.table.name}.{column.name}.{row_id}"
