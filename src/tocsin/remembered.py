"""Answers of the database kept for a few seconds, where thousands of requests a second ask the same."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tocsin.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A bounded map whose entries end by themselves, and at once when what they tell of changes.

    Whoever looks something up to keep it notes `version` before and gives it to `keep`: when entries were dropped
    in between, the answer may be older than that change, and is not kept.
    """

    def __init__(self, clock: Clock, *, seconds: float = 5.0, size: int = 10_000) -> None:
        self._clock = clock
        self._seconds = seconds
        self._size = size
        self._entries: dict[K, tuple[float, V]] = {}
        self.version = 0

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        if self._clock.monotonic() < until:
            return value
        del self._entries[key]
        return None

    def keep(self, key: K, value: V, *, version: int, seconds: float | None = None) -> None:
        """Remember a value for the usual time, or for less."""
        if version != self.version:
            return
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        lifetime = self._seconds if seconds is None else min(seconds, self._seconds)
        self._entries[key] = (self._clock.monotonic() + lifetime, value)

    def drop(self, is_stale: Callable[[V], bool]) -> None:
        """Forget every value of which this holds."""
        self.version += 1
        self._entries = {key: entry for key, entry in self._entries.items() if not is_stale(entry[1])}
