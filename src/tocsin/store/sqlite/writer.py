"""Group commit: one thread owns the writing connection and carries out what has gathered in one transaction.

Whoever waits for the disk anyway waits together: the requests of about two milliseconds share one commit, and each
gets its own answer after it. A member that fails is undone alone.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import sqlalchemy as sa

from tocsin.errors import StoreError

LINGER_SECONDS = 0.002
"""How long a request waits for company when the last batch had some."""

PATIENT_SECONDS = 0.01
"""How long what nobody waits for may wait to share another's commit."""

BATCH_SIZE = 64

BatchVerb = Callable[["Transaction", list[Any]], list[Any]]
"""Carries out the like operations of a batch together; the results stand in the same order, errors as values."""


class Transaction:
    """What a batch runs in. `undo` collects what must be taken back in memory when the database takes it back."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.raw = cast("sqlite3.Connection", connection.connection.driver_connection)
        self.undo: list[Callable[[], None]] = []

    def take_back(self, since: int = 0) -> None:
        for step in reversed(self.undo[since:]):
            step()
        del self.undo[since:]


class _Operation:
    __slots__ = ("future", "item", "verb")

    def __init__(self, verb: BatchVerb, item: Any, future: "asyncio.Future[Any]") -> None:
        self.verb = verb
        self.item = item
        self.future = future


class Writer:
    """Gathers operations on the event loop and commits them in batches on a thread of its own."""

    def __init__(self, connection: sa.Connection, verbs: Sequence[BatchVerb], give_up: Callable[[Any], None]) -> None:
        """`verbs` gives the order of a batch's operations; `give_up` gets the results that nobody takes any more."""
        self._give_up = give_up
        self._connection = connection
        self._order = {verb: position for position, verb in enumerate(verbs)}
        self._gathered: list[_Operation] = []
        self._batches: queue.SimpleQueue[list[_Operation] | None] = queue.SimpleQueue()
        self._is_writing = False
        self._plan: asyncio.Handle | None = None
        self._is_plan_patient = False
        self._is_urgent = False
        self._was_busy = False
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="tocsin-writer", daemon=True)
        self._thread.start()

    def submit(self, verb: BatchVerb, item: Any, *, is_patient: bool = False) -> "asyncio.Future[Any]":
        """Have one operation carried out; the future ends after the commit that made it durable.

        A patient one waits a little longer for others to share their commit with.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._is_closed:
            future.set_exception(StoreError("the database is closed"))
            return future
        self._gathered.append(_Operation(verb, item, future))
        self._is_urgent |= not is_patient
        if not self._is_writing:
            self._plan_flush()
        return future

    def close(self) -> None:
        """Carry out what was gathered, then end the thread."""
        self._is_closed = True
        self._is_writing = False
        self._flush()
        self._batches.put(None)
        self._thread.join()

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
        self._batches.put(batch)

    def _settled(self, batch: list[_Operation], results: list[Any]) -> None:
        self._is_writing = False
        for operation, result in zip(batch, results, strict=True):
            if operation.future.done():  # cancelled meanwhile
                self._give_up(result)
            elif isinstance(result, BaseException):
                operation.future.set_exception(result)
            else:
                operation.future.set_result(result)
        if self._gathered:
            self._plan_flush()

    # What follows runs on the writer's thread.

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            batch.sort(key=lambda operation: self._order[operation.verb])
            try:
                results = self._commit(batch)
            except Exception as error:  # noqa: BLE001 - each member of the batch is told
                results = [_as_store_error(error)] * len(batch)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._settled, batch, results)

    def _commit(self, batch: list[_Operation]) -> list[Any]:
        transaction = Transaction(self._connection)
        try:
            transaction.raw.execute("BEGIN IMMEDIATE")
            results: list[Any] = []
            for group in _groups(batch):
                results.extend(_carry_out(transaction, group[0].verb, [op.item for op in group]))
            transaction.raw.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - each member of the batch is told
            try:
                transaction.take_back()
            finally:
                if transaction.raw.in_transaction:
                    transaction.raw.execute("ROLLBACK")
            return [_as_store_error(error)] * len(batch)
        return results


def _groups(batch: list[_Operation]) -> list[list[_Operation]]:
    groups: list[list[_Operation]] = []
    for operation in batch:
        if groups and groups[-1][0].verb == operation.verb:
            groups[-1].append(operation)
        else:
            groups.append([operation])
    return groups


def _carry_out(transaction: Transaction, verb: BatchVerb, items: list[Any]) -> list[Any]:
    """Run a verb over its items together; when that fails, over each alone, so that a bad one fails alone."""
    mark = len(transaction.undo)
    transaction.raw.execute("SAVEPOINT batch")
    try:
        results = verb(transaction, items)
    except Exception as error:  # the member that caused it is told
        if not transaction.raw.in_transaction:
            raise  # a full disk ends the whole transaction
        transaction.raw.execute("ROLLBACK TO batch")
        transaction.raw.execute("RELEASE batch")
        transaction.take_back(mark)
        if len(items) == 1:
            return [_as_store_error(error)]
        return [result for item in items for result in _carry_out(transaction, verb, [item])]
    transaction.raw.execute("RELEASE batch")
    return results


def _as_store_error(error: Exception) -> Exception:
    """Translate what an operator can mend; leave bugs and domain errors as they are."""
    if isinstance(error, sa.exc.OperationalError):
        error = cast("Exception", error.orig)
    if isinstance(error, sqlite3.OperationalError):
        translated = StoreError(f"the database cannot write: {error}")
        translated.__cause__ = error
        return translated
    return error
