"""The embedded database: one file, one writing connection with group commit, readers beside it."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.errors import ConfigError, StoreError
from tocsin.sealing import Sealer
from tocsin.store.firsts import Chance
from tocsin.store.leases import free_leases
from tocsin.store.migrate import migrate
from tocsin.store.port import Accepted, Claimed, Dispatch, NewEvents, Settlement, Verb, Wake, conduct_of
from tocsin.store.retention import prune
from tocsin.store.sealed import check_keys
from tocsin.store.sqlite.database import (
    BUSY_TIMEOUT_SECONDS,
    Lock,
    connect_reader,
    connect_writer,
    database_path,
    engine_over,
    prepare_folder,
)
from tocsin.store.sqlite.examination import check_durability
from tocsin.store.sqlite.hot import HotVerbs
from tocsin.store.sqlite.space import Space
from tocsin.store.sqlite.writer import BatchVerb, Transaction, Writer

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4

PRUNE_STEP = 2000
"""Rows of each kind that one transaction removes at most."""


CLAIM_PACE_SECONDS = 0.01


class DatabaseInUse(ConfigError):
    """Another process has the database open."""


class _Change(NamedTuple):
    """A plain write, and whether what is remembered of notifiers may be another after it."""

    run: Callable[[sa.Connection], Any]
    changes_nouns: bool


class SqliteStore:
    """`tocsin.store.port.Store` on one SQLite file."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        dispatch: Dispatch,
        sealer: Sealer,
        chance: Chance = random.random,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
    ) -> None:
        """Open the file, take its lock, apply migrations and free the leases of whoever had it before.

        Raises DatabaseInUse when another process has it, ConfigError when it cannot be opened.
        """
        self.path = database_path(url)
        prepare_folder(self.path)
        self._lock = Lock(self.path)
        if not self._lock.acquire():
            raise DatabaseInUse(
                f"{self.path} is in use by process {self._lock.holder()}: stop it first, "
                "or set TOCSIN_DATABASE_URL to another file"
            )
        self._write_engine = engine_over(
            partial(connect_writer, self.path, busy_timeout_seconds), sealer, poolclass=sa.StaticPool
        )
        try:
            connection = self._open(clock)
        except BaseException:
            self._write_engine.dispose()
            self._lock.release()
            raise
        self._read_engine = engine_over(
            partial(connect_reader, self.path, busy_timeout_seconds), sealer, poolclass=sa.QueuePool, pool_size=READERS
        )
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="tocsin-reader")
        self._is_closed = False
        self._dispatch = dispatch
        self._space = Space(self.path.parent, clock.monotonic)
        self._hot = HotVerbs(clock, dispatch, self._space, chance)
        verbs: list[BatchVerb] = [self._hot.settle, self._hot.add_events, self._hot.claim, self._write_plain]
        self._writer = Writer(connection, verbs, give_up=lambda _: self._wake())
        self._wakes: list[Wake] = []

    @property
    def place(self) -> str:
        return str(self.path)

    def _open(self, clock: Clock) -> sa.Connection:
        try:
            connection = self._write_engine.connect()
            migrate(connection)
            check_keys(connection)
            # Whoever held these leases is gone, for this process holds the lock. In one transaction: an attempt
            # noted for a lease that is still there could not be noted again at the next start.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            free_leases(connection, at=clock.now())
            connection.exec_driver_sql("COMMIT")
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
            cause = error.orig if isinstance(error, sa.exc.DatabaseError) else error
            raise ConfigError(f"TOCSIN_DATABASE_URL: cannot open {self.path}: {cause}") from error
        return connection

    async def read(self, verb: Verb[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._is_closed:
            raise StoreError("the database is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._readers, self._read, lambda connection: verb(connection, *args, **kwargs)
        )

    def _read(self, query: Callable[[sa.Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                raw = cast("sqlite3.Connection", connection.connection.driver_connection)
                raw.execute("BEGIN")  # one snapshot for all of the verb's statements
                try:
                    return query(connection)
                finally:
                    raw.execute("COMMIT")
        except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
            raise StoreError(f"the database cannot be read: {error}") from error

    async def write(self, verb: Verb[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        change = _Change(lambda connection: verb(connection, *args, **kwargs), conduct_of(verb).changes_nouns)
        result = await self._writer.submit(self._write_plain, change)
        self._wake()
        return cast("T", result)

    def _write_plain(self, transaction: Transaction, changes: list[_Change]) -> list[Any]:
        if not any(change.changes_nouns for change in changes):
            return [change.run(transaction.connection) for change in changes]
        transaction.undo.append(self._hot.forget)
        try:
            return [change.run(transaction.connection) for change in changes]
        finally:
            self._hot.forget()

    def add_events(self, new: NewEvents, answer: Callable[[Accepted | Exception], None]) -> None:
        self._writer.add(self._hot.add_events, new, partial(self._added, answer))

    def _added(self, answer: Callable[[Accepted | Exception], None], result: Accepted | Exception) -> None:
        if isinstance(result, Accepted) and result.has_fanout:
            self._wake()
        answer(result)

    @property
    def claim_pace_seconds(self) -> float:
        return CLAIM_PACE_SECONDS

    def share(self) -> tuple[int, int]:
        return 1, 0

    async def claim(self, slots: Mapping[str, int]) -> Claimed:
        return cast("Claimed", await self._writer.submit(self._hot.claim, slots))

    def settle(self, settlement: Settlement, answer: Callable[[bool | Exception], None]) -> None:
        self._writer.add(self._hot.settle, settlement, answer, is_patient=True)

    async def prune(self, *, finished_before: datetime, keys_before: datetime) -> None:
        removed = PRUNE_STEP
        while removed >= PRUNE_STEP:
            removed = await self.write(
                prune, finished_before=finished_before, keys_before=keys_before, limit=PRUNE_STEP
            )

    async def check_durability(self) -> str | None:
        return await self.write(check_durability)

    async def check_room(self) -> str | None:
        loop = asyncio.get_running_loop()
        shortage = await loop.run_in_executor(self._readers, self._space.find_shortage)
        return None if shortage is None else shortage.message

    def on_wake(self, wake: Wake) -> None:
        self._wakes.append(wake)

    def on_change_elsewhere(self, forget: Callable[[], None]) -> None:
        """There is no elsewhere: nobody else can write."""

    def _wake(self) -> None:
        for wake in self._wakes:
            wake(None)

    async def close(self) -> None:
        self._is_closed = True
        self._writer.close()
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()
        self._lock.release()
