"""The only place that reads time, so that tests can advance it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

JUMP = timedelta(seconds=5)
"""A clock that was set by less is not worth a word: time servers do that."""


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
    """A clock that several processes share (their database's); what this machine's is set to later does not matter."""

    def __init__(self) -> None:
        self._begun_seconds = time.time() - time.monotonic()
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.local_seconds(), UTC) + self._ahead

    def local_seconds(self) -> float:
        """Seconds since 1970 by this machine alone, as if its clock had been left alone since this was made."""
        return self._begun_seconds + time.monotonic()

    def follow(self, told: float, *, asked_at: float, answered_at: float) -> None:
        """Take over the other clock's time (all in seconds since 1970), told between two moments of this one.

        What the question's way may explain is left as it is, so that time does not tremble.
        """
        middle, doubt = (asked_at + answered_at) / 2, (answered_at - asked_at) / 2
        ahead = told - middle
        if abs(ahead - self._ahead.total_seconds()) > doubt:
            self._ahead = timedelta(seconds=ahead)


class JumpWatch:
    """Tells when a clock was set: when it has moved otherwise than time has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now, self._seconds = clock.now(), clock.monotonic()

    def look(self) -> timedelta:
        """How far the clock was set since the last look, forward or (negative) back; nothing if by no more than 5 s."""
        now, seconds = self._clock.now(), self._clock.monotonic()
        jump = now - self._now - timedelta(seconds=seconds - self._seconds)
        self._now, self._seconds = now, seconds
        return jump if abs(jump) > JUMP else timedelta()


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

    def set(self, by: timedelta) -> None:
        """Set the wall clock forward or back, while no time passes."""
        self._now += by
