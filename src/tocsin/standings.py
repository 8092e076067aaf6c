"""What this process knows of each notifier that it sends to: how much at once, how slow it is, whose, and where.

Several workers divide what holds for all of them: each has its exact share, which follows from their number, its own
place among them, and a hash of what is divided.
"""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec

from tocsin.clock import Clock
from tocsin.model import Attempt, AttemptOutcome, Notifier, Reason

SLOW_SECONDS = 2.0
"""A notifier whose attempts take longer, smoothed, is slow."""

LATE_SECONDS = 1.0
"""An attempt that takes longer leaves the fast slots, and its notifier is slow until it has ended."""

YIELD_SECONDS = 0.1
"""From here on an attempt leaves the fast slots when others wait for its place."""

EARLY_SECONDS = 0.25
UNUSUAL = 3
"""An attempt is late from `EARLY_SECONDS` on, when it takes so many times what the notifier's usually do."""

SMOOTHING = 0.2
GENTLE_SUCCESSES = 10
"""So many successes double what a notifier that has just recovered is sent at once; otherwise one does."""

AHEAD = 4
MAX_LEASES = 64
"""So many times what a notifier may be sent at once is leased of it, so much at most."""

JUST_RECOVERED = timedelta(minutes=10)
MAX_REMEMBERED = 20_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much at once, in one process unless it says for all workers.

    `fast` and `slow` bound the two lanes, and `slow_in_all` what is in the slow lane with what moved there while it was
    under way. `per_notifier` and `per_host` hold for all workers. An app has at most half of anything. `untried`
    bounds attempts of notifiers without a success yet. `connections` bounds destinations that take only so many,
    whatever their speed. `leases` is how much may be leased and wait or be in a fast slot.
    """

    fast: int = 192
    slow: int = 64
    slow_in_all: int = 832
    per_notifier: int = 16
    per_host: int = 32
    slow_per_host: int = 16
    untried: int = 512
    connections: Mapping[str, int] = {}
    leases: int = 1024

    @property
    def attempts(self) -> int:
        """All that may be under way at once: the most sockets."""
        return self.fast + self.slow_in_all


class Share(msgspec.Struct, frozen=True):
    """One of so many workers, and which of them, from 0."""

    count: int = 1
    own: int = 0

    def of(self, cap: int, key: int) -> int:
        """The part of a cap that falls to this worker; the parts of all add up to it exactly."""
        return cap // self.count + ((self.own - key) % self.count < cap % self.count)

    def owns(self, key: int) -> bool:
        """Whether what only one worker does falls to this one."""
        return self.of(1, key) == 1


class Standing:
    """One notifier as it is known here. What is under way and waits is kept by `tocsin.lanes`."""

    __slots__ = (
        "_gain_after",
        "_gained",
        "_has_timed_out",
        "cap",
        "host",
        "is_bounded",
        "is_rated",
        "is_slow",
        "is_tried",
        "key",
        "late",
        "latency_seconds",
        "leases",
        "limit",
        "line",
        "notifier",
        "recovered_at",
        "share",
        "under_way",
        "waits_in",
    )

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self.key = crc32(notifier.id.encode())
        self.host = ""
        self.is_bounded = False
        self.is_rated = False
        self.recovered_at: datetime | None = None
        self.cap = 1
        self.share = 1
        self.limit = 1
        self.is_tried = False
        self.is_slow = False
        self.leases = 1
        self.latency_seconds = 0.0
        self.late = 0
        self.under_way = 0
        self.line: deque[Any] | None = None
        self.waits_in: object = None
        self._gained = 0
        self._gain_after = 1
        self._has_timed_out = False

    @property
    def patience_seconds(self) -> float:
        """How long an attempt may take before it is late."""
        return min(LATE_SECONDS, max(EARLY_SECONDS, UNUSUAL * self.latency_seconds))

    def note_latency(self, seconds: float) -> None:
        self.latency_seconds += SMOOTHING * (seconds - self.latency_seconds)
        if self.is_slow or self.latency_seconds > SLOW_SECONDS:
            self._weigh()

    def note_late(self, change: int) -> None:
        """So many more attempts are late, or fewer."""
        self.late += change
        self._weigh()

    def judge(self, attempt: Attempt) -> bool:
        """Let the ramp and the lane follow from how an attempt ended; answers whether they may be others now."""
        is_delivered = attempt.outcome is AttemptOutcome.DELIVERED
        if is_delivered and self.is_tried and self.cap >= self.share and not self._has_timed_out:
            return False  # as nearly always
        self._has_timed_out = attempt.reason is Reason.TIMEOUT
        if is_delivered:
            self.is_tried = True
            self._gained += 1
            if self._gained >= self._gain_after and self.cap < self.share:
                self._gained = 0
                self.cap *= 2
        elif self._has_timed_out:
            self.cap = 1
        self._weigh()
        return True

    def begin_gently(self) -> None:
        self._gained, self._gain_after = 0, GENTLE_SUCCESSES
        self.cap = 1
        self._weigh()

    def describe(self, *, host: str, is_bounded: bool, is_rated: bool, share: int) -> None:
        """Take over where messages go, whether that takes only so many connections, and what falls to this worker."""
        self.host, self.is_bounded, self.is_rated, self.share = host, is_bounded, is_rated, share
        self._weigh()

    def set_share(self, share: int) -> None:
        self.share = share
        self._weigh()

    def _weigh(self) -> None:
        """What follows from the rest. What takes only so many connections needs no lane for slow ones."""
        self.limit = min(self.cap, self.share)
        self.is_slow = not self.is_bounded and (
            self.late > 0 or self._has_timed_out or self.latency_seconds > SLOW_SECONDS
        )
        ahead = 1 if self.is_slow or not self.is_tried else AHEAD
        self.leases = min(ahead * self.limit, MAX_LEASES)


class Standings:
    """Every notifier's standing, the latest that were asked for. For the event loop, but for `find`."""

    def __init__(
        self, *, clock: Clock, limits: Limits, host_of: Callable[[Notifier], str], is_rated: Callable[[Notifier], bool]
    ) -> None:
        """`host_of` names where a notifier's messages go, by host and port."""
        self.limits = limits
        self.share = Share()
        self._clock = clock
        self._host_of = host_of
        self._is_rated = is_rated
        self._known: dict[str, Standing] = {}

    def find(self, notifier_id: str) -> Standing | None:
        """From any thread, to read."""
        return self._known.get(notifier_id)

    def of(self, notifier: Notifier) -> Standing:
        """The standing of a notifier, brought up to what it is now."""
        standing = self._known.get(notifier.id)
        if standing is None:
            standing = self._add(notifier)
        elif standing.notifier is not notifier:
            self._learn(standing, notifier)
        return standing

    def leases_of_unknown(self, notifier: Notifier) -> int:
        """How much may be leased at once of one that was not asked for yet: it starts with one at a time."""
        return min(1, self._share_of(notifier, crc32(notifier.id.encode())))

    def divide(self, count: int, own: int) -> bool:
        """Take this worker's share of what all workers may; answers with whether it is another than before."""
        share = Share(count, own)
        if share == self.share:
            return False
        self.share = share
        for standing in self._known.values():
            standing.set_share(self._share_of(standing.notifier, standing.key))
        return True

    def _share_of(self, notifier: Notifier, key: int) -> int:
        if self._is_rated(notifier):
            return self.limits.per_notifier * self.share.owns(key)
        return self.share.of(self.limits.per_notifier, key)

    def _add(self, notifier: Notifier) -> Standing:
        while len(self._known) >= MAX_REMEMBERED:
            oldest = self._known.pop(next(iter(self._known)))
            if oldest.under_way or oldest.line:
                self._known[oldest.notifier.id] = oldest
                break
        standing = self._known[notifier.id] = Standing(notifier)
        self._describe(standing, notifier)
        at = standing.recovered_at = notifier.recovered_at
        if at is not None and self._clock.now() - at < JUST_RECOVERED:
            standing.begin_gently()
        return standing

    def _learn(self, standing: Standing, notifier: Notifier) -> None:
        if standing.notifier != notifier:
            self._describe(standing, notifier)
            known, at = standing.recovered_at, notifier.recovered_at
            if at is not None and (known is None or at > known):
                standing.recovered_at = at
                standing.begin_gently()
        standing.notifier = notifier

    def _describe(self, standing: Standing, notifier: Notifier) -> None:
        host = self._host_of(notifier)
        standing.describe(
            host=host,
            is_bounded=host in self.limits.connections,
            is_rated=self._is_rated(notifier),
            share=self._share_of(notifier, standing.key),
        )
