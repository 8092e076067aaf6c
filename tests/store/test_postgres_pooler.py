"""Through a pooler in transaction mode nothing may rest on a connection: no prepared statement, no setting."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.postgres import PgBouncer
from tests.proxy import Moment, Proxy
from tests.sealer import SEALER
from tests.store.cast import APP, FakeDispatch, Stage, add_events, insert_cast, list_ids
from tocsin.clock import ManualClock
from tocsin.model import DeliveryState
from tocsin.store import schema
from tocsin.store.port import IdempotencyKey, NewEvents, Store
from tocsin.store.postgres import open_postgres


@pytest.fixture
async def pooled(
    postgres_url: str, pgbouncer: PgBouncer, clock: ManualClock, dispatch: FakeDispatch
) -> AsyncIterator[Stage]:
    url = pgbouncer.url(postgres_url.rpartition("/")[2])

    async def reopen() -> Store:
        return await open_postgres(
            url, direct_url=postgres_url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=3
        )

    store = await reopen()
    await store.write(insert_cast, clock.now())
    yield Stage(store, clock, dispatch, reopen)
    await store.close()


async def test_events_are_stored_claimed_and_settled_through_a_pooler(pooled: Stage) -> None:
    notifier = await pooled.add_notifier()
    for _ in range(3):
        await asyncio.gather(*(pooled.ingest() for _ in range(20)))
        for claim in await pooled.claim(notifier):
            assert await pooled.deliver(claim)
    delivered = [delivery.state for delivery in await pooled.deliveries()]
    assert delivered == [DeliveryState.DELIVERED] * 60


async def test_plain_verbs_of_two_processes_run_side_by_side_through_a_pooler(pooled: Stage) -> None:
    other = await pooled.reopen()
    stages = (pooled, Stage(other, pooled.clock, pooled.dispatch, pooled.reopen))
    for _ in range(3):
        await asyncio.gather(*(stage.add_notifier() for stage in stages for _ in range(5)))
        await asyncio.gather(*(stage.count(schema.notifiers) for stage in stages for _ in range(5)))
    assert await pooled.count(schema.notifiers) == 30
    await other.close()


async def test_keys_work_through_a_pooler(pooled: Stage) -> None:
    key = IdempotencyKey("once", b"hash")
    event = pooled.event()
    for _ in range(3):
        answer = await add_events(pooled.store, NewEvents(app_id=APP, events=(event,), idempotency=key))
        assert answer.bodies == (event.body,)
    assert await pooled.count(schema.events) == 1


async def test_a_signal_goes_past_the_pooler(pooled: Stage) -> None:
    other = await pooled.reopen()
    told = asyncio.Event()
    other.on_change_elsewhere(told.set)
    async with asyncio.timeout(10):
        await pooled.add_notifier()
        await told.wait()
    await other.close()


@pytest.mark.parametrize("moment", Moment)
async def test_an_event_is_stored_once_whenever_the_way_to_the_pooler_breaks(
    postgres_url: str, pgbouncer: PgBouncer, clock: ManualClock, dispatch: FakeDispatch, moment: Moment
) -> None:
    async with Proxy.started(pgbouncer.port) as proxy:
        url = proxy.url(postgres_url.rpartition("/")[2])
        store = await open_postgres(
            url, direct_url=postgres_url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2
        )
        await store.write(insert_cast, clock.now())
        drop = proxy.drop(moment, "INSERT INTO events")

        async def same() -> Store:
            return store

        event = Stage(store, clock, dispatch, same).event()
        await add_events(store, NewEvents(app_id=APP, events=(event,)))
        assert drop.happened.is_set()
        assert await store.read(list_ids, schema.events) == [event.id]
        await store.close()
