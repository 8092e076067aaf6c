"""At most so many attempts a second of a notifier: token buckets, filled by the clock. Not safe for several threads."""

from collections.abc import Mapping

from tocsin.clock import Clock
from tocsin.model import Notifier

MAX_BUCKETS = 10_000


class _Bucket:
    __slots__ = ("at_seconds", "rate", "tokens")

    def __init__(self, rate: float, at_seconds: float) -> None:
        self.rate = rate
        self.tokens = max(1.0, rate)
        self.at_seconds = at_seconds

    def fill(self, rate: float, now_seconds: float) -> None:
        """Bring it up to now; a rate that was changed counts from now on."""
        gained = (now_seconds - self.at_seconds) * self.rate
        self.rate = rate
        self.tokens = min(max(1.0, rate), self.tokens + gained)
        self.at_seconds = now_seconds


class Rates:
    """Tokens of rated notifiers: one for each attempt, taken before it is leased.

    A bucket holds one token for rates up to 1 a second, and a second's worth above. It is full at first.
    """

    def __init__(self, clock: Clock, defaults: Mapping[str, float]) -> None:
        """`defaults` has the rates of platforms, for notifiers that have none of their own."""
        self._clock = clock
        self._defaults = defaults
        self._buckets: dict[str, _Bucket] = {}

    def rate_of(self, notifier: Notifier) -> float | None:
        """Attempts a second, or None where there is no bound."""
        return self._defaults.get(notifier.platform) if notifier.rate_per_second is None else notifier.rate_per_second

    def take(self, notifier: Notifier, wanted: int) -> int:
        """Take as many of the wanted tokens as there are; of an unbounded notifier all."""
        rate = self.rate_of(notifier)
        if rate is None:
            return wanted
        bucket = self._filled(notifier.id, rate)
        # What floating point leaves to be desired is no reason to wait once more.
        count = min(wanted, int(bucket.tokens + 1e-6))
        bucket.tokens -= count
        return count

    def give_back(self, notifier_id: str, count: int) -> None:
        """Put tokens back that were not used."""
        bucket = self._buckets.get(notifier_id)
        if bucket is not None:
            bucket.tokens = min(max(1.0, bucket.rate), bucket.tokens + count)

    def wait_seconds(self, notifier: Notifier) -> float:
        """How long until there is a token."""
        rate = self.rate_of(notifier)
        if rate is None:
            return 0.0
        return max(0.0, (1 - self._filled(notifier.id, rate).tokens) / rate)

    def _filled(self, notifier_id: str, rate: float) -> _Bucket:
        now_seconds = self._clock.monotonic()
        bucket = self._buckets.get(notifier_id)
        if bucket is None:
            if len(self._buckets) >= MAX_BUCKETS:
                self._forget_full(now_seconds)
            bucket = self._buckets[notifier_id] = _Bucket(rate, now_seconds)
        bucket.fill(rate, now_seconds)
        return bucket

    def _forget_full(self, now_seconds: float) -> None:
        """A bucket that is full by now is as good as none."""
        for notifier_id, bucket in list(self._buckets.items()):
            bucket.fill(bucket.rate, now_seconds)
            if bucket.tokens >= max(1.0, bucket.rate):
                del self._buckets[notifier_id]
