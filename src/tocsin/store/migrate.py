"""Bringing a database's schema up to date with Alembic; safe to repeat."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from tocsin.errors import ConfigError


def migrate(connection: sa.Connection) -> None:
    """Apply what is missing, in one transaction. Raises ConfigError for a database of a newer Tocsin."""
    config = _config()
    newest = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if is_newer(connection):
        raise ConfigError(f"the database was made by a newer Tocsin (its schema is {current}): upgrade Tocsin")
    if current == newest.get_current_head():
        return
    config.attributes["connection"] = connection
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
    try:
        command.upgrade(config, "head")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def is_current(connection: sa.Connection) -> bool:
    current = MigrationContext.configure(connection).get_current_revision()
    return current == ScriptDirectory.from_config(_config()).get_current_head()


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
