"""Whether the store can serve, asked by whoever likes, as often as he likes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.cast import Stage
from tocsin.errors import StoreError
from tocsin.store.health import ANSWER_SECONDS, Readiness, check_store


@pytest.fixture
async def writes(stage: Stage) -> AsyncIterator[list[Callable[..., Any]]]:
    """The plain writes from here on."""
    written: list[Callable[..., Any]] = []
    write = stage.store.write

    async def note(verb: Callable[..., Any], *given: Any, **named: Any) -> Any:
        written.append(verb)
        return await write(verb, *given, **named)

    stage.store.write = note  # type: ignore[method-assign]  # counted, not changed
    return written


async def test_many_who_ask_cost_one_commit(stage: Stage, writes: list[Callable[..., Any]]) -> None:
    readiness = Readiness(stage.store, stage.clock)
    answers = await asyncio.gather(*(readiness.check() for _ in range(50)))
    assert (answers, len(writes)) == ([{}] * 50, 1)


async def test_an_answer_stands_for_a_second(stage: Stage) -> None:
    readiness = Readiness(stage.store, stage.clock)
    assert await readiness.check() == {}

    async def refuse(*_: Any, **__: Any) -> Any:
        raise StoreError("the database cannot write: full")

    stage.store.write = refuse  # type: ignore[method-assign]  # a disk cannot be filled here
    assert await readiness.check() == {}
    stage.clock.advance(ANSWER_SECONDS)
    assert await readiness.check() == {"database": "the database cannot write: full"}


@pytest.mark.parametrize(("version", "problems"), [("of-tomorrow", []), (None, ["schema"])], ids=["newer", "none"])
async def test_a_newer_schema_is_served_while_processes_are_replaced(
    stage: Stage, version: str | None, problems: list[str]
) -> None:
    def mark(connection: sa.Connection, version: str | None) -> str:
        known: str = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(sa.text("DELETE FROM alembic_version"))
        if version is not None:
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})
        return known

    def restore(connection: sa.Connection, known: str) -> None:
        connection.execute(sa.text("DELETE FROM alembic_version"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:version)"), {"version": known})

    known = await stage.store.write(mark, version)
    try:
        assert list(await check_store(stage.store)) == problems
    finally:
        # The tables may be those of other tests too, which would be migrated once more.
        await stage.store.write(restore, known)
