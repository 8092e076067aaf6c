"""Names to addresses: `getaddrinfo` in threads of its own, with a time-out and a short cache.

Nothing here decides whether an address may be dialled; every answer is filtered by the address policy afterwards.
"""

import asyncio
import queue
import socket
import threading
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
    expires_at_seconds: float


class _Lookup:
    """One look-up under way, shared by all who ask for the same name."""

    def __init__(self, host: str, loop: asyncio.AbstractEventLoop) -> None:
        self.host = host
        self.loop = loop
        self.answer: asyncio.Future[_Answer] = loop.create_future()
        self.is_abandoned = False


def look_up(host: str) -> tuple[str, ...]:
    """The system's answer, in its order of preference (RFC 6724), without repetitions."""
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class SystemResolver:
    """`getaddrinfo` in at most `threads` daemon threads.

    Not asyncio's default executor: that one is shared, and one name server that does not answer would block all who
    use it. Daemon threads, since a look-up cannot be interrupted and must not delay the end of the process.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        look_up: Callable[[str], tuple[str, ...]] = look_up,
        threads: int = 16,
        timeout_seconds: float = 3.0,
        keep_seconds: float = 30.0,
        keep_failure_seconds: float = 5.0,
    ) -> None:
        self._clock = clock
        self._look_up = look_up
        self._max_threads = threads
        self._timeout_seconds = timeout_seconds
        self._keep_seconds = keep_seconds
        self._keep_failure_seconds = keep_failure_seconds
        self._answers: dict[str, _Answer] = {}
        self._under_way: dict[str, _Lookup] = {}
        self._queue: queue.SimpleQueue[_Lookup | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0

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
        lookup = self._under_way[host] = _Lookup(host, loop)
        timer = loop.call_later(self._timeout_seconds, self._give_up, lookup)
        lookup.answer.add_done_callback(lambda _: timer.cancel())
        self._unfinished += 1
        if self._unfinished > len(self._threads) < self._max_threads:
            thread = threading.Thread(target=self._work, name="tocsin-resolver", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(lookup)
        return lookup

    def _work(self) -> None:
        while (lookup := self._queue.get()) is not None:
            addresses, problem = ((), "") if lookup.is_abandoned else self._try(lookup.host)
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
        self._unfinished -= 1
        self._settle(lookup, addresses, problem)

    def _give_up(self, lookup: _Lookup) -> None:
        lookup.is_abandoned = True
        self._settle(lookup, (), f"the host name was not resolved within {self._timeout_seconds:g} s")

    def _settle(self, lookup: _Lookup, addresses: tuple[str, ...], problem: str) -> None:
        if lookup.answer.done():
            return
        keep_seconds = self._keep_failure_seconds if problem else self._keep_seconds
        answer = _Answer(addresses, problem, self._clock.monotonic() + keep_seconds)
        self._answers.pop(lookup.host, None)
        if len(self._answers) >= _MAX_CACHED_NAMES:
            del self._answers[next(iter(self._answers))]
        self._answers[lookup.host] = answer
        self._under_way.pop(lookup.host, None)
        lookup.answer.set_result(answer)
