"""An app's environment variables: kept for clients that manage them, used by nothing."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.errors import NotFound
from tocsin.ids import new_uuid7
from tocsin.store.schema import variables
from tocsin.store.sealed import seal, unseal


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    value: str

    def __repr__(self) -> str:
        return f"Variable({self.name})"


def list_variables(connection: sa.Connection, app_id: str) -> list[Variable]:
    """An app's variables, by name."""
    statement = sa.select(variables).where(variables.c.app_id == app_id).order_by(variables.c.name)
    return [_to_variable(connection, row) for row in connection.execute(statement)]


def set_variables(connection: sa.Connection, app_id: str, given: Sequence[tuple[str, str]]) -> list[Variable]:
    """Add variables, or give those of the same name another value; answers with those given, by name."""
    for name, value in given:
        same = sa.and_(variables.c.app_id == app_id, variables.c.name == name)
        found = connection.execute(sa.select(variables.c.id).where(same)).scalar_one_or_none()
        variable_id = found or new_uuid7("va")
        sealed = seal(connection, variables.c.value, variable_id, value)
        if found:
            connection.execute(variables.update().where(same).values(value=sealed))
        else:
            row = {"id": variable_id, "app_id": app_id, "name": name, "value": sealed}
            connection.execute(variables.insert().values(**row))
    names = {name for name, _ in given}
    return [variable for variable in list_variables(connection, app_id) if variable.name in names]


def edit_variable(connection: sa.Connection, app_id: str, variable_id: str, value: str) -> Variable:
    """Raises NotFound."""
    this = sa.and_(variables.c.app_id == app_id, variables.c.id == variable_id)
    sealed = seal(connection, variables.c.value, variable_id, value)
    if not connection.execute(variables.update().where(this).values(value=sealed)).rowcount:
        raise NotFound("variable")
    return _to_variable(connection, connection.execute(sa.select(variables).where(this)).one())


def remove_variable(connection: sa.Connection, app_id: str, variable_id: str) -> None:
    """Raises NotFound."""
    this = sa.and_(variables.c.app_id == app_id, variables.c.id == variable_id)
    if not connection.execute(variables.delete().where(this)).rowcount:
        raise NotFound("variable")


def _to_variable(connection: sa.Connection, row: "sa.Row[Any]") -> Variable:
    return Variable(id=row.id, name=row.name, value=unseal(connection, variables.c.value, row.id, row.value))
