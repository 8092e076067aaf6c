"""How often somebody may ask: a token its requests, a caller its failed attempts to get in.

Each process counts for itself and in memory; what has not been asked for longest is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

import msgspec

from tocsin.clock import Clock
from tocsin.errors import NotAuthenticated, TooMany

MAX_BUCKETS = 20_000
"""Callers that are kept in mind: of each kind; some 5 MB, however many addresses somebody has."""

WINDOW_SECONDS = 60

_ROUNDING = 0.001  # of a request: sums of fractions of a second are not exact
_UP = 0.999


class Limit(msgspec.Struct, frozen=True):
    """So many at once, and then one each time that the interval has passed: a token bucket.

    A bucket is kept as the moment at which it is full again, which is all that there is to know of it.
    """

    burst: int
    interval_seconds: float

    def wait_seconds(self, full_at: float, now: float) -> float:
        """How long until one more may come; nothing when it may come now."""
        wait_seconds = full_at - now - (self.burst - 1) * self.interval_seconds
        return wait_seconds if wait_seconds > _ROUNDING * self.interval_seconds else 0.0

    def take(self, full_at: float, now: float) -> float:
        """When the bucket is full again after one more."""
        return max(full_at, now) + self.interval_seconds


class Allowance:
    """What a token may still ask for: a bucket that its requests find beside who sends them, and that costs little."""

    __slots__ = ("_full_at", "_interval_seconds", "_limit", "_monotonic", "_opening", "_per_second", "_room_seconds")

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self._limit = limit
        self._monotonic = clock.monotonic
        self._interval_seconds = limit.interval_seconds
        self._per_second = 1 / limit.interval_seconds
        self._room_seconds = (limit.burst + _ROUNDING) * limit.interval_seconds
        self._opening = f'ratelimit-policy: {self.policy}\r\nratelimit: "token";r='.encode()
        self._full_at = 0.0

    def spend(self) -> bytes:
        """Count a request; answers with the header lines that tell of it. Raises TooMany, and counts nothing then."""
        now = self._monotonic()
        full_at = self._full_at
        behind_seconds = self._interval_seconds if full_at < now else full_at - now + self._interval_seconds
        if behind_seconds > self._room_seconds:
            raise TooMany(
                f"this token may send {self._limit.burst} requests a minute", self._limit.wait_seconds(full_at, now)
            )
        self._full_at = now + behind_seconds
        left = int((self._room_seconds - behind_seconds) * self._per_second)
        return b"%b%d;t=%d\r\n" % (self._opening, left, int(behind_seconds + _UP))

    def give_back(self) -> None:
        """Undo the last `spend`: the request is counted elsewhere."""
        self._full_at -= self._interval_seconds

    @property
    def policy(self) -> str:
        """The value of the header that tells of the limit."""
        return f'"token";q={self._limit.burst};w={WINDOW_SECONDS}'

    @property
    def state(self) -> str:
        """What is left, and in how many seconds all of it is there again: the value of a header."""
        behind_seconds = max(self._full_at - self._monotonic(), 0.0)
        left = int((self._room_seconds - behind_seconds) * self._per_second)
        return f'"token";r={left};t={int(behind_seconds + _UP)}'


class Allowances:
    """The allowance of each token that is in use."""

    def __init__(self, clock: Clock, per_minute: int | None) -> None:
        """`per_minute` None is no limit."""
        self._clock = clock
        self._limit = None if per_minute is None else Limit(per_minute, WINDOW_SECONDS / per_minute)
        self._of: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, token_id: str) -> Allowance | None:
        if self._limit is None:
            return None
        allowance = self._of.pop(token_id, None) or Allowance(self._limit, self._clock)
        self._of[token_id] = allowance
        if len(self._of) > MAX_BUCKETS:
            self._of.popitem(last=False)
        return allowance


BAD_TOKENS = Limit(30, 2.0)
"""By address. What is not limited is a good token: nobody keeps others out who come from the same address."""

PASSWORDS_BY_ADDRESS = Limit(30, 10.0)
PASSWORDS_BY_ADDRESS_AND_NAME = Limit(10, 30.0)

PASSWORDS_BY_NAME = Limit(100, 10.0)
"""From wherever. This and the limit of an address do not hold for a name that has signed in from there, as far as this
process remembers: nobody is locked out of a place of theirs by others."""

_LIMITS = (BAD_TOKENS, PASSWORDS_BY_ADDRESS, PASSWORDS_BY_ADDRESS_AND_NAME, PASSWORDS_BY_NAME)
"""Each has its buckets to itself: none is forgotten for many of another kind."""

_Bucket = tuple[Limit, Hashable]


class Throttle:
    """Slows down whoever guesses. What is counted is failures: who gets in has it given back."""

    def __init__(self, clock: Clock, *, is_on: bool = True) -> None:
        self._clock = clock
        self._is_on = is_on
        # Ordered ones, for they are quick to lose what is oldest, too.
        self._full_at: dict[Limit, OrderedDict[Hashable, float]] = {limit: OrderedDict() for limit in _LIMITS}
        self._proven: OrderedDict[Hashable, None] = OrderedDict()

    def count_bad_token(self, address: str) -> None:
        """Somebody there has sent a token, a link or a code that is not valid. Raises TooMany when that was often."""
        self._take([(BAD_TOKENS, address)])

    @contextmanager
    def checking_password(self, name: str, address: str) -> Iterator[None]:
        """Stand around the checking of a password, which costs much: raises TooMany instead when too many were wrong.

        Attempts under way count as failed until they are not.
        """
        who = hash((name.casefold(), address))  # a name may be long
        buckets: list[_Bucket] = [(PASSWORDS_BY_ADDRESS_AND_NAME, who)]
        if who not in self._proven:
            buckets += [(PASSWORDS_BY_ADDRESS, address), (PASSWORDS_BY_NAME, hash(name.casefold()))]
        self._take(buckets)
        try:
            yield
        except NotAuthenticated:
            raise
        except BaseException:
            self._give_back(buckets)
            raise
        self._give_back(buckets)
        self._prove(who)

    def _take(self, buckets: list[_Bucket]) -> None:
        """One from each, or from none."""
        if not self._is_on:
            return
        now = self._clock.monotonic()
        wait_seconds = max(limit.wait_seconds(self._full_at[limit].get(who, now), now) for limit, who in buckets)
        if wait_seconds:
            raise TooMany("too many failed attempts to sign in", wait_seconds)
        for limit, who in buckets:
            full_at = self._full_at[limit]
            full_at[who] = limit.take(full_at.pop(who, now), now)
            if len(full_at) > MAX_BUCKETS:
                full_at.popitem(last=False)

    def _give_back(self, buckets: list[_Bucket]) -> None:
        for limit, who in buckets:
            if who in self._full_at[limit]:
                self._full_at[limit][who] -= limit.interval_seconds

    def _prove(self, who: Hashable) -> None:
        self._proven.pop(who, None)
        self._proven[who] = None
        if len(self._proven) > MAX_BUCKETS:
            self._proven.popitem(last=False)
