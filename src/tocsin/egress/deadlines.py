"""One deadline for each request on a kept connection, at the price of a number: a sweep looks who is late.

A request that has to wait for more than its answer keeps its deadline itself.
"""

import asyncio
from collections.abc import Collection
from math import inf

from tocsin.egress.connection import Connection

_SWEEP_SECONDS = 0.25


class Deadlines:
    def __init__(self, timeout_seconds: float, connections: Collection[Connection]) -> None:
        """`connections` are those that are open, whoever uses them."""
        self._timeout_seconds = timeout_seconds
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def next(self) -> float:
        """When a request that begins now has to have ended, by the loop's clock."""
        if self._timer is None:
            self._plan()
        return self._loop.time() + self._timeout_seconds

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        self._timer = self._loop.call_later(min(_SWEEP_SECONDS, self._timeout_seconds / 10), self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        busy = [connection for connection in self._connections if connection.due_at_seconds < inf]
        if busy:
            self._plan()
        for connection in busy:
            if connection.due_at_seconds <= now:
                connection.expire(self._timeout_seconds)
