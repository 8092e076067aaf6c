"""Group commit, the gathering half: what arrives within about a millisecond goes to the database together.

Whoever waits for the disk anyway waits together: the operations of a batch share one commit, and each gets its own
answer after it. How a batch is carried out is the database's own.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from tocsin.errors import StoreError
from tocsin.waiters import fill

LINGER_SECONDS = 0.001
"""How long a request waits for company when the last batch had some. Measured at half load: 2 ms make the median 2 ms
longer, half a millisecond costs a tenth more CPU."""

PATIENT_SECONDS = 0.01
"""How long what nobody waits for may wait to share another's commit."""

BATCH_SIZE = 64


Answer = Callable[[Any], None]
"""Gets the result of an operation, or the error as a value."""


class Operation(msgspec.Struct, frozen=True, gc=False):
    verb: Any
    item: Any
    answer: Answer


class Batches:
    """Gathers operations on the event loop and carries them out in batches, one batch at a time."""

    def __init__(
        self, carry_out: Callable[[list[Operation]], None], give_up: Callable[[Any], None] = lambda _: None
    ) -> None:
        """`carry_out` begins with a batch, whose results then come to `settled`, in the same order, errors as values.

        `give_up` gets the results that nobody takes any more of those that were submitted.
        """
        self._carry_out = carry_out
        self._give_up = give_up
        self._gathered: list[Operation] = []
        self._is_writing = False
        self._plan: asyncio.Handle | None = None
        self._is_plan_patient = False
        self._is_urgent = False
        self._was_busy = False
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    def submit(self, verb: Any, item: Any) -> "asyncio.Future[Any]":
        """Have one operation carried out; the future ends after the commit that made it durable."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.add(verb, item, partial(self._fill, future))
        return future

    def add(self, verb: Any, item: Any, answer: Answer, *, is_patient: bool = False) -> None:
        """As `submit`, but `answer` gets the result, never before this returns: much cheaper than a future.

        A patient one waits a little longer for others to share their commit with.
        """
        if self._is_closed:
            self._loop.call_soon(answer, StoreError("the database is closed"))
            return
        self._gathered.append(Operation(verb, item, answer))
        self._is_urgent |= not is_patient
        if not self._is_writing:
            self._plan_flush()

    def close(self) -> None:
        """Begin with what was gathered, whatever is under way, and take no more."""
        self._is_closed = True
        self._is_writing = False
        self._flush()

    def settled(self, batch: list[Operation], results: list[Any]) -> None:
        """A batch was carried out: answer its members, and begin with the next."""
        self._is_writing = False
        for operation, result in zip(batch, results, strict=True):
            try:
                operation.answer(result)
            except Exception as error:  # noqa: BLE001 - one mistake must not cost the others their answers
                self._loop.call_exception_handler({"message": "an answer was not taken", "exception": error})
        if self._gathered and not self._is_writing:
            self._plan_flush()

    def _fill(self, future: "asyncio.Future[Any]", result: Any) -> None:
        if future.done():  # cancelled meanwhile
            self._give_up(result)
        else:
            fill(future, result)

    def _plan_flush(self) -> None:
        """Flush now, or soon: a lone request pays no linger unless the last batch had company."""
        if len(self._gathered) >= BATCH_SIZE:
            self._flush()
        elif self._plan is None:
            self._plan_after(self._linger_seconds())
        elif self._is_plan_patient and self._is_urgent:
            self._plan.cancel()
            self._plan_after(self._linger_seconds())

    def _plan_after(self, seconds: float) -> None:
        self._is_plan_patient = not self._is_urgent
        self._plan = self._loop.call_later(seconds, self._flush) if seconds else self._loop.call_soon(self._flush)

    def _linger_seconds(self) -> float:
        if not self._is_urgent:
            return PATIENT_SECONDS
        return LINGER_SECONDS if self._was_busy else 0.0

    def _flush(self) -> None:
        if self._plan is not None:
            self._plan.cancel()
            self._plan = None
        if self._is_writing or not self._gathered:
            return
        batch, self._gathered = self._gathered, []
        self._is_urgent = False
        self._was_busy = len(batch) > 1
        self._is_writing = True
        self._carry_out(batch)
