"""Whether the schema is the one this Tocsin works with."""

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from tocsin.errors import ConfigError
from tocsin.store.migrate import is_current, is_newer, migrate


def check_schema(connection: sa.Connection) -> None:
    """Give an empty database its tables. Raises ConfigError for any other whose schema is not current.

    Processes of an older Tocsin may be at work on that one, so that only `tocsin migrate` changes it.
    """
    if is_current(connection):
        return
    is_empty = MigrationContext.configure(connection).get_current_revision() is None
    if is_empty or is_newer(connection):
        migrate(connection)
    else:
        raise ConfigError("the database's schema is of an older Tocsin: run tocsin migrate")
