"""`tocsin`, but with commits that are not synced, to show that losing them would be noticed.

The product has no such switch; its connections are changed from outside.
"""

import sqlite3
from pathlib import Path

from tocsin.cli import app
from tocsin.store import sqlite
from tocsin.store.sqlite.database import connect_writer


def _connect_unsynced(path: Path, busy_timeout_seconds: float) -> sqlite3.Connection:
    connection = connect_writer(path, busy_timeout_seconds)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


if __name__ == "__main__":
    vars(sqlite)["connect_writer"] = _connect_unsynced
    app()
