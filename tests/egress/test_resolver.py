import asyncio
import socket
import threading

import pytest

from tocsin.clock import ManualClock
from tocsin.egress.resolver import SystemResolver, look_up
from tocsin.errors import TemporaryFailure
from tocsin.model import Reason


class Names:
    """Stands for the system's look-up; blocks while `gate` is closed."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.running = 0
        self.most_running = 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def __call__(self, host: str) -> tuple[str, ...]:
        with self._lock:
            self.asked.append(host)
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.gate.wait(10)
        with self._lock:
            self.running -= 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.addresses


async def test_an_answer_is_kept_for_30_seconds() -> None:
    clock, names = ManualClock(), Names("192.0.2.1")
    resolver = SystemResolver(clock=clock, look_up=names)
    assert resolver.cached("example.com") is None
    assert await resolver.resolve("example.com") == ("192.0.2.1",)
    assert resolver.cached("example.com") == ("192.0.2.1",)
    clock.advance(29.9)
    assert await resolver.resolve("example.com") == ("192.0.2.1",)
    clock.advance(0.1)
    assert resolver.cached("example.com") is None
    await resolver.resolve("example.com")
    assert names.asked == ["example.com"] * 2
    resolver.close()


async def test_a_failure_is_kept_for_5_seconds() -> None:
    clock, names = ManualClock(), Names()
    resolver = SystemResolver(clock=clock, look_up=names)
    for _ in range(3):
        with pytest.raises(TemporaryFailure) as caught:
            await resolver.resolve("nowhere.example.com")
        assert caught.value.reason is Reason.UNREACHABLE
        assert resolver.cached("nowhere.example.com") is None
    assert len(names.asked) == 1
    clock.advance(5)
    with pytest.raises(TemporaryFailure):
        await resolver.resolve("nowhere.example.com")
    assert len(names.asked) == 2
    resolver.close()


async def test_look_ups_of_one_name_are_shared_and_survive_a_cancelled_asker() -> None:
    names = Names("192.0.2.1")
    names.gate.clear()
    resolver = SystemResolver(clock=ManualClock(), look_up=names)
    askers = [asyncio.create_task(resolver.resolve("example.com")) for _ in range(10)]
    await asyncio.sleep(0)
    askers[0].cancel()
    names.gate.set()
    answers = await asyncio.gather(*askers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [("192.0.2.1",)] * 9
    assert names.asked == ["example.com"]
    resolver.close()


async def test_a_look_up_ends_by_its_time_out_and_others_go_on() -> None:
    names = Names("192.0.2.1")
    names.gate.clear()
    resolver = SystemResolver(clock=ManualClock(), look_up=names, timeout_seconds=0.05, threads=2)
    askers = [asyncio.create_task(resolver.resolve(f"slow{number}.example.com")) for number in range(5)]
    answers = await asyncio.gather(*askers, return_exceptions=True)
    assert {type(answer) for answer in answers} == {TemporaryFailure}
    names.gate.set()
    while resolver._busy:
        await asyncio.sleep(0)
    assert names.most_running <= 2
    assert await resolver.resolve("quick.example.com") == ("192.0.2.1",)
    assert len(names.asked) == 3  # those that nobody waited for any more were not looked up
    resolver.close()


async def test_no_more_than_the_allowed_threads_look_up() -> None:
    names = Names("192.0.2.1")
    resolver = SystemResolver(clock=ManualClock(), look_up=names, threads=4)
    await asyncio.gather(*(resolver.resolve(f"{number}.example.com") for number in range(50)))
    assert names.most_running <= 4
    assert len(resolver._threads) <= 4
    resolver.close()


class Silent:
    """Stands for a name server that answers for no name which begins with `silent`, until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.running: list[str] = []
        self.most_running = 0

    def __call__(self, host: str) -> tuple[str, ...]:
        if host.startswith("silent"):
            self.running.append(host)
            self.most_running = max(self.most_running, len(self.running))
            self.gate.wait(10)
            self.running.remove(host)
        return ("192.0.2.1",)


def silent_names(resolver: SystemResolver, count: int) -> "list[asyncio.Task[tuple[str, ...]]]":
    return [asyncio.create_task(resolver.resolve(f"silent{number}.example.com")) for number in range(count)]


async def test_names_that_nobody_answers_for_hold_up_no_others() -> None:
    names = Silent()
    resolver = SystemResolver(clock=ManualClock(), look_up=names, threads=2, quick_seconds=0.01)
    askers = silent_names(resolver, 10)
    await asyncio.sleep(0)
    assert await resolver.resolve("good.example.com") == ("192.0.2.1",)
    assert resolver._busy == 10
    names.gate.set()
    await asyncio.gather(*askers)
    resolver.close()


async def test_names_that_took_too_long_wait_in_a_line_of_their_own() -> None:
    clock, names = ManualClock(), Silent()
    resolver = SystemResolver(clock=clock, look_up=names, threads=2, quick_seconds=0.01, timeout_seconds=0.2)
    answers = await asyncio.gather(*silent_names(resolver, 10), return_exceptions=True)
    assert {type(answer) for answer in answers} == {TemporaryFailure}
    names.gate.set()
    while resolver._busy:
        await asyncio.sleep(0)
    names.gate.clear()
    names.most_running = 0
    clock.advance(5)
    askers = silent_names(resolver, 10)
    await asyncio.sleep(0)
    assert await resolver.resolve("good.example.com") == ("192.0.2.1",)
    answers = await asyncio.gather(*askers, return_exceptions=True)
    assert {type(answer) for answer in answers} == {TemporaryFailure}
    assert names.most_running <= 2
    names.gate.set()
    resolver.close()


async def test_a_name_that_only_waited_in_line_is_not_put_off() -> None:
    clock, names = ManualClock(), Silent()
    resolver = SystemResolver(clock=clock, look_up=names, threads=1, max_threads=1, timeout_seconds=0.05)
    askers = silent_names(resolver, 1)
    await asyncio.sleep(0)
    with pytest.raises(TemporaryFailure):
        await resolver.resolve("good.example.com")
    assert not resolver._answers["good.example.com"].is_late
    assert resolver._answers["silent0.example.com"].is_late
    names.gate.set()
    await asyncio.gather(*askers, return_exceptions=True)
    while resolver._busy:
        await asyncio.sleep(0)
    clock.advance(5)
    assert await resolver.resolve("good.example.com") == ("192.0.2.1",)
    resolver.close()


async def test_there_are_never_more_threads_than_allowed_in_all() -> None:
    names = Silent()
    resolver = SystemResolver(
        clock=ManualClock(), look_up=names, threads=2, max_threads=5, quick_seconds=0, timeout_seconds=0.1
    )
    await asyncio.gather(*silent_names(resolver, 20), return_exceptions=True)
    assert names.most_running <= 5
    assert len(resolver._threads) == 5
    names.gate.set()
    resolver.close()


async def test_closing_answers_those_who_wait() -> None:
    names = Names("192.0.2.1")
    names.gate.clear()
    resolver = SystemResolver(clock=ManualClock(), look_up=names)
    asker = asyncio.create_task(resolver.resolve("example.com"))
    await asyncio.sleep(0)
    resolver.close()
    with pytest.raises(TemporaryFailure):
        await asker
    names.gate.set()


def test_the_system_knows_localhost() -> None:
    assert {"127.0.0.1", "::1"} & set(look_up("localhost"))
