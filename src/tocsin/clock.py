"""The only place that reads time, so that tests can advance it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences mean anything."""
        ...


class SystemClock:
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)


class SharedClock(SystemClock):
    """The machine's clock, set right by another that several processes share (their database's)."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self._ahead

    def local_seconds(self) -> float:
        """Seconds since 1970 by this machine alone."""
        return time.time()

    def follow(self, told: float, *, asked_at: float, answered_at: float) -> None:
        """Take over the other clock's time (all in seconds since 1970), told between two moments of this one.

        What the question's way may explain is left as it is, so that time does not tremble.
        """
        middle, doubt = (asked_at + answered_at) / 2, (answered_at - asked_at) / 2
        ahead = told - middle
        if abs(ahead - self._ahead.total_seconds()) > doubt:
            self._ahead = timedelta(seconds=ahead)


class ManualClock:
    """A clock that stands still until it is advanced; for tests and simulations."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self._elapsed_seconds = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed_seconds

    def advance(self, by: timedelta | float) -> None:
        """Move time on by a timedelta or a number of seconds."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self._now += step
        self._elapsed_seconds += step.total_seconds()
