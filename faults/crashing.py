"""`tocsin serve` on SQLite that ends itself, as SIGKILL would, as it passes a point of its work for the n-th time.

Which and when stands in FAULTS_CRASH, as in `before_commit:7`. Tocsin knows nothing of it: its seams are wrapped here.
Run it as a script with `python -P`, for the modules beside it have names of their own.
"""

import asyncio
import functools
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command

import tocsin.cli
from tocsin.egress.connection import Connection
from tocsin.store.batches import Batches, Operation
from tocsin.store.sqlite.hot import HotVerbs

KILLED = 137
TOO_LATE = 138
"""A checkpoint was over before it could be broken off."""

SEND_SECONDS = 0.001
"""The loop writes after the turn in which it is asked to."""


class Crash:
    """Counts passings of its point."""

    def __init__(self, given: str) -> None:
        self.point, _, left = given.partition(":")
        self._left = int(left or "1")

    def passes(self, point: str) -> bool:
        """Whether it is time; only its own point counts."""
        if point == self.point:
            self._left -= 1
        return point == self.point and self._left <= 0

    def at(self, point: str) -> None:
        if self.passes(point):
            os._exit(KILLED)


CRASH = Crash(os.environ["FAULTS_CRASH"])
_DONE: set[str] = set()
"""What the transaction under way has done. The writer's thread alone looks at it."""


class CrashingConnection(sqlite3.Connection):
    """A connection whose commits are points."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE":
            _DONE.clear()
            _DONE.add("begun")
        if sql != "COMMIT" or "begun" not in _DONE or threading.current_thread().name != "tocsin-writer":
            return super().execute(sql, *arguments)
        for done, point in (("add_events", "before_commit"), ("settle", "before_ack")):
            if done in _DONE:
                CRASH.at(point)
        found = super().execute(sql)
        for done, point in (("add_events", "after_commit"), ("settle", "after_ack"), ("claim", "after_claim")):
            if done in _DONE:
                CRASH.at(point)
        if CRASH.passes("mid_checkpoint"):
            self._checkpoint_half()
        return found

    def _checkpoint_half(self) -> None:
        """Begin a checkpoint, and end the process once the database's file is being written."""
        path = Path(super().execute("PRAGMA database_list").fetchone()[2])
        before_ns = path.stat().st_mtime_ns

        def watch() -> None:
            while path.stat().st_mtime_ns == before_ns:
                pass
            os._exit(KILLED)

        threading.Thread(target=watch, daemon=True).start()
        super().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os._exit(TOO_LATE)


def _after(owner: Any, name: str, then: Callable[[Any, tuple[Any, ...]], None]) -> None:
    """Have something done with the result and the arguments whenever that method has returned."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        then(result, arguments)
        return result

    setattr(owner, name, wrapped)


def _note_events(_: Any, __: tuple[Any, ...]) -> None:
    _DONE.add("add_events")
    CRASH.at("after_insert")


def _note_claims(result: list[Any], _: tuple[Any, ...]) -> None:
    if any(claimed.claims for claimed in result):
        _DONE.add("claim")


def _crash_soon(_: Any, __: tuple[Any, ...]) -> None:
    if CRASH.passes("after_send"):
        asyncio.get_running_loop().call_later(SEND_SECONDS, os._exit, KILLED)


def _wrap_settled() -> None:
    original = Batches.settled

    def settled(self: Batches, batch: list[Operation], results: list[Any]) -> None:
        if any(operation.verb.__name__ == "add_events" for operation in batch):
            CRASH.at("before_201")
        original(self, batch, results)

    Batches.settled = settled  # type: ignore[method-assign]


def _wrap_migration() -> None:
    original = command.upgrade

    def upgrade(*arguments: Any) -> None:
        sa.event.listen(sa.Engine, "after_cursor_execute", lambda *_: CRASH.at("mid_migration"))
        original(*arguments)
        if CRASH.point == "mid_migration":
            os._exit(KILLED)  # it has fewer statements, and is not committed yet

    command.upgrade = upgrade  # type: ignore[assignment]


def main() -> None:
    setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=CrashingConnection))  # noqa: B010 - typed
    _after(HotVerbs, "add_events", _note_events)
    _after(HotVerbs, "claim", _note_claims)
    _after(HotVerbs, "settle", lambda *_: _DONE.add("settle"))
    _after(Connection, "send", _crash_soon)
    _wrap_settled()
    _wrap_migration()
    tocsin.cli.app()


if __name__ == "__main__":
    main()
