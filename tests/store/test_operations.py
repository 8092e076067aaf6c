"""What operators are told: every delivery under way counted once, by what it waits for, and never too many of them."""

import asyncpg
import pytest

from tests.store.cast import LEASE, Stage, to_retry
from tocsin.model import NotifierState
from tocsin.store import operations
from tocsin.store.migrate import newest_revision
from tocsin.store.operations import Queue, count_queue, describe_database, list_stopped, list_workers
from tocsin.store.postgres.peers import WORKER_NAME

READY = {"webhook", "slack"}


async def look(stage: Stage) -> Queue:
    return await stage.store.read(count_queue, ready=READY, at=stage.clock.now())


async def test_nothing_waits_where_there_is_nothing(stage: Stage) -> None:
    assert await look(stage) == Queue()


async def test_each_delivery_counts_for_what_it_waits_for(stage: Stage) -> None:
    began_at = stage.clock.now()
    sent = await stage.add_notifier("sent")
    await stage.ingest(stage.event(), stage.event(), stage.event())
    lost, again, _ = await stage.claim(sent)
    await stage.settle(to_retry(again, began_at, after=2 * LEASE))
    stage.clock.advance(LEASE / 2)
    for changes in ({"state": NotifierState.PAUSED}, {"platform": "email"}, {"state": NotifierState.FAILING}):
        await stage.add_notifier("kept back", **changes)
    await stage.ingest()
    found = await look(stage)
    assert (found.due, found.waiting, found.sending, found.held, found.late) == (1, 1, 2, 3, 0)
    assert (found.oldest_at, found.oldest_claimed_at) == (began_at, began_at)
    assert found.next_lease_end == began_at + LEASE
    assert found.is_whole
    await stage.deliver(lost)
    stage.clock.advance(LEASE)
    found = await look(stage)
    assert (found.due, found.waiting, found.sending, found.held, found.late) == (1, 1, 0, 3, 1)


async def test_of_many_deliveries_the_oldest_are_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "LOOKED_AT", 3)
    await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(3)))
    assert (await look(stage)).is_whole
    await stage.ingest(*(stage.event() for _ in range(9)))
    found = await look(stage)
    assert (found.due, found.is_whole) == (4, False)


async def test_notifiers_that_no_owner_stopped_are_listed_newest_first(stage: Stage) -> None:
    states = (*NotifierState, *NotifierState)
    made = [await stage.add_notifier(f"{number} {state}", state=state) for number, state in enumerate(states)]
    expected = [each for each in made[::-1] if each.state in {"failing", "holding", "disabled"}]
    first = await stage.store.read(list_stopped, before=None, limit=4)
    rest = await stage.store.read(list_stopped, before=first[-1].id, limit=4)
    assert [each.name for each in (*first, *rest)] == [each.name for each in expected]
    assert {each.app for each in first} == {"shop"}


async def test_workers_are_told_where_there_may_be_several(
    stage: Stage, store_kind: str, request: pytest.FixtureRequest
) -> None:
    if store_kind == "sqlite":
        assert await stage.store.read(list_workers) is None
        return
    assert await stage.store.read(list_workers) == []
    url = request.getfixturevalue("migrated_postgres_url")
    connection = await asyncpg.connect(url, server_settings={"application_name": WORKER_NAME})
    try:
        [worker] = await stage.store.read(list_workers) or []
        assert (worker.pid, worker.address) == (connection.get_server_pid(), "127.0.0.1")
    finally:
        await connection.close()


async def test_the_database_tells_its_version_and_size(stage: Stage, store_kind: str) -> None:
    found = await stage.store.read(describe_database)
    assert found.product == {"sqlite": "SQLite", "postgres": "PostgreSQL"}[store_kind]
    assert found.version.split(".")[0].isdigit()
    assert found.schema == newest_revision()
    assert found.size_bytes > 50_000
    is_file = store_kind == "sqlite"
    assert (found.free_bytes is not None, found.log_bytes is not None) == (is_file, is_file)
