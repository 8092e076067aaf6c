"""Tallies: whatever ends a delivery is counted once, in the transaction that ends it."""

import asyncio
from collections import Counter
from datetime import timedelta
from importlib import import_module

import asyncpg
import pytest
import sqlalchemy as sa

from tests.store.cast import APP, LEASE, OTHER_APP, Stage, delivered, insert, settle
from tests.store.tallied import ended, told
from tocsin.errors import StoreError
from tocsin.ids import first_uuid7, new_uuid7
from tocsin.model import DeliveryReason, DeliveryState, Notifier, NotifierState
from tocsin.store import schema
from tocsin.store.deliveries import find_last_finished
from tocsin.store.endings import cancel_pending, expire
from tocsin.store.leases import MAX_LOST_LEASES, give_up, reap_leases
from tocsin.store.notifiers import remove_notifier
from tocsin.store.postgres.partitions import FINISHED, add_partition
from tocsin.store.tallies import count_events, fold_tallies, prune_tallies, sum_by_app, sum_by_hour, sum_by_notifier
from tocsin.tallies import LATENCY_BOUNDS_MS, class_of, hour_of, start_of

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

END_ONE = """
INSERT INTO finished_deliveries (id, app_id, event_id, event_type, notifier_id, state, attempt_count,
                                 created_at, expires_at, finished_at)
VALUES ($1, 'a', 'e', 't', 'no-1', 'delivered', 1, $2, $2, $2)"""


def all_rows(connection: sa.Connection, table: sa.Table):
    return list(connection.execute(sa.select(table)))


async def check(stage: Stage) -> Counter:
    """Hold what was counted against the history; answers with how many ended in which state."""
    counted = told(await stage.store.read(all_rows, schema.tallies))
    assert counted == ended(await stage.store.read(all_rows, schema.finished_deliveries))
    states: Counter[str] = Counter()
    for (_, _, _, state, _), count in counted.items():
        states[state] += count
    return states


async def lose_leases(stage: Stage, notifier: Notifier) -> None:
    """Until the delivery is given up as poison."""
    for _ in range(MAX_LOST_LEASES):
        assert await stage.claim(notifier)
        stage.clock.advance(LEASE + MINUTE)
        await stage.store.write(reap_leases, lease_until=stage.clock.now(), at=stage.clock.now())


async def test_every_way_a_delivery_ends_is_counted_once(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    for _ in range(3):
        await stage.ingest(*(stage.event() for _ in range(3)))
        stage.clock.advance(MINUTE)
    first, second, *others = await stage.claim(notifier)
    assert await stage.deliver(first)
    assert await stage.deliver(first), "told once more"
    assert await stage.fail(second)
    assert await check(stage) == {"delivered": 1, "failed": 1}
    stage.clock.advance(LEASE / 2)
    together = [settle(stage.store, delivered(claim, stage.clock.now())) for claim in others[:4]]
    assert all(await asyncio.gather(*together))
    unreadable = others[4]
    await stage.store.write(give_up, [(unreadable.delivery_id, unreadable.lease_token)], at=stage.clock.now())
    assert await check(stage) == {"delivered": 5, "failed": 2}
    await stage.deliver(others[5])
    await stage.deliver(others[6])
    await stage.ingest()
    await lose_leases(stage, notifier)
    assert await check(stage) == {"delivered": 7, "failed": 3}
    await stage.ingest()
    stage.clock.advance(timedelta(days=8))
    await stage.store.write(expire, at=stage.clock.now())
    assert await check(stage) == {"delivered": 7, "failed": 4}
    await stage.ingest()
    await stage.store.write(cancel_pending, notifier.id, reason=DeliveryReason.NOTIFIER_OFF, at=stage.clock.now())
    await stage.ingest()
    await stage.store.write(remove_notifier, notifier.id, at=stage.clock.now())
    assert await check(stage) == {"delivered": 7, "failed": 4, "cancelled": 2}
    assert len(await stage.deliveries()) == 13


async def test_what_is_undone_is_not_counted(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()

    def cancel_and_fail(connection: sa.Connection) -> None:
        cancel_pending(connection, notifier.id, reason=DeliveryReason.BY_USER, at=stage.clock.now())
        raise StoreError("broken off")

    with pytest.raises(StoreError, match="broken off"):
        await stage.store.write(cancel_and_fail)
    assert await check(stage) == {}


async def test_a_batch_in_which_a_lease_was_lost_counts_the_others_alone(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(6)))
    claims = await stage.claim(notifier)
    lost = claims[2]
    await stage.store.write(give_up, [(lost.delivery_id, lost.lease_token)], at=stage.clock.now())
    stage.clock.advance(MINUTE / 60)
    answers = await asyncio.gather(*(stage.deliver(claim) for claim in claims))
    assert [claim for claim, answer in zip(claims, answers, strict=True) if not answer] == [lost]
    assert await check(stage) == {"delivered": 5, "failed": 1}


def finished_row(stage: Stage, latency: timedelta, **changes: object) -> dict[str, object]:
    at = stage.clock.now()
    values = {"app_id": APP, "event_id": "e", "event_type": "t", "notifier_id": "no-1", "state": "delivered"}
    times = {"created_at": at - latency, "expires_at": at, "finished_at": at}
    return {"id": new_uuid7("de"), "attempt_count": 1, **values, **times, **changes}


async def test_latencies_fall_into_the_classes_that_are_read(stage: Stage) -> None:
    moment = timedelta(microseconds=1)
    bounds = [timedelta(milliseconds=bound) for bound in LATENCY_BOUNDS_MS]
    latencies = [-HOUR, timedelta(), *bounds, *(bound - moment for bound in bounds), timedelta(days=9)]
    for latency in latencies:
        await stage.store.write(insert, schema.finished_deliveries, finished_row(stage, latency))
    assert await check(stage) == {"delivered": len(latencies)}
    assert {class_of(latency) for latency in latencies} == set(range(len(bounds) + 1))


def test_the_triggers_bounds_are_those_that_are_read() -> None:
    migration = import_module("tocsin.store.migrations.versions.0010_tallies")
    assert migration.BOUNDS == LATENCY_BOUNDS_MS
    assert sorted(set(LATENCY_BOUNDS_MS)) == list(LATENCY_BOUNDS_MS)


async def test_tallies_are_summed_by_app_hour_and_notifier(stage: Stage) -> None:
    now = hour_of(stage.clock.now())
    one, two = MINUTE, timedelta(milliseconds=1)
    made = [
        finished_row(stage, one),
        finished_row(stage, one),
        finished_row(stage, two, notifier_id="no-2", state="failed", reason="gone"),
        finished_row(stage, two, finished_at=stage.clock.now() - 2 * HOUR, created_at=stage.clock.now() - 2 * HOUR),
        finished_row(stage, two, app_id=OTHER_APP, notifier_id="no-3"),
    ]
    for row in made:
        await stage.store.write(insert, schema.finished_deliveries, row)
    read = stage.store.read
    by_app = {(each.app_id, each.hour, each.state): each.count for each in await read(sum_by_app, [APP, OTHER_APP], 0)}
    assert by_app == {
        (APP, now, "delivered"): 2,
        (APP, now, "failed"): 1,
        (APP, now - 2, "delivered"): 1,
        (OTHER_APP, now, "delivered"): 1,
    }
    late = class_of(one)
    by_hour = {(each.hour, each.state, each.latency): each.count for each in await read(sum_by_hour, APP, now - 1)}
    assert by_hour == {(now, "delivered", late): 2, (now, "failed", 0): 1}
    of_one = {(each.hour, each.state): each.count for each in await read(sum_by_hour, APP, 0, "no-2")}
    assert of_one == {(now, "failed"): 1}
    by_notifier = {(each.notifier_id, each.latency): each.count for each in await read(sum_by_notifier, APP, 0)}
    assert by_notifier == {("no-1", late): 2, ("no-1", 0): 1, ("no-2", 0): 1}


async def test_tallies_are_pruned_in_steps(stage: Stage) -> None:
    for hours in (5, 4, 3, 0):
        at = stage.clock.now() - hours * HOUR
        row = finished_row(stage, MINUTE, finished_at=at, created_at=at)
        await stage.store.write(insert, schema.finished_deliveries, row)
    before = stage.clock.now() - 2 * HOUR
    gone = [await stage.store.write(prune_tallies, before=before, limit=2) for _ in range(3)]
    assert (gone, await stage.count(schema.tallies)) == ([2, 1, 0], 1)


async def test_events_of_a_day_are_counted_by_app(stage: Stage) -> None:
    await stage.ingest()
    stage.clock.advance(HOUR)
    since = stage.clock.now()
    stage.clock.advance(MINUTE)
    await stage.ingest(*(stage.event() for _ in range(3)))
    assert await stage.store.read(count_events, [APP, OTHER_APP], since) == {APP: 3, OTHER_APP: 0}


async def test_the_last_outcome_of_each_notifier_is_found(stage: Stage) -> None:
    one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
    await stage.add_notifier("three", state=NotifierState.OFF, active=False, send_all_events=False)
    await stage.ingest()
    [old], [other] = await stage.claim(one), await stage.claim(two)
    await stage.deliver(old)
    await stage.fail(other)
    await stage.ingest()
    [new] = await stage.claim(one)
    await stage.fail(new)
    last = await stage.store.read(find_last_finished, APP)
    assert {name: (each.id, each.state) for name, each in last.items()} == {
        one.id: (new.delivery_id, DeliveryState.FAILED),
        two.id: (other.delivery_id, DeliveryState.FAILED),
    }
    assert await stage.store.read(find_last_finished, OTHER_APP) == {}


class TestManyConnections:
    @pytest.fixture
    def store_kind(self) -> str:
        return "postgres"

    async def test_processes_that_settle_at_once_count_everything_and_wait_for_nobody(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        for _ in range(10):
            await stage.ingest(*(stage.event() for _ in range(20)))
        claims = await stage.claim(notifier, 200)
        other = await stage.reopen()
        await asyncio.gather(
            *(
                settle((stage.store, other)[number % 2], delivered(claim, stage.clock.now()))
                for number, claim in enumerate(claims)
            )
        )
        await other.close()
        assert await check(stage) == {"delivered": 200}
        assert len({row.part for row in await stage.store.read(all_rows, schema.tallies)}) == 2

    async def test_a_transaction_that_counts_holds_up_no_other(self, stage: Stage, migrated_postgres_url: str) -> None:
        one, other = [await asyncpg.connect(migrated_postgres_url) for _ in range(2)]
        await other.execute("SET lock_timeout = '1s'")
        async with asyncio.timeout(10):
            async with one.transaction():
                await one.execute(END_ONE, new_uuid7("de"), stage.clock.now())
                await other.execute(END_ONE, new_uuid7("de"), stage.clock.now())
            await one.close()
            await other.close()
        assert await check(stage) == {"delivered": 2}
        assert await stage.count(schema.tallies) == 2

    async def test_what_is_counted_late_is_folded_too(self, stage: Stage, migrated_postgres_url: str) -> None:
        late = await asyncpg.connect(migrated_postgres_url)
        hour = 9 * 24 + 1
        at = start_of(hour_of(stage.clock.now()) - hour - (hour_of(stage.clock.now()) - hour) % 24 + 5)
        await late.execute(END_ONE, new_uuid7("de"), at)
        async with asyncio.timeout(10), late.transaction():
            await late.execute(END_ONE, new_uuid7("de"), at)
            folding = asyncio.create_task(stage.store.write(fold_tallies, at=stage.clock.now(), limit=10))
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while not await late.fetchval(waits):
                await asyncio.sleep(0)
        await folding
        await late.close()
        [row] = await stage.store.read(all_rows, schema.tallies)
        assert (row.hour % 24, row.count) == (0, 2)

    async def test_rows_that_move_to_a_days_partition_are_not_counted_again(
        self, stage: Stage, migrated_postgres_url: str
    ) -> None:
        day = stage.clock.now().replace(hour=0, minute=0, second=0) + timedelta(days=40)
        await stage.store.write(
            insert, schema.finished_deliveries, finished_row(stage, MINUTE, id=first_uuid7("de", day) + "-1")
        )
        await stage.store.write(add_partition, FINISHED, day)
        connection = await asyncpg.connect(migrated_postgres_url)
        moved = await connection.fetchval(f"SELECT count(*) FROM {FINISHED.partition(day)}")  # noqa: S608 - a name of ours
        await connection.execute(f"DROP TABLE {FINISHED.partition(day)}")
        await connection.close()
        assert moved == 1
        assert sum(told(await stage.store.read(all_rows, schema.tallies)).values()) == 1
