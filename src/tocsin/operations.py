"""What operators look at: the queue, who works on it, what is stopped, the database, and what the doctor finds."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from tocsin import __version__
from tocsin.clock import Clock
from tocsin.doctor.finding import Finding
from tocsin.store.operations import (
    Database,
    Queue,
    Stopped,
    Worker,
    count_queue,
    describe_database,
    list_stopped,
    list_workers,
)
from tocsin.store.port import Store

DOCTOR_SECONDS = 30.0
"""Whoever asks the doctor waits no longer; what it finds later is for who asks then."""

STOPPED_AT_ONCE = 50

Findings = Mapping[str, Finding]


async def _know_nothing() -> Mapping[str, str]:
    return {}


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """`problems` stand in the way of serving, `notes` may; `workers` is None where this process is the only one."""

    queue: Queue
    workers: Sequence[Worker] | None
    database: Database
    problems: Mapping[str, str]
    notes: Mapping[str, str]
    version: str = __version__
    python: str = platform.python_version()


class Operations:
    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ready: Collection[str],
        examine: Callable[[], Findings],
        readiness: Callable[[], Awaitable[Mapping[str, str]]] = _know_nothing,
        notes: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`examine` blocks; it is run on a thread, and never twice at once."""
        self._store = store
        self._clock = clock
        self._ready = ready
        self._examine = examine
        self._readiness = readiness
        self._notes = notes
        self._examination: asyncio.Task[Findings] | None = None

    async def survey(self) -> Survey:
        """Raises StoreError while the database cannot answer."""
        store = self._store
        return Survey(
            queue=await store.read(count_queue, ready=self._ready, at=self._clock.now()),
            workers=await store.read(list_workers),
            database=await store.read(describe_database),
            problems=await self._readiness(),
            notes=self._notes(),
        )

    async def list_stopped(self, before: str | None = None) -> tuple[list[Stopped], str | None]:
        """A page of what is stopped, newest first, and where the next one begins."""
        found = await self._store.read(list_stopped, before=before, limit=STOPPED_AT_ONCE + 1)
        page = found[:STOPPED_AT_ONCE]
        return page, page[-1].id if len(found) > len(page) else None

    async def examine(self) -> Findings | None:
        """What the doctor finds; None when that takes long."""
        if self._examination is None:
            self._examination = asyncio.create_task(asyncio.to_thread(self._examine))
        examination = self._examination
        done, _ = await asyncio.wait({examination}, timeout=DOCTOR_SECONDS)
        if not done:
            return None
        if self._examination is examination:
            self._examination = None
        return examination.result()
