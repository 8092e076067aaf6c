"""How operations are gathered and answered, whatever carries them out."""

import asyncio
from typing import Any

import pytest

from tocsin.errors import StoreError
from tocsin.store.batches import Batches, Operation


class Echo:
    """Carries a batch out by answering each item with itself, in the loop's next turn."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.given_up: list[Any] = []
        self.sizes: list[int] = []
        self.batches = Batches(self._carry_out, self.given_up.append)

    def _carry_out(self, batch: list[Operation]) -> None:
        self.sizes.append(len(batch))
        self.loop.call_soon(self.batches.settled, batch, [operation.item for operation in batch])


async def test_an_answer_comes_after_add_has_returned() -> None:
    answers: list[Any] = []
    echo = Echo()
    echo.batches.add("verb", 1, answers.append)
    assert answers == []
    assert await echo.batches.submit("verb", 2) == 2
    assert answers == [1]
    assert echo.sizes == [2]


async def test_an_answer_that_is_not_taken_costs_the_others_nothing() -> None:
    def refuse(_: object) -> None:
        raise ZeroDivisionError

    echo = Echo()
    complaints: list[dict[str, Any]] = []
    echo.loop.set_exception_handler(lambda _, context: complaints.append(context))
    echo.batches.add("verb", 1, refuse)
    assert await echo.batches.submit("verb", 2) == 2
    assert [type(complaint["exception"]) for complaint in complaints] == [ZeroDivisionError]


async def test_what_an_answer_adds_goes_with_the_next_batch() -> None:
    echo = Echo()
    following: list[asyncio.Future[Any]] = []
    echo.batches.add("verb", 1, lambda _: following.append(echo.batches.submit("verb", 2)))
    assert await echo.batches.submit("verb", 3) == 3
    assert await following[0] == 2
    assert echo.sizes == [2, 1]


async def test_an_error_is_raised_where_it_is_awaited_and_given_where_it_is_not() -> None:
    answers: list[Any] = []
    echo = Echo()
    error = StoreError("full")
    echo.batches.add("verb", error, answers.append)
    with pytest.raises(StoreError, match="full"):
        await echo.batches.submit("verb", error)
    assert answers == [error]


async def test_the_result_of_whoever_is_gone_is_given_up() -> None:
    echo = Echo()
    gone = echo.batches.submit("verb", 1)
    stays = echo.batches.submit("verb", 2)
    gone.cancel()
    assert await stays == 2
    assert echo.given_up == [1]


async def test_after_close_nothing_is_taken() -> None:
    echo = Echo()
    echo.batches.close()
    answers: list[Any] = []
    echo.batches.add("verb", 1, answers.append)
    assert answers == []
    with pytest.raises(StoreError, match="closed"):
        await echo.batches.submit("verb", 2)
    assert [type(answer) for answer in answers] == [StoreError]
