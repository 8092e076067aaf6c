"""Plain verbs: undone when they raise, seen once they return, refused in plain words while the database is away."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.cast import APP, Stage, add_events, count_rows, insert
from tocsin.errors import StoreError
from tocsin.ids import new_uuid7
from tocsin.store import schema
from tocsin.store.deliveries import DeliveryFilter, list_deliveries
from tocsin.store.notifiers import list_notifiers
from tocsin.store.port import NewEvents


def meanwhile(connection: sa.Connection, work: Coroutine[Any, Any, object], loop: asyncio.AbstractEventLoop) -> None:
    """Have something done in the middle of a verb: on SQLite it runs on a thread, on PostgreSQL on the loop itself."""
    if connection.dialect.name == "sqlite":
        asyncio.run_coroutine_threadsafe(work, loop).result(10)
    else:
        sa.util.await_only(work)


def add_variable(connection: sa.Connection, name: str) -> None:
    insert(connection, schema.variables, {"id": new_uuid7("va"), "app_id": APP, "name": name, "value": "1"})


def add_variable_and_fail(connection: sa.Connection, name: str) -> None:
    add_variable(connection, name)
    raise ZeroDivisionError


async def test_a_write_is_seen_by_every_read_after_it(stage: Stage) -> None:
    for number in range(20):
        await stage.store.write(add_variable, f"v{number}")
        assert await stage.count(schema.variables) == number + 1


async def test_a_verb_that_raises_is_undone(stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError):
        await stage.store.write(add_variable_and_fail, "spoilt")
    assert await stage.count(schema.variables) == 0


async def test_others_of_the_same_batch_survive_a_verb_that_raises(stage: Stage) -> None:
    verbs = [add_variable_and_fail if number in {0, 4} else add_variable for number in range(9)]
    writes = (stage.store.write(verb, f"v{number}") for number, verb in enumerate(verbs))
    results = await asyncio.gather(*writes, stage.ingest(), return_exceptions=True)
    assert [number for number, result in enumerate(results) if isinstance(result, ZeroDivisionError)] == [0, 4]
    assert await stage.count(schema.variables) == 7
    assert await stage.count(schema.events) == 1


async def test_a_broken_constraint_is_told_to_its_writer_alone(stage: Stage) -> None:
    await stage.store.write(add_variable, "once")
    results = await asyncio.gather(
        stage.store.write(add_variable, "once"), stage.store.write(add_variable, "other"), return_exceptions=True
    )
    assert isinstance(results[0], sa.exc.IntegrityError)
    assert results[1] is None


async def test_verbs_answer_with_what_they_return(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    assert await stage.store.write(list_notifiers, APP) == [notifier]
    assert await stage.store.read(list_notifiers, APP) == [notifier]


async def test_readers_cannot_write(stage: Stage) -> None:
    with pytest.raises(StoreError):
        await stage.store.read(add_variable, "sneaked")
    assert await stage.count(schema.variables) == 0


async def test_a_read_sees_one_moment_throughout(stage: Stage) -> None:
    loop = asyncio.get_running_loop()

    def count_twice(connection: sa.Connection) -> tuple[int, int]:
        before = count_rows(connection, schema.variables)
        meanwhile(connection, stage.store.write(add_variable, "between"), loop)
        return before, count_rows(connection, schema.variables)

    assert await stage.store.read(count_twice) == (0, 0)
    assert await stage.count(schema.variables) == 1


async def test_a_read_that_raises_leaves_its_connection_usable(stage: Stage) -> None:
    def fail(connection: sa.Connection) -> None:
        count_rows(connection, schema.variables)
        raise ZeroDivisionError

    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            await stage.store.read(fail)
    assert await stage.count(schema.variables) == 0


async def test_a_plain_write_wakes_and_a_failed_one_does_not(stage: Stage) -> None:
    woken: list[frozenset[str] | None] = []
    stage.store.on_wake(woken.append)
    with pytest.raises(ZeroDivisionError):
        await stage.store.write(add_variable_and_fail, "spoilt")
    assert woken == []
    await stage.store.write(add_variable, "done")
    assert woken == [None], "anything may have changed"


async def test_a_write_whose_caller_left_is_carried_out_all_the_same(stage: Stage) -> None:
    write = asyncio.ensure_future(stage.store.write(add_variable, "left"))
    await asyncio.sleep(0)
    write.cancel()
    await stage.store.write(add_variable, "stayed")
    assert await stage.count(schema.variables) == 2


async def test_a_write_whose_caller_left_wakes_all_the_same(stage: Stage) -> None:
    woken = asyncio.Event()
    stage.store.on_wake(lambda _: woken.set())
    write = asyncio.ensure_future(stage.store.write(add_variable, "left"))
    await asyncio.sleep(0)
    write.cancel()
    async with asyncio.timeout(10):
        await woken.wait()


async def test_everything_is_refused_once_the_store_is_closed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    await stage.store.close()
    for call in (
        stage.deliver(claim),
        stage.claim(notifier),
        add_events(stage.store, NewEvents(app_id=APP, events=(stage.event(),))),
        stage.store.write(add_variable, "late"),
        stage.store.read(list_deliveries, APP, DeliveryFilter(), limit=1, offset=0),
    ):
        with pytest.raises(StoreError, match="closed"):
            await call


async def test_what_was_gathered_is_carried_out_by_closing(stage: Stage) -> None:
    writes = [asyncio.ensure_future(stage.store.write(add_variable, f"v{number}")) for number in range(3)]
    await asyncio.sleep(0)
    await stage.store.close()
    assert await asyncio.gather(*writes) == [None] * 3
    again = await stage.reopen()
    assert await again.read(count_rows, schema.variables) == 3
    await again.close()
