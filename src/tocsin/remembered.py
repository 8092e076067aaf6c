"""Answers of the database kept for a few seconds, where thousands of requests a second ask the same."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from tocsin.clock import Clock
from tocsin.errors import StoreError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LookUp = Callable[[], Awaitable[tuple[V, float | None]]]
"""Asks the database: a value and, where it may not be kept for the usual time, for how many seconds it may."""

RENEWAL = 0.8
"""After this part of its time a value that is asked for is looked up anew, behind the back of whoever asks."""


class Remembered(Generic[K, V]):
    """A bounded map whose entries end by themselves, and at once when what they tell of changes.

    Who asks for what is being looked up waits for that answer, unless something was dropped since it began: then the
    answer may be older than that change, and is neither shared nor kept.
    """

    def __init__(self, clock: Clock, *, seconds: float = 5.0, size: int = 10_000) -> None:
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._entries: dict[K, tuple[float, float, V, LookUp[V]]] = {}
        self._asked: dict[K, tuple[int, asyncio.Task[V]]] = {}
        self._version = 0

    def known(self, key: K) -> V | None:
        """A value that is remembered; one that is used does not come to its end, as long as it is found again."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, renewed_at, value, look_up = entry
        now = self._clock.monotonic()
        if now >= until:
            del self._entries[key]
            return None
        if now >= renewed_at and key not in self._asked:
            self._ask(key, look_up)
        return value

    async def find(self, key: K, look_up: LookUp[V]) -> V:
        """A value that is remembered, or looked up now. Raises what looking up raises."""
        value = self.known(key)
        if value is not None:
            return value
        version, task = self._asked.get(key, (-1, None))
        if task is None or version != self._version:
            task = self._ask(key, look_up)
        return await asyncio.shield(task)  # others may wait for it too

    def drop(self, is_stale: Callable[[V], bool]) -> None:
        """Forget every value of which this holds."""
        self._version += 1
        self._entries = {key: entry for key, entry in self._entries.items() if not is_stale(entry[2])}

    def _ask(self, key: K, look_up: LookUp[V]) -> asyncio.Task[V]:
        task = asyncio.get_running_loop().create_task(self._look_up(key, look_up, self._version))
        self._asked[key] = self._version, task
        task.add_done_callback(lambda _: self._end(key, task))
        return task

    async def _look_up(self, key: K, look_up: LookUp[V], version: int) -> V:
        try:
            value, seconds = await look_up()
        except StoreError:
            raise  # that tells nothing of what is remembered
        except Exception:
            self._entries.pop(key, None)
            raise
        if version == self._version:
            self._keep(key, value, look_up, self._seconds if seconds is None else min(seconds, self._seconds))
        return value

    def _keep(self, key: K, value: V, look_up: LookUp[V], seconds: float) -> None:
        if len(self._entries) >= self._size and key not in self._entries:
            del self._entries[next(iter(self._entries))]
        now = self._clock.monotonic()
        self._entries[key] = now + seconds, now + RENEWAL * seconds, value, look_up

    def _end(self, key: K, task: asyncio.Task[V]) -> None:
        if not task.cancelled():
            task.exception()  # a renewal's failure is nobody's
        if self._asked.get(key, (0, None))[1] is task:
            del self._asked[key]
