import asyncio

import pytest

from tocsin.clock import ManualClock
from tocsin.errors import NotFound, StoreError
from tocsin.remembered import Remembered


class Source:
    """Answers with what it holds when it is let go on, and counts how often it was asked."""

    def __init__(self):
        self.value: int | Exception = 1
        self.seconds: float | None = None
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def look_up(self) -> tuple[int, float | None]:
        self.asked += 1
        value = self.value  # as a database has it when it is asked
        await self.may_answer.wait()
        if isinstance(value, Exception):
            raise value
        return value, self.seconds


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def seen(clock) -> Remembered[str, int]:
    return Remembered(clock, seconds=5, size=3)


@pytest.fixture
async def source():
    return Source()


async def turn():
    """Let everything that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_value_is_kept_for_its_time(clock, seen, source):
    assert await seen.find("a", source.look_up) == 1
    clock.advance(3.9)
    assert seen.known("a") == 1
    clock.advance(1.1)
    assert seen.known("a") is None


async def test_a_value_may_be_kept_for_less_but_not_for_more(clock, seen, source):
    source.seconds = 1
    await seen.find("short", source.look_up)
    source.seconds = 100
    await seen.find("long", source.look_up)
    clock.advance(1)
    assert (seen.known("short"), seen.known("long")) == (None, 1)
    clock.advance(4)
    assert seen.known("long") is None


async def test_what_is_in_use_is_renewed_before_its_end(clock, seen, source):
    await seen.find("a", source.look_up)
    source.value = 2
    clock.advance(4.5)
    assert (seen.known("a"), seen.known("a")) == (1, 1)
    await turn()
    assert (seen.known("a"), source.asked) == (2, 2)
    clock.advance(3)
    assert seen.known("a") == 2


async def test_what_is_gone_is_forgotten_when_it_is_to_be_renewed(clock, seen, source):
    await seen.find("a", source.look_up)
    source.value = NotFound("app")
    clock.advance(4.5)
    seen.known("a")
    await turn()
    assert seen.known("a") is None


async def test_a_database_that_is_away_leaves_what_is_remembered_to_its_time(clock, seen, source):
    await seen.find("a", source.look_up)
    source.value = StoreError("away")
    clock.advance(4.5)
    seen.known("a")
    await turn()
    assert seen.known("a") == 1
    clock.advance(0.5)
    assert seen.known("a") is None


async def test_many_who_ask_at_once_share_one_look(seen, source):
    source.may_answer.clear()
    asking = [asyncio.create_task(seen.find("a", source.look_up)) for _ in range(10)]
    await turn()
    asking[0].cancel()  # the others do not depend on whoever came first
    source.may_answer.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 9
    assert source.asked == 1


async def test_a_refusal_is_told_to_all_who_asked_and_not_kept(seen, source):
    source.value = NotFound("app")
    told = await asyncio.gather(*(seen.find("a", source.look_up) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in told] == [NotFound, NotFound]
    source.value = 3
    assert await seen.find("a", source.look_up) == 3


async def test_only_stale_values_are_dropped(seen, source):
    await seen.find("a", source.look_up)
    source.value = 2
    await seen.find("b", source.look_up)
    seen.drop(lambda value: value == 1)
    assert (seen.known("a"), seen.known("b")) == (None, 2)


async def test_what_was_looked_up_before_a_drop_is_neither_kept_nor_shared(seen, source):
    source.may_answer.clear()
    before = asyncio.create_task(seen.find("a", source.look_up))
    await turn()
    seen.drop(lambda value: value == 1)
    source.value = 2
    after = asyncio.create_task(seen.find("a", source.look_up))
    await turn()
    source.may_answer.set()
    assert (await before, await after) == (1, 2)
    assert seen.known("a") == 2


async def test_the_oldest_makes_room(seen, source):
    for key in "abcd":
        await seen.find(key, source.look_up)
    assert [seen.known(key) for key in "abcd"] == [None, 1, 1, 1]
