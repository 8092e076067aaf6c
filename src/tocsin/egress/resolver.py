"""Names to addresses: `getaddrinfo` in threads of its own, with a time-out and a short cache.

Nothing here decides whether an address may be dialled; every answer is filtered by the address policy afterwards.
"""

import asyncio
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from tocsin.clock import Clock
from tocsin.errors import TemporaryFailure
from tocsin.model import Reason

_MAX_CACHED_NAMES = 4096


class Resolver(Protocol):
    """What egress asks for addresses; each answer is checked, so it may come from anywhere."""

    def cached(self, host: str) -> tuple[str, ...] | None:
        """The addresses if they are known at this moment, else None; never waits."""
        ...

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The numeric addresses of a name, at least one. Raises TemporaryFailure(unreachable)."""
        ...

    def close(self) -> None: ...


class _Answer(msgspec.Struct, frozen=True):
    """Addresses, or why there are none; kept until `expires_at_seconds` of the monotonic clock."""

    addresses: tuple[str, ...]
    problem: str
    is_late: bool
    expires_at_seconds: float


class _Lookup:
    """One look-up under way, shared by all who ask for the same name."""

    def __init__(self, host: str, loop: asyncio.AbstractEventLoop, *, is_doubtful: bool) -> None:
        self.host = host
        self.loop = loop
        self.answer: asyncio.Future[_Answer] = loop.create_future()
        self.is_doubtful = is_doubtful
        self.leaving: asyncio.TimerHandle | None = None
        """Runs while it takes the place of a quick one."""


def look_up(host: str) -> tuple[str, ...]:
    """The system's answer, in its order of preference (RFC 6724), without repetitions."""
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class SystemResolver:
    """`getaddrinfo` in daemon threads of its own, so that a name which nobody answers for holds up no other.

    `threads` look up at once, not counting those that have been at it for `quick_seconds`; these go on beside them, up
    to `max_threads` in all. Names whose last look-up took too long wait in a line of their own, for as many threads.

    Not asyncio's default executor: that one is shared, and one name server that does not answer would block all who
    use it. Daemon threads, since a look-up cannot be interrupted and must not delay the end of the process.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        look_up: Callable[[str], tuple[str, ...]] = look_up,
        threads: int = 16,
        max_threads: int = 64,
        quick_seconds: float = 0.1,
        timeout_seconds: float = 3.0,
        keep_seconds: float = 30.0,
        keep_failure_seconds: float = 5.0,
    ) -> None:
        self._clock = clock
        self._look_up = look_up
        self._limit = threads
        self._max_threads = max_threads
        self._quick_seconds = quick_seconds
        self._timeout_seconds = timeout_seconds
        self._keep_seconds = keep_seconds
        self._keep_failure_seconds = keep_failure_seconds
        self._answers: dict[str, _Answer] = {}
        self._under_way: dict[str, _Lookup] = {}
        self._line: deque[_Lookup] = deque()
        self._doubtful_line: deque[_Lookup] = deque()
        self._queue: queue.SimpleQueue[_Lookup | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = self._quick = self._doubtful = 0

    def cached(self, host: str) -> tuple[str, ...] | None:
        answer = self._answers.get(host)
        if answer is None or answer.problem or self._clock.monotonic() >= answer.expires_at_seconds:
            return None
        return answer.addresses

    async def resolve(self, host: str) -> tuple[str, ...]:
        answer = self._answers.get(host)
        if answer is None or self._clock.monotonic() >= answer.expires_at_seconds:
            lookup = self._under_way.get(host) or self._start(host)
            answer = await asyncio.shield(lookup.answer)
        if answer.problem:
            raise TemporaryFailure(Reason.UNREACHABLE, answer.problem)
        return answer.addresses

    def close(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for lookup in list(self._under_way.values()):
            self._settle(lookup, (), "the look-up of the host name was broken off")

    def _start(self, host: str) -> _Lookup:
        loop = asyncio.get_running_loop()
        before = self._answers.get(host)
        lookup = self._under_way[host] = _Lookup(host, loop, is_doubtful=before is not None and before.is_late)
        timer = loop.call_later(self._timeout_seconds, self._give_up, lookup)
        lookup.answer.add_done_callback(lambda _: timer.cancel())
        (self._doubtful_line if lookup.is_doubtful else self._line).append(lookup)
        self._hand_out()
        return lookup

    def _hand_out(self) -> None:
        """Give threads what waits, as far as the limits allow; what nobody waits for any more is left out."""
        while self._line and self._quick < self._limit and self._busy < self._max_threads:
            self._hand(self._line.popleft())
        while self._doubtful_line and self._doubtful < self._limit and self._busy < self._max_threads:
            self._hand(self._doubtful_line.popleft())

    def _hand(self, lookup: _Lookup) -> None:
        if lookup.answer.done():
            return
        self._busy += 1
        if lookup.is_doubtful:
            self._doubtful += 1
        else:
            self._quick += 1
            lookup.leaving = lookup.loop.call_later(self._quick_seconds, self._leave, lookup)
        if self._busy > len(self._threads):
            thread = threading.Thread(target=self._work, name="tocsin-resolver", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(lookup)

    def _leave(self, lookup: _Lookup) -> None:
        """It is not quick: the next may begin beside it."""
        lookup.leaving = None
        self._quick -= 1
        self._hand_out()

    def _work(self) -> None:
        while (lookup := self._queue.get()) is not None:
            addresses, problem = self._try(lookup.host)
            try:
                lookup.loop.call_soon_threadsafe(self._finish, lookup, addresses, problem)
            except RuntimeError:  # the loop has ended meanwhile
                return

    def _try(self, host: str) -> tuple[tuple[str, ...], str]:
        try:
            addresses = self._look_up(host)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a valid name"
            return (), f"the host name was not resolved: {reason}"
        return addresses, "" if addresses else "the host name has no address"

    def _finish(self, lookup: _Lookup, addresses: tuple[str, ...], problem: str) -> None:
        self._busy -= 1
        if lookup.is_doubtful:
            self._doubtful -= 1
        elif lookup.leaving is not None:
            lookup.leaving.cancel()
            self._quick -= 1
        self._settle(lookup, addresses, problem)
        self._hand_out()

    def _give_up(self, lookup: _Lookup) -> None:
        problem = f"the host name was not resolved within {self._timeout_seconds:g} s"
        self._settle(lookup, (), problem, is_late=lookup not in self._line)

    def _settle(self, lookup: _Lookup, addresses: tuple[str, ...], problem: str, *, is_late: bool = False) -> None:
        if lookup.answer.done():
            return
        keep_seconds = self._keep_failure_seconds if problem else self._keep_seconds
        answer = _Answer(addresses, problem, is_late, self._clock.monotonic() + keep_seconds)
        self._answers.pop(lookup.host, None)
        if len(self._answers) >= _MAX_CACHED_NAMES:
            del self._answers[next(iter(self._answers))]
        self._answers[lookup.host] = answer
        self._under_way.pop(lookup.host, None)
        lookup.answer.set_result(answer)
