"""What an installation's database holds, read past Tocsin: SQLite's file or PostgreSQL."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from faults.records import number_in, sha
from tocsin.store.schema import to_micros

SQLITE = "sqlite:///"
_PAUSE_SECONDS = 0.05

_LIVE = """
SELECT id, event_id, notifier_id, state, NULL, attempt_count, next_attempt_at, lease_until, NULL, replay_of
  FROM deliveries"""
_FINISHED = """
SELECT id, event_id, notifier_id, state, reason, attempt_count, NULL, NULL, finished_at, replay_of
  FROM finished_deliveries"""
_ATTEMPTS = "SELECT delivery_id, number, started_at, duration_ms, outcome, reason FROM attempts"
_EVENTS = "SELECT id, body FROM events"
_KEYS = "SELECT key, event_ids FROM idempotency_keys"

Query = Callable[[str], Any]


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery under way or over. Instants are microseconds since 1970."""

    id: str
    event_id: str
    notifier_id: str
    state: str
    reason: str | None
    attempt_count: int
    next_attempt_us: int | None
    lease_until_us: int | None
    finished_us: int | None
    is_live: bool
    replay_of: str | None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    delivery_id: str
    number: int
    started_us: int
    duration_ms: int | None
    outcome: str
    reason: str | None


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    number: int
    body_sha: str


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the checker asks of a database."""

    events: list[StoredEvent] = []
    deliveries: list[DeliveryRow] = []
    attempts: list[AttemptRow] = []
    keys: dict[str, str] = {}
    """The ids of the events that a key stands for, as they are stored."""

    looked_us: int = 0
    damage: list[str] = []
    """What the database's own examination says against its file."""


async def read_holdings(url: str, examine: Callable[[], list[str]] = list) -> Holdings:
    """Everything in one snapshot. SQLite's file is examined by itself; `examine` says what else is wrong."""
    if url.startswith(SQLITE):
        return await asyncio.to_thread(_read_sqlite, Path(url.removeprefix(SQLITE)))
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = {sql: await connection.fetch(sql) for sql in (_LIVE, _FINISHED, _ATTEMPTS, _EVENTS, _KEYS)}
    finally:
        await connection.close()
    return _holdings(rows, damage=await asyncio.to_thread(examine))


def _read_sqlite(path: Path) -> Holdings:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        damage = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
        connection.execute("BEGIN")
        rows = {sql: connection.execute(sql).fetchall() for sql in (_LIVE, _FINISHED, _ATTEMPTS, _EVENTS, _KEYS)}
    return _holdings(rows, damage=damage)


def _holdings(rows: Mapping[str, list[Any]], *, damage: list[str]) -> Holdings:
    return Holdings(
        events=[StoredEvent(id=id_, number=number_in(body), body_sha=sha(body)) for id_, body in rows[_EVENTS]],
        deliveries=[_delivery(row, is_live=sql is _LIVE) for sql in (_LIVE, _FINISHED) for row in rows[sql]],
        attempts=[
            AttemptRow(
                delivery_id=row[0],
                number=row[1],
                started_us=_micros(row[2]) or 0,
                duration_ms=row[3],
                outcome=row[4],
                reason=row[5],
            )
            for row in rows[_ATTEMPTS]
        ],
        keys=dict(map(tuple, rows[_KEYS])),
        looked_us=time.time_ns() // 1000,
        damage=damage,
    )


def _delivery(row: Any, *, is_live: bool) -> DeliveryRow:
    return DeliveryRow(
        id=row[0],
        event_id=row[1],
        notifier_id=row[2],
        state=row[3],
        reason=row[4],
        attempt_count=row[5],
        next_attempt_us=_micros(row[6]),
        lease_until_us=_micros(row[7]),
        finished_us=_micros(row[8]),
        is_live=is_live,
        replay_of=row[9],
    )


def _micros(instant: int | datetime | None) -> int | None:
    return to_micros(instant) if isinstance(instant, datetime) else instant


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[Query]:
    """A connection for single values: call what is given with SQL and await it."""
    if url.startswith(SQLITE):
        with closing(sqlite3.connect(f"file:{url.removeprefix(SQLITE)}?mode=ro", uri=True, timeout=10)) as file:

            async def ask(sql: str) -> Any:
                return file.execute(sql).fetchone()[0]

            yield ask
        return
    connection = await asyncpg.connect(url)
    try:
        yield connection.fetchval
    finally:
        await connection.close()


async def wait_until_none_is_live(url: str, *, within_seconds: float) -> int:
    """Wait until no delivery is left to be made; answers with how many are when the time is over."""
    end_at = time.monotonic() + within_seconds
    async with looking(url) as ask:
        while (count := await ask("SELECT count(*) FROM deliveries")) and time.monotonic() < end_at:
            await asyncio.sleep(_PAUSE_SECONDS)  # the last outcomes are being written, which nothing tells
    return int(count)
