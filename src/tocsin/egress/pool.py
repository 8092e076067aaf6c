"""Connections that wait for their next request, by the address they were checked for."""

import asyncio

from tocsin.clock import Clock
from tocsin.egress.connection import Connection

# A connection idle for longer than this is asked for news before it is written to; younger ones the loop has just seen.
_TRUSTED_SECONDS = 0.1

# For so long no connection is kept to an address that closed a kept one in place of an answer: it does not say so when
# it closes, and each message on the next one would be lost for an attempt.
_DROPPED_SECONDS = 60.0
_MAX_DROPPING = 1024


class Pool:
    """Keeps so many for each address and in all; one more is closed."""

    def __init__(self, *, clock: Clock, per_address: int, limit: int = 1024, idle_seconds: float = 15.0) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._per_address = per_address
        self._limit = limit
        self._count = 0
        self._idle: dict[object, list[Connection]] = {}
        self._dropping_until: dict[object, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take(self, key: object) -> Connection | None:
        """The connection used last, if one is left that its peer has not closed."""
        waiting = self._idle.get(key)
        while waiting:
            connection = waiting.pop()
            self._count -= 1
            idle_seconds = self._clock.monotonic() - connection.idle_since_seconds
            is_young = connection.is_open and idle_seconds < self._idle_seconds
            if is_young and (idle_seconds < _TRUSTED_SECONDS or connection.is_still_quiet()):
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it."""
        if connection.was_dropped:
            self._distrust(connection.key)
        if not connection.is_reusable or (self._dropping_until and self._is_dropping(connection.key)):
            connection.abort()
            return
        waiting = self._idle.setdefault(connection.key, [])
        if len(waiting) >= self._per_address or self._count >= self._limit:
            connection.abort()
            return
        self._count += 1
        connection.idle_since_seconds = self._clock.monotonic()
        waiting.append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def discard(self, connection: Connection) -> None:
        waiting = self._idle.get(connection.key)
        if waiting and connection in waiting:
            waiting.remove(connection)
            self._count -= 1

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiting in self._idle.values():
            for connection in waiting:
                connection.abort()
        self._idle.clear()
        self._count = 0

    def _distrust(self, key: object) -> None:
        for connection in self._idle.pop(key, ()):
            connection.abort()
        self._dropping_until.pop(key, None)
        if len(self._dropping_until) >= _MAX_DROPPING:
            del self._dropping_until[next(iter(self._dropping_until))]
        self._dropping_until[key] = self._clock.monotonic() + _DROPPED_SECONDS

    def _is_dropping(self, key: object) -> bool:
        until = self._dropping_until.get(key)
        if until is not None and self._clock.monotonic() >= until:
            del self._dropping_until[key]
            return False
        return until is not None

    def _sweep(self) -> None:
        self._timer = None
        oldest = self._clock.monotonic() - self._idle_seconds
        for key, waiting in list(self._idle.items()):
            for connection in [found for found in waiting if found.idle_since_seconds <= oldest]:
                waiting.remove(connection)
                self._count -= 1
                connection.abort()
            if not waiting:
                del self._idle[key]
        if self._idle:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds / 4, self._sweep)
