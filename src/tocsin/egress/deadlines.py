"""One deadline for each request in flight, at the price of a dictionary entry.

All requests have the same time-out, so the first to begin is the first to end: one timer on the oldest serves all.
"""

import asyncio

from tocsin.egress.connection import Connection


class Deadlines:
    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._due: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def add(self, connection: Connection) -> None:
        due_at_seconds = self._due[connection] = self._loop.time() + self._timeout_seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due_at_seconds, self._expire)

    def remove(self, connection: Connection) -> None:
        self._due.pop(connection, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection, due_at_seconds in list(self._due.items()):
            if due_at_seconds > now:
                self._timer = self._loop.call_at(due_at_seconds, self._expire)
                return
            del self._due[connection]
            connection.expire(self._timeout_seconds)
