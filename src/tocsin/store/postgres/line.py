"""One kind of hot statement: gathered, and carried out batch after batch."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from tocsin.errors import StoreError
from tocsin.store.batches import Answer, Batches, Operation
from tocsin.store.postgres.connections import as_store_error, driver_error

CarryOut = Callable[[list[Any]], Awaitable[list[Any]]]


class Line:
    def __init__(self, carry_out: CarryOut) -> None:
        """`carry_out` does a batch in one transaction, all or none; its results stand in the same order."""
        self._carry_out = carry_out
        self._under_way: set[asyncio.Task[None]] = set()
        self._batches = Batches(self._begin)

    def add(self, item: Any, answer: Answer, *, is_patient: bool = False) -> None:
        self._batches.add(None, item, answer, is_patient=is_patient)

    async def close(self) -> None:
        """Carry out what was gathered, and take no more."""
        self._batches.close()
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _begin(self, batch: list[Operation]) -> None:
        task = asyncio.get_running_loop().create_task(self._run(batch))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _run(self, batch: list[Operation]) -> None:
        self._batches.settled(batch, await self._results([operation.item for operation in batch]))

    async def _results(self, items: list[Any]) -> list[Any]:
        """What became of each; where the batch as a whole fails for one of its members, each goes alone."""
        try:
            return await self._carry_out(items)
        except Exception as error:  # noqa: BLE001 - each member of the batch is told
            told = as_store_error(error)
            is_for_all = isinstance(told, StoreError) and not isinstance(
                driver_error(error), asyncpg.LockNotAvailableError
            )
        if is_for_all or len(items) == 1:
            return [told] * len(items)
        return [result for item in items for result in await self._results([item])]
