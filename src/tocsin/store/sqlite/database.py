"""Opening the file: its lock, its connections and what each may do."""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tocsin.errors import ConfigError
from tocsin.sealing import Sealer
from tocsin.store.sealed import OPTION

NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "glusterfs"})

BUSY_TIMEOUT_SECONDS = 5.0
"""How long to wait for a foreign connection (a backup, a shell) that holds the database."""

PAGE_CACHE_KIB = 16 * 1024
"""Room for the pages that are written again and again; with SQLite's usual 2 MiB they are read anew each time."""

WAL_CHECKPOINT_PAGES = 1000
"""Measured: 1,000 pages give a p99 of 8 ms at 8,000 events/s, 4,000 pages 17 ms, for the same throughput."""


class Lock:
    """An exclusive lock beside the database file, held while a process has it open for writing.

    One writer is not only order: SQLite 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write or
    checkpoint at the same moment (https://www.sqlite.org/wal.html, "The WAL-reset bug").
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock, or return False when another process has it. Raises ConfigError."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"TOCSIN_DATABASE_URL: cannot open {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return True

    def holder(self) -> str:
        """The process id that the lock file names, for messages."""
        try:
            return self.path.read_text().strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def database_path(url: str) -> Path:
    """The file that a `sqlite:///path` URL names. Raises ConfigError."""
    path = url.removeprefix("sqlite:///")
    if path in {"", ":memory:"} or path == url:
        raise ConfigError("TOCSIN_DATABASE_URL must name a file, as in sqlite:///data/tocsin.db")
    return Path(path)


def prepare_folder(path: Path) -> None:
    """Make the file's folder, for its owner alone, and refuse one on a network. Raises ConfigError."""
    try:
        _make_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"TOCSIN_DATABASE_URL: cannot make {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"TOCSIN_DATABASE_URL: no right to write in {path.parent}")
    kind = filesystem_of(path.parent.resolve())
    if kind in NETWORK_FILESYSTEMS:
        raise ConfigError(
            f"TOCSIN_DATABASE_URL: {path.parent} is on a network file system ({kind}), where SQLite's locks "
            "cannot be trusted; use a local disk, or PostgreSQL"
        )


def _make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut: a new name is safe once the folder that holds it was synced."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in new:
        above = os.open(each.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(above)
        finally:
            os.close(above)


def filesystem_of(folder: Path) -> str:
    """The type of the file system that holds a folder, or an empty text where it cannot be told."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in mounts:
        _, mount_point, found, *_ = line.split(" ")
        point = mount_point.replace("\\040", " ")
        if len(point) >= len(best) and folder.is_relative_to(point):
            best, kind = point, found
    return kind


def connect_writer(path: Path, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> sqlite3.Connection:
    """The one connection that writes and checkpoints. Transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL would survive a killed process but lose acknowledged events when the power fails.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    path.chmod(0o600)
    return connection


def connect_reader(path: Path, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> sqlite3.Connection:
    """A connection that cannot write; its transactions must be short, or the WAL cannot be reset."""
    connection = sqlite3.connect(path, timeout=busy_timeout_seconds, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


def engine_over(connect: Callable[[], sqlite3.Connection], sealer: Sealer | None = None, **options: Any) -> sa.Engine:
    """A SQLAlchemy engine that leaves transactions to whoever made the connection.

    Without a sealer nothing that is sealed can be read or written.
    """
    return sa.create_engine(
        "sqlite://",
        creator=connect,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        execution_options={OPTION: sealer},
        **options,
    )
