"""What the floor stores, and its storage in SQLite: one thread, one connection, one commit a batch."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")

ROWS_A_STATEMENT = (64, 16, 4, 1)
LEASE_SECONDS = 45
SENDING, DELIVERED, PENDING = 1, 2, 0

_SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA wal_autocheckpoint=1000;
CREATE TABLE event (id INTEGER PRIMARY KEY, app_id INTEGER, created_at REAL, type TEXT, type_data BLOB);
CREATE TABLE delivery (
  id INTEGER PRIMARY KEY, event_id INTEGER, app_id INTEGER, notifier_id INTEGER, state INTEGER,
  attempt_count INTEGER, lease_until REAL, created_at REAL, finished_at REAL
);
CREATE INDEX delivery_by_notifier ON delivery (notifier_id, id);
CREATE INDEX delivery_by_lease ON delivery (lease_until) WHERE state = 1;
CREATE TABLE attempt (
  delivery_id INTEGER, number INTEGER, started_at REAL, duration_ms REAL, outcome TEXT, status INTEGER,
  PRIMARY KEY (delivery_id, number)
) WITHOUT ROWID;
"""


class Answerable(Protocol):
    def answer(self, status: bytes, body: bytes) -> None: ...


class Accepted(NamedTuple):
    connection: Answerable
    number: int
    app_id: int
    created_at: float
    type: str
    type_data: bytes
    body: bytes
    host: int | None


class Attempted(NamedTuple):
    number: int
    started_at: float
    finished_at: float
    status: int


class Batch:
    def __init__(self) -> None:
        self.events: list[Accepted] = []
        self.attempts: list[Attempted] = []


Committed = Callable[[Batch], None]


class Store(Protocol):
    """Commits batches and reports each, on the event loop, once it is durable."""

    writes_two_at_once: bool

    def write(self, batch: Batch, committed: Committed) -> None: ...

    async def close(self) -> None: ...


class SqliteWriter:
    writes_two_at_once = False

    def __init__(self, database: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._database = database
        self._batches: SimpleQueue[tuple[Batch, Committed] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer")
        self._thread.start()

    def write(self, batch: Batch, committed: Committed) -> None:
        self._batches.put((batch, committed))

    async def close(self) -> None:
        self._batches.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        connection = sqlite3.connect(self._database, isolation_level=None)
        connection.executescript(_SCHEMA)
        while (found := self._batches.get()) is not None:
            batch, committed = found
            connection.execute("BEGIN IMMEDIATE")
            _store(connection, batch)
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(committed, batch)
        connection.close()


def _store(connection: sqlite3.Connection, batch: Batch) -> None:
    insert = "INSERT INTO event VALUES "
    for events in _chunks(batch.events):
        rows: list[object] = []
        for event in events:
            rows += (event.number, event.app_id, event.created_at, event.type, event.type_data)
        connection.execute(insert + _values(5, len(events)), rows)
    insert = "INSERT INTO delivery VALUES "
    for events in _chunks([event for event in batch.events if event.host is not None]):
        rows = []
        for event in events:
            number, at = event.number, event.created_at
            rows += (number, number, event.app_id, event.host, SENDING, 1, at + LEASE_SECONDS, at, None)
        connection.execute(insert + _values(9, len(events)), rows)
    _settle(connection, batch.attempts)


def _settle(connection: sqlite3.Connection, attempts: list[Attempted]) -> None:
    delivered = [attempt for attempt in attempts if 200 <= attempt.status < 300]
    insert = "INSERT INTO attempt VALUES "
    for chunk in _chunks(attempts):
        rows: list[object] = []
        for number, started_at, finished_at, status in chunk:
            outcome = "delivered" if 200 <= status < 300 else "retry"
            rows += (number, 1, started_at, (finished_at - started_at) * 1000, outcome, status)
        connection.execute(insert + _values(6, len(chunk)), rows)
    for chunk in _chunks(delivered):
        marks = ",".join("?" * len(chunk))
        connection.execute(
            f"UPDATE delivery SET state = {DELIVERED}, lease_until = NULL, finished_at = ? "
            f"WHERE id IN ({marks}) AND state = {SENDING}",
            [chunk[-1].finished_at, *(attempt.number for attempt in chunk)],
        )
    for attempt in attempts:
        if not 200 <= attempt.status < 300:
            connection.execute("UPDATE delivery SET state = ? WHERE id = ?", [PENDING, attempt.number])


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices of the few lengths for which prepared statements are kept."""
    start = 0
    for size in ROWS_A_STATEMENT:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size


def _values(columns: int, rows: int) -> str:
    return ",".join(["(" + ",".join("?" * columns) + ")"] * rows)
