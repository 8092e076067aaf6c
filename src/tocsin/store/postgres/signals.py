"""Wake-ups between processes: LISTEN and NOTIFY on a connection of their own. A lost one costs a poll, nothing else.

A signal is sent outside the transaction that it tells of, for PostgreSQL commits notifying transactions one at a time;
and at most one every 20 ms a process, which carries all that came meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog

from tocsin.errors import StoreError
from tocsin.store.postgres.connections import BROKEN, Address, Connection, as_store_error, connect

CHANNEL = "tocsin_wake"
PACE_SECONDS = 0.02
MAX_PAYLOAD_BYTES = 7999
"""What PostgreSQL lets a notification carry (https://www.postgresql.org/docs/current/sql-notify.html)."""

ANYTHING, CHANGE = "*", "!"
"""Instead of notifiers: there may be work for any; something that is remembered may have changed as well."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
LOOK_SECONDS = 5.0
"""How often the connection is looked at, and whether it is alive."""


class Heard(Protocol):
    def __call__(self, notifier_ids: frozenset[str] | None, *, is_change: bool) -> None: ...


Look = Callable[[Connection], Awaitable[None]]


class Signals:
    """Tells the other processes which notifiers have something due (None: anything may have changed), and is told."""

    def __init__(self, address: Address, *, heard: Heard, look: Look) -> None:
        """`heard` is called for each signal of another process; `look` now and then with the idle connection."""
        self._address = address
        self._heard = heard
        self._look = look
        self._untold: set[str] = set()
        self._woken = asyncio.Event()
        self._connection: Connection | None = None
        self._look_at = 0.0
        self._log = structlog.get_logger("tocsin.store").bind()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def tell(self, notifier_ids: frozenset[str] | None, *, is_change: bool = False) -> None:
        """Let the others know, soon."""
        self._untold |= {CHANGE if is_change else ANYTHING} if notifier_ids is None else notifier_ids
        self._woken.set()

    def look_soon(self) -> None:
        self._look_at = 0.0
        self._woken.set()

    async def close(self) -> None:
        """Stop, and tell what is still untold."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._untold:
            return
        try:
            connection = await connect(self._address)
            try:
                await self._send(connection)
            finally:
                await connection.close()
        except BROKEN:
            self._log.debug("store.signal_lost")

    async def _run(self) -> None:
        """Listen and tell until cancelled; while the database is away, try again."""
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._stay_connected()
            except (StoreError, *BROKEN) as error:
                self._log.info("store.not_listening", error=str(as_store_error(error)))
            await asyncio.sleep(pause_seconds)
            pause_seconds = FIRST_PAUSE_SECONDS if self._connection else min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
            self._connection = None

    async def _stay_connected(self) -> None:
        connection = await connect(self._address)
        try:
            await connection.add_listener(CHANNEL, self._on_signal)
            connection.add_termination_listener(lambda _: self._woken.set())
            self._connection = connection
            self._heard(None, is_change=True)  # something may have been told meanwhile
            self._look_at = 0.0
            while not connection.is_closed():
                if (now := self._loop.time()) >= self._look_at:
                    self._look_at = now + LOOK_SECONDS
                    await self._look(connection)
                await self._serve(connection, self._look_at - now)
        finally:
            connection.terminate()

    async def _serve(self, connection: Connection, patience_seconds: float) -> None:
        """Wait for something to tell, and tell it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._woken.wait()
        self._woken.clear()
        if self._untold and not connection.is_closed():
            await self._send(connection)
            await asyncio.sleep(PACE_SECONDS)

    async def _send(self, connection: Connection) -> None:
        untold, self._untold = self._untold, set()
        payload = " ".join(untold)
        if CHANGE in untold:
            payload = CHANGE
        elif ANYTHING in untold or len(payload) > MAX_PAYLOAD_BYTES:
            payload = ANYTHING
        try:
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
        except BaseException:
            self._untold |= untold
            self._woken.set()
            raise

    def _on_signal(self, connection: Connection, pid: int, _channel: str, payload: str) -> None:
        if pid != connection.get_server_pid():
            is_for_any = payload in {ANYTHING, CHANGE}
            self._heard(None if is_for_any else frozenset(payload.split(" ")), is_change=payload == CHANGE)


async def ask_time(connection: Connection) -> float:
    """The database's time, in seconds since 1970. Raises StoreError."""
    try:
        return float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))
    except BROKEN as error:
        raise StoreError("the database cannot tell the time") from error
