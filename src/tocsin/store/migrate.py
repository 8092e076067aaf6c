"""Bringing a database's schema up to date with Alembic; safe to repeat, and for several processes at once."""

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tocsin.errors import ConfigError

MIGRATION_LOCK = 0x746F6373
"""The number of PostgreSQL's advisory lock that is held meanwhile."""

TABLE_PATIENCE_SECONDS = 5
"""A change of a table waits so long for those who read it, such as a dump: whoever comes after it waits meanwhile."""


def migrate(connection: sa.Connection) -> None:
    """Apply what is missing, in one transaction. Raises ConfigError for a database of a newer Tocsin.

    A connection to PostgreSQL may be in a transaction already: that one is used then, and left to its owner to commit.
    """
    if connection.dialect.name == "sqlite":
        # Looked at first without the write lock, which a backup or a shell may hold.
        if not _is_missing_something(connection):
            return
        alone = _alone_in_file(connection)
    else:
        alone = _alone_in_database(connection)
    with alone:
        # Asked under the lock: another process may have been quicker.
        if _is_missing_something(connection):
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _is_missing_something(connection: sa.Connection) -> bool:
    if is_newer(connection):
        current = MigrationContext.configure(connection).get_current_revision()
        raise ConfigError(f"the database was made by a newer Tocsin (its schema is {current}): upgrade Tocsin")
    return not is_current(connection)


@contextlib.contextmanager
def _alone_in_file(connection: sa.Connection) -> Iterator[None]:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


@contextlib.contextmanager
def _alone_in_database(connection: sa.Connection) -> Iterator[None]:
    with contextlib.nullcontext() if connection.in_transaction() else connection.begin():
        # Whoever waits for the lock, or moves many rows, must not be cut short.
        for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TABLE_PATIENCE_SECONDS}s'")
        yield


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


def is_current(connection: sa.Connection) -> bool:
    return MigrationContext.configure(connection).get_current_revision() == newest_revision()


def newest_revision() -> str | None:
    """The revision that this Tocsin works with."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def is_newer(connection: sa.Connection) -> bool:
    """Whether a newer Tocsin made this schema."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return current is not None and current not in known


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "tocsin.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
