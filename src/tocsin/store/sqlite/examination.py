"""Looking at a database file without changing it, for `tocsin doctor`."""

import sqlite3
from functools import partial
from pathlib import Path

import msgspec
import sqlalchemy as sa

from tocsin.errors import StoreError
from tocsin.store.migrate import is_current, is_newer
from tocsin.store.schema import events
from tocsin.store.sqlite.database import Lock, connect_writer, engine_over

# SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that two connections write or checkpoint at the same moment
# (https://www.sqlite.org/wal.html, "The WAL-reset bug").
FIRST_SOUND_VERSION = (3, 51, 3)

_FULL = 2


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of itself; `damage` is the first thing that SQLite finds wrong with it."""

    is_current: bool
    is_newer: bool
    damage: str | None
    newest_event_id: str | None


def examine_database(path: Path) -> DatabaseFacts:
    """Read the file through a connection that can neither write nor checkpoint. Raises StoreError."""
    engine = engine_over(partial(_connect_read_only, path), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
            is_now_current = is_current(connection)
            is_of_newer = is_newer(connection)
            newest = connection.execute(sa.select(sa.func.max(events.c.id))).scalar() if is_now_current else None
    except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
        cause = error.orig if isinstance(error, sa.exc.DatabaseError) else error
        raise StoreError(f"cannot read {path}: {cause}") from error
    return DatabaseFacts(
        is_current=is_now_current,
        is_newer=is_of_newer,
        damage=None if found == "ok" else found,
        newest_event_id=newest,
    )


def check_durability(connection: sa.Connection) -> str | None:
    """What keeps this connection's commits from surviving a power cut, or None."""
    journal = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    synchronous = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    if journal != "wal":
        return f"the journal is {journal} instead of wal"
    return None if synchronous == _FULL else f"synchronous is {synchronous} instead of {_FULL} (FULL)"


def examine_durability(path: Path) -> str | None:
    """`check_durability` of a connection as the server makes it. Raises StoreError when the file is in use."""
    lock = Lock(path)
    if not lock.acquire():
        raise StoreError(f"{path} is in use by process {lock.holder()}")
    engine = engine_over(partial(connect_writer, path), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return check_durability(connection)
    except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
        raise StoreError(f"cannot write {path}") from error
    finally:
        lock.release()


def sqlite_version() -> tuple[int, ...]:
    return sqlite3.sqlite_version_info


def _connect_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
