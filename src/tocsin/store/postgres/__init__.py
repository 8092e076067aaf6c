"""PostgreSQL: the same verbs for as many processes as wanted, each with a few connections."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin.clock import Clock, SharedClock
from tocsin.errors import StoreError
from tocsin.model import Notifier
from tocsin.sealing import Sealer
from tocsin.store.firsts import Chance
from tocsin.store.leases import give_up, release
from tocsin.store.migrate import check_schema, migrate
from tocsin.store.notifiers import find_sendables
from tocsin.store.port import Accepted, Claimed, Conduct, Dispatch, NewEvents, Settlement, Verb, Wake, conduct_of
from tocsin.store.postgres.claims import Claims
from tocsin.store.postgres.connections import (
    Address,
    Connection,
    Link,
    as_store_error,
    check_settings,
    engine_over,
    find_loose_setting,
    is_lost,
    is_to_repeat,
    limit_statements,
    try_to_connect,
)
from tocsin.store.postgres.ingest import Ingest, Routes, load_routes
from tocsin.store.postgres.line import Line
from tocsin.store.postgres.partitions import add_partition, drop_partition, find_missing, find_past, prune_default
from tocsin.store.postgres.peers import Peers
from tocsin.store.postgres.settlements import Settlements
from tocsin.store.postgres.signals import Signals, ask_time
from tocsin.store.retention import prune_keys
from tocsin.store.sealed import check_keys

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 5
READ_TRIES = 2
PRUNE_BATCH = 2000

CLAIM_PACE_SECONDS = 0.01
"""How far apart claims begin at best, of all workers together: many that claim a little cost more than they gain."""

LONGEST_CLAIM_PACE_SECONDS = 0.05

# Plain writes were thought out for a database with one writer: they take turns, across all processes.
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtext('tocsin plain writes'))"


class PostgresStore:
    """`tocsin.store.port.Store` on PostgreSQL; made by `open_postgres`."""

    def __init__(
        self,
        address: Address,
        direct: Address,
        *,
        clock: Clock,
        dispatch: Dispatch,
        sealer: Sealer,
        chance: Chance,
        pool_size: int,
    ) -> None:
        """`direct` is the way past a pooler, for what needs a connection of its own."""
        self.address = address
        self._direct = direct
        self._clock = clock
        self._dispatch = dispatch
        self._engine = engine_over(address, sealer, size=pool_size)
        self._log = structlog.get_logger("tocsin.store").bind()
        self._is_closed = False
        self._under_way: set[asyncio.Future[Any]] = set()
        self._wakes: list[Wake] = []
        self._forgets: list[Callable[[], None]] = []
        self._peers = Peers()
        claiming, settling, storing = Link(address), Link(address), Link(address)
        self._links = (claiming, settling, storing)
        self._claims = Claims(
            claiming,
            clock=clock,
            dispatch=dispatch,
            chance=chance,
            find_sendables=self._find_sendables,
            release=self._release,
            give_up=self._give_up,
            share=self._peers.share,
        )
        self._ingest_line = Line(Ingest(storing, dispatch, self._load_routes).add_events)
        self._settle_line = Line(Settlements(settling).settle)
        self._signals = Signals(direct, heard=self._heard, look=self._look)

    @property
    def place(self) -> str:
        return str(self.address)

    async def read(self, verb: Verb[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        for tries_left in reversed(range(READ_TRIES)):
            try:
                async with self._engine.connect() as connection:
                    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                    await connection.execution_options(**options)
                    await self._limit(connection)
                    return await connection.run_sync(lambda plain: verb(plain, *args, **kwargs))
            except Exception as error:
                if not (tries_left and is_lost(error)):
                    raise as_store_error(error) from error
        raise AssertionError

    async def write(self, verb: Verb[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        change = asyncio.ensure_future(
            self._write_and_tell(lambda plain: verb(plain, *args, **kwargs), conduct_of(verb))
        )
        self._under_way.add(change)
        change.add_done_callback(self._under_way.discard)
        return await asyncio.shield(change)  # carried out even when whoever asked has left

    async def _write_and_tell(self, change: Callable[[sa.Connection], T], conduct: Conduct) -> T:
        result = await self._write(change, takes_turn=conduct.takes_turn)
        if conduct.brings_work:
            self._wake(None)
            self._signals.tell(None, is_change=conduct.changes_nouns)
        return result

    async def _write(self, change: Callable[[sa.Connection], T], *, takes_turn: bool) -> T:
        """Repeat what met another transaction, and what was cut off before it could have been committed."""
        for tries_left in reversed(range(TRIES)):
            is_committing = False
            try:
                async with self._engine.connect() as connection:
                    await self._limit(connection)
                    if takes_turn:
                        await connection.exec_driver_sql(TAKE_TURN)
                    result = await connection.run_sync(change)
                    is_committing = True
                    await connection.commit()
                    return result
            except Exception as error:
                may_repeat = is_to_repeat(error) or (is_lost(error) and not is_committing)
                if not (tries_left and may_repeat):
                    raise as_store_error(error) from error
        raise AssertionError

    async def _limit(self, connection: AsyncConnection) -> None:
        for statement in limit_statements(self.address):
            await connection.exec_driver_sql(statement)

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreError("the database is closed")

    def add_events(self, new: NewEvents, answer: Callable[[Accepted | Exception], None]) -> None:
        self._ingest_line.add(new, partial(self._added, answer))

    def _added(self, answer: Callable[[Accepted | Exception], None], result: Accepted | Exception) -> None:
        if isinstance(result, Accepted):
            if result.has_fanout:
                self._wake(None)
                self._signals.tell(None)
            elif result.waiting:
                self._signals.tell(result.waiting)
        answer(result)

    @property
    def claim_pace_seconds(self) -> float:
        workers, _ = self._peers.share()
        return min(workers * CLAIM_PACE_SECONDS, LONGEST_CLAIM_PACE_SECONDS)

    def share(self) -> tuple[int, int]:
        self._take_part()
        return self._peers.share()

    def _take_part(self) -> None:
        """Be seen as a worker by the others."""
        if not self._peers.is_worker:
            self._peers.is_worker = True
            self._signals.look_soon()

    async def claim(self, slots: Mapping[str, int]) -> Claimed:
        self._check_open()
        self._take_part()
        try:
            return await self._claims.claim(slots)
        except Exception as error:
            raise as_store_error(error) from error

    def settle(self, settlement: Settlement, answer: Callable[[bool | Exception], None]) -> None:
        self._settle_line.add(settlement, answer, is_patient=True)

    async def prune(self, *, finished_before: datetime, keys_before: datetime) -> None:
        """Drop the days that are past, and make those ahead."""
        await self.add_partitions()
        for parted, day in await self.read(find_past, finished_before):
            drop = partial(drop_partition, parted=parted, day=day, finished_before=finished_before)
            await self._tend(drop)
        while await self._write(lambda plain: prune_default(plain, finished_before, PRUNE_BATCH), takes_turn=True):
            pass
        while await self._write(lambda plain: prune_keys(plain, keys_before, PRUNE_BATCH), takes_turn=True):
            pass

    async def add_partitions(self) -> None:
        """Make the partitions of the days to come."""
        for parted, day in await self.read(find_missing, self._clock.now()):
            await self._tend(partial(add_partition, parted=parted, day=day))

    async def _tend(self, change: Callable[[sa.Connection], object]) -> None:
        """Change a partition, unless somebody is at work on its table for long, such as a dump: then the next time."""
        try:
            await self._write(change, takes_turn=True)
        except StoreError as error:
            self._log.info("store.partition_left", cause=error.message)

    async def check_room(self) -> str | None:
        """The database server's disk is not ours to look at; it refuses by itself when it is full."""
        return None

    async def check_durability(self) -> str | None:
        connection = await try_to_connect(self._direct, "TOCSIN_DATABASE_URL")
        try:
            return await find_loose_setting(connection)
        except Exception as error:
            raise as_store_error(error) from error
        finally:
            await connection.close()

    def on_wake(self, wake: Wake) -> None:
        self._wakes.append(wake)

    def on_change_elsewhere(self, forget: Callable[[], None]) -> None:
        self._forgets.append(forget)

    def _wake(self, notifier_ids: frozenset[str] | None) -> None:
        for wake in self._wakes:
            wake(notifier_ids)

    def _heard(self, notifier_ids: frozenset[str] | None, *, is_change: bool) -> None:
        if is_change:
            for forget in self._forgets:
                forget()
        self._wake(notifier_ids)

    async def _look(self, connection: Connection) -> None:
        await self._peers.look(connection)
        await self._follow_time(connection)

    async def _follow_time(self, connection: Connection) -> None:
        """Keep to the database's time, so that all processes agree on what is due and which leases have ended."""
        if isinstance(self._clock, SharedClock):
            asked_at = self._clock.local_seconds()
            told = await ask_time(connection)
            self._clock.follow(told, asked_at=asked_at, answered_at=self._clock.local_seconds())

    async def _load_routes(self, app_ids: Sequence[str]) -> dict[str, Routes]:
        return await self.read(load_routes, app_ids)

    async def _find_sendables(self, notifier_ids: Sequence[str]) -> dict[str, Notifier | None]:
        return await self.read(find_sendables, notifier_ids)

    async def _release(self, leases: Sequence[tuple[str, str]], at: datetime) -> None:
        await self._write(lambda plain: release(plain, leases, at=at), takes_turn=False)

    async def _give_up(self, leases: Sequence[tuple[str, str]], at: datetime) -> None:
        await self._write(lambda plain: give_up(plain, leases, at=at), takes_turn=False)

    async def close(self) -> None:
        self._is_closed = True
        await asyncio.gather(self._ingest_line.close(), self._settle_line.close(), self._claims.close())
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._signals.close()
        for link in self._links:
            link.drop()
        await self._engine.dispose()


async def open_postgres(
    url: str,
    *,
    direct_url: str | None = None,
    clock: Clock,
    dispatch: Dispatch,
    sealer: Sealer,
    chance: Chance = random.random,
    pool_size: int,
    is_migrating: bool = False,
) -> PostgresStore:
    """Connect, check that what is committed is durable and that the schema is current; an empty database gets one.

    Raises StoreError while the database cannot be reached, and ConfigError for one that cannot be used as it is: with
    `is_migrating`, an older schema is brought up to date instead.
    """
    address = Address(url=url, is_pooled=direct_url is not None)
    direct = Address(url=direct_url or url)
    setting = "TOCSIN_DATABASE_URL" if direct_url is None else "TOCSIN_DATABASE_DIRECT_URL"
    connection = await try_to_connect(direct, setting)
    try:
        await check_settings(connection)
    finally:
        await connection.close()
    engine = engine_over(direct, sealer, size=1)
    try:
        async with engine.begin() as plain:
            await plain.run_sync(migrate if is_migrating else check_schema)
            await plain.run_sync(check_keys)
    except sa.exc.DBAPIError as error:
        raise as_store_error(error) from error
    finally:
        await engine.dispose()
    store = PostgresStore(
        address, direct, clock=clock, dispatch=dispatch, sealer=sealer, chance=chance, pool_size=pool_size
    )
    try:
        await store.add_partitions()
    except BaseException:
        await store.close()
        raise
    return store
