"""Takes a database on SQLite back to the schema of its first release, with what is in it, to be migrated again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import tocsin.store

OLDEST = "0001"
_SOURCES = {"deliveries": ("deliveries", "finished_deliveries")}
"""Tables that are several now, and were one."""


def take_back(path: Path) -> None:
    """Replace the file, which nobody may have open, by one of the oldest schema with the same rows.

    It may be of that schema already, when a migration was broken off.
    """
    old = path.with_suffix(".old")
    _make_oldest(old)
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("ATTACH ? AS newer", (str(path),))
        tables = [name for (name,) in connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
        for table in tables:
            if table == "alembic_version" or table.startswith("sqlite_"):
                continue
            for source in _SOURCES.get(table, (table,)):
                names = _columns(connection, "main", table) & _columns(connection, "newer", source)
                if not names:
                    continue
                columns = ", ".join(f'"{name}"' for name in names)
                connection.execute(f'INSERT INTO main."{table}" ({columns}) SELECT {columns} FROM newer."{source}"')
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    old.replace(path)


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?, ?)", (table, schema))}


def _make_oldest(path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(tocsin.store.__path__[0]) / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDEST)
    engine.dispose()
