"""Group commit on SQLite: one thread owns the writing connection and carries out a batch in one transaction.

A member that fails is undone alone.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import sqlalchemy as sa

from tocsin.errors import NoRoom, StoreError
from tocsin.store.batches import Batches, Operation

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


class Writer(Batches):
    """Carries batches out on a thread of its own."""

    def __init__(self, connection: sa.Connection, verbs: Sequence[BatchVerb], give_up: Callable[[Any], None]) -> None:
        """`verbs` gives the order of a batch's operations; `give_up` gets the results that nobody takes any more."""
        self._batches: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        super().__init__(self._batches.put, give_up)
        self._connection = connection
        self._order = {verb: position for position, verb in enumerate(verbs)}
        self._thread = threading.Thread(target=self._run, name="tocsin-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Carry out what was gathered, then end the thread."""
        super().close()
        self._batches.put(None)
        self._thread.join()

    # What follows runs on the writer's thread.

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            batch.sort(key=lambda operation: self._order[operation.verb])
            try:
                results = self._commit(batch)
            except Exception as error:  # noqa: BLE001 - each member of the batch is told
                results = [_as_store_error(error)] * len(batch)
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.settled, batch, results)

    def _commit(self, batch: list[Operation]) -> list[Any]:
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


def _groups(batch: list[Operation]) -> list[list[Operation]]:
    groups: list[list[Operation]] = []
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
        is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        translated = NoRoom() if is_full else StoreError(f"the database cannot write: {error}")
        translated.__cause__ = error
        return translated
    return error
