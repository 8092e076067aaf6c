"""What only a database with several processes and a network in between can do: locks, conflicts, lost connections."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from tests.postgres import PostgresServer
from tests.proxy import Moment, Proxy
from tests.sealer import SEALER
from tests.store.cast import APP, FakeDispatch, Stage, add_events, count_rows, delivered, insert_cast, settle
from tocsin.clock import ManualClock
from tocsin.errors import ConfigError, StoreError
from tocsin.model import DeliveryState
from tocsin.store import schema
from tocsin.store.notifiers import edit_notifier
from tocsin.store.port import IdempotencyKey, NewEvents, Store
from tocsin.store.postgres import PostgresStore, open_postgres


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[Proxy]:
    async with Proxy.started(postgres.port) as proxy:
        yield proxy


@pytest.fixture
async def far(postgres_url: str, proxy: Proxy, clock: ManualClock, dispatch: FakeDispatch) -> AsyncIterator[Stage]:
    """A store whose connections all go through the proxy."""
    url = proxy.url(postgres_url.rpartition("/")[2])

    async def reopen() -> Store:
        return await open_postgres(postgres_url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2)

    store = await open_postgres(url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2)
    await store.write(insert_cast, clock.now())
    yield Stage(store, clock, dispatch, reopen)
    await store.close()


@pytest.fixture
async def direct(postgres_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


Direct = "asyncpg.Connection[asyncpg.Record]"

EVERY_MOMENT = pytest.mark.parametrize("moment", Moment)

# Raises once, the first time that a row of the table is written; a sequence is not rolled back.
FAIL_ONCE = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('tries') = 1 THEN
    RAISE EXCEPTION 'met another' USING ERRCODE = '{code}';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER fail_once BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION fail_once()"""


@EVERY_MOMENT
async def test_an_event_is_stored_once_whenever_the_connection_drops(far: Stage, proxy: Proxy, moment: Moment) -> None:
    far.dispatch.free = 5
    await far.add_notifier()
    drop = proxy.drop(moment, "INSERT INTO events")
    await far.ingest()
    assert drop.happened.is_set()
    assert await far.count(schema.events) == 1
    assert len(await far.deliveries()) == 1
    assert far.dispatch.free == 4


@EVERY_MOMENT
@pytest.mark.parametrize("statement", ["idempotency_keys", "INSERT INTO events", "^COMMIT"])
async def test_an_event_with_a_key_is_stored_once_whenever_the_connection_drops(
    far: Stage, proxy: Proxy, moment: Moment, statement: str
) -> None:
    key = IdempotencyKey("once", b"hash")
    await far.add_notifier()
    drop = proxy.drop(moment, statement)
    event = far.event()
    await far.ingest(event, key=key)
    assert drop.happened.is_set()
    assert await far.count(schema.events) == 1
    replay = await add_events(far.store, NewEvents(app_id=APP, events=(far.event(),), idempotency=key))
    assert replay.is_replay
    assert replay.bodies == (event.body,)


@EVERY_MOMENT
async def test_an_outcome_is_recorded_whenever_the_connection_drops(far: Stage, proxy: Proxy, moment: Moment) -> None:
    notifier = await far.add_notifier()
    await far.ingest()
    [claim] = await far.claim(notifier)
    drop = proxy.drop(moment, "finished_deliveries")
    assert await far.deliver(claim) is True
    assert drop.happened.is_set()
    assert (await far.delivery()).state is DeliveryState.DELIVERED
    assert len(await far.attempts(claim.delivery_id)) == 1


@EVERY_MOMENT
async def test_a_claim_is_made_once_whenever_the_connection_drops(far: Stage, proxy: Proxy, moment: Moment) -> None:
    notifier = await far.add_notifier()
    await far.ingest()
    drop = proxy.drop(moment, "SET state = 'sending'")
    [claim] = await far.claim(notifier)
    assert drop.happened.is_set()
    assert claim.attempt == 1
    assert (await far.delivery()).attempt_count == 1


async def test_a_stop_gives_back_what_a_claim_leased_that_was_broken_off(far: Stage, proxy: Proxy) -> None:
    notifier = await far.add_notifier()
    assert await far.claim(notifier) == ()  # over a connection that stays
    await far.ingest()
    proxy.refuse()
    drop = proxy.drop(Moment.UNSENT, r"min\(next_attempt_at\)")  # asked once the lease is committed
    with pytest.raises(StoreError):
        await far.claim(notifier)
    assert drop.happened.is_set()
    await proxy.accept()
    await far.store.close()
    later = Stage(await far.reopen(), far.clock, far.dispatch, far.reopen)
    delivery = await later.delivery()
    assert (delivery.state, delivery.attempt_count) == (DeliveryState.PENDING, 0)
    await later.store.close()


async def test_a_plain_write_is_repeated_when_the_connection_drops_before_its_end(far: Stage, proxy: Proxy) -> None:
    drop = proxy.drop(Moment.UNANSWERED, "INSERT INTO notifiers")
    await far.add_notifier()
    assert drop.happened.is_set()
    assert await far.count(schema.notifiers) == 1


async def test_a_plain_write_whose_commit_was_not_answered_is_not_repeated(far: Stage, proxy: Proxy) -> None:
    drop = proxy.drop(Moment.UNANSWERED, "^COMMIT")
    with pytest.raises(StoreError):
        await far.add_notifier()
    assert drop.happened.is_set()
    assert await far.count(schema.notifiers) == 1


async def test_a_read_goes_on_over_a_new_connection(far: Stage, proxy: Proxy) -> None:
    await far.ingest()
    proxy.cut()
    assert await far.count(schema.events) == 1


async def test_everything_fails_while_the_database_is_away_and_works_when_it_is_back(far: Stage, proxy: Proxy) -> None:
    far.dispatch.free = 3
    notifier = await far.add_notifier()
    proxy.refuse()
    proxy.cut()
    with pytest.raises(StoreError):
        await far.ingest()
    with pytest.raises(StoreError):
        await far.claim(notifier)
    with pytest.raises(StoreError):
        await far.store.read(count_rows, schema.events)
    with pytest.raises(StoreError):
        await far.edit_notifier(notifier, name="other")
    assert far.dispatch.free == 3
    await proxy.accept()
    await far.ingest()
    assert await far.count(schema.events) == 1


@pytest.mark.parametrize("code", ["40001", "40P01"])
@pytest.mark.parametrize(
    ("table", "when"),
    [("events", "INSERT"), ("deliveries", "UPDATE"), ("deliveries", "DELETE"), ("notifiers", "INSERT")],
)
async def test_what_met_another_transaction_is_repeated(
    far: Stage, direct: Direct, table: str, when: str, code: str
) -> None:
    far.dispatch.free = 0
    trigger = FAIL_ONCE.format(table=table, when=when, code=code)
    await direct.execute(trigger.replace("RETURN NEW", "RETURN OLD") if when == "DELETE" else trigger)
    notifier = await far.add_notifier()
    await far.ingest()
    [claim] = await far.claim(notifier)
    assert claim.attempt == 1
    assert await far.deliver(claim) is True
    assert await direct.fetchval("SELECT last_value FROM tries") >= 2
    assert (await far.delivery()).state is DeliveryState.DELIVERED


async def test_a_claim_passes_over_what_another_has_locked(far: Stage, direct: Direct) -> None:
    notifier = await far.add_notifier()
    await far.ingest(far.event(), far.event())
    first, second = await far.deliveries()
    async with direct.transaction():
        await direct.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", first.id)
        assert [claim.delivery_id for claim in await far.claim(notifier)] == [second.id]
    assert [claim.delivery_id for claim in await far.claim(notifier)] == [first.id]


async def test_an_outcome_whose_row_is_locked_can_be_recorded_later_and_holds_nobody_up(
    far: Stage, direct: Direct
) -> None:
    notifier = await far.add_notifier()
    await far.ingest(far.event(), far.event())
    locked, free = await far.claim(notifier)
    async with direct.transaction():
        await direct.execute("SELECT FROM deliveries WHERE id = $1 FOR UPDATE", locked.delivery_id)
        outcomes = [settle(far.store, delivered(claim, far.clock.now())) for claim in (locked, free)]
        refused, settled = await asyncio.gather(*outcomes, return_exceptions=True)
    assert isinstance(refused, StoreError)
    assert settled is True
    assert await far.deliver(locked) is True


async def test_two_workers_never_claim_the_same(far: Stage) -> None:
    notifier = await far.add_notifier()
    await far.ingest(*(far.event() for _ in range(40)))
    other = await far.reopen()
    claims = []
    for _ in range(10):
        far.clock.advance(1)  # long enough for what the one leaves to the other
        mine, theirs = await asyncio.gather(far.store.claim({notifier.id: 3}), other.claim({notifier.id: 3}))
        claims += [*mine.claims, *theirs.claims]
    await other.close()
    assert len(claims) == len({claim.delivery_id for claim in claims}) == 40


async def test_each_worker_leaves_to_the_others_what_is_theirs_for_a_moment(far: Stage) -> None:
    notifier = await far.add_notifier()
    slots = {notifier.id: 100}
    pace_seconds = far.store.claim_pace_seconds
    stores = [far.store, await far.reopen()]
    for store in stores:
        await store.claim(slots)
    async with asyncio.timeout(20):
        shares = [0, 0]
        while not all(shares):  # they look who else is there every few seconds
            await far.ingest(*(far.event() for _ in range(20)))
            claimed = [(await store.claim(slots)).claims for store in stores]
            shares = [len(claims) for claims in claimed]
            for claim in itertools.chain.from_iterable(claimed):
                await far.deliver(claim)
    assert sum(shares) == 20, "together they have all, and none twice"
    assert [store.claim_pace_seconds for store in stores] == [2 * pace_seconds] * 2, "they claim as often as one alone"
    await stores[1].close()


async def test_a_notifier_that_another_process_adds_gets_the_next_event(far: Stage) -> None:
    await far.ingest()
    other = await far.reopen()
    elsewhere = Stage(other, far.clock, far.dispatch, far.reopen)
    notifier = await elsewhere.add_notifier()
    await far.ingest()
    assert [delivery.notifier_id for delivery in await far.deliveries()] == [notifier.id]
    await elsewhere.edit_notifier(notifier, active=False)
    await far.ingest()
    assert len(await far.deliveries()) == 1
    await other.close()


async def test_a_notifier_that_another_process_changed_is_claimed_as_it_is_now(far: Stage) -> None:
    notifier = await far.add_notifier()
    await far.ingest(far.event(), far.event())
    await far.store.claim({notifier.id: 1})
    other = await far.reopen()
    await Stage(other, far.clock, far.dispatch, far.reopen).edit_notifier(notifier, name="renamed")
    [claim] = await far.claim(notifier)
    assert claim.notifier.name == "renamed"
    await other.close()


async def test_a_key_that_two_processes_use_at_once_makes_one_event(far: Stage) -> None:
    other = await far.reopen()
    stores = (far.store, other)
    for number in range(10):
        key = IdempotencyKey(f"key {number}", b"hash")
        news = [NewEvents(app_id=APP, events=(far.event(),), idempotency=key) for _ in stores]
        answers = await asyncio.gather(*(add_events(store, new) for store, new in zip(stores, news, strict=True)))
        assert answers[0].bodies == answers[1].bodies
    await other.close()
    assert await far.count(schema.events) == 10


async def test_a_signal_reaches_the_other_processes_and_names_the_notifiers(far: Stage) -> None:
    other = await far.reopen()
    heard: asyncio.Queue[frozenset[str] | None] = asyncio.Queue()
    notifier = await far.add_notifier()
    other.on_wake(heard.put_nowait)
    async with asyncio.timeout(10):
        await far.edit_notifier(notifier, name="renamed")
        assert await heard.get() is None
        while True:
            await far.ingest()
            if await heard.get() == {notifier.id}:
                break
    await other.close()


async def test_a_change_elsewhere_makes_a_process_forget(far: Stage) -> None:
    other = await far.reopen()
    told = asyncio.Event()
    other.on_change_elsewhere(told.set)
    async with asyncio.timeout(10):
        await far.add_notifier()
        await told.wait()
    await other.close()


async def test_a_change_beside_hot_statements_waits_for_no_lock_longer_than_it_may(far: Stage, direct: Direct) -> None:
    notifier = await far.add_notifier()
    async with direct.transaction():
        await direct.execute("SELECT FROM notifiers WHERE id = $1 FOR UPDATE", notifier.id)
        with pytest.raises(StoreError, match="lock timeout"):
            await far.store.write(edit_notifier, notifier)
    await far.store.write(edit_notifier, notifier)


@pytest.mark.parametrize("setting", ["synchronous_commit"])
async def test_a_database_that_does_not_sync_is_refused(
    postgres_url: str, direct: Direct, clock: ManualClock, dispatch: FakeDispatch, setting: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    await direct.execute(f'ALTER DATABASE "{name}" SET {setting} = off')
    with pytest.raises(ConfigError, match=setting):
        await open_postgres(postgres_url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2)


async def test_a_database_that_cannot_be_reached_is_told_from_one_that_is_not_there(
    postgres_url: str, clock: ManualClock, dispatch: FakeDispatch
) -> None:
    with pytest.raises(ConfigError, match=r"TOCSIN_DATABASE_URL.*nowhere"):
        await open_postgres(f"{postgres_url}-nowhere", clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2)
    with pytest.raises(StoreError, match=r"cannot reach postgresql://127\.0\.0\.1:1/there"):
        await open_postgres(
            "postgresql://me:secret@127.0.0.1:1/there", clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2
        )


async def test_several_processes_may_start_at_once(
    postgres_url: str, clock: ManualClock, dispatch: FakeDispatch
) -> None:
    def start() -> "asyncio.Future[PostgresStore]":
        return asyncio.ensure_future(
            open_postgres(postgres_url, clock=clock, dispatch=dispatch, sealer=SEALER, pool_size=2)
        )

    stores = await asyncio.gather(*(start() for _ in range(5)))
    for store in stores:
        await store.close()


async def test_days_are_made_ahead_and_dropped_when_they_are_past(far: Stage, direct: Direct) -> None:
    notifier = await far.add_notifier()
    kept = await far.ingest()
    [claim] = await far.claim(notifier)
    await far.deliver(claim)
    names = "SELECT relname FROM pg_class WHERE relname LIKE 'events\\_2%' ORDER BY relname"
    before = [row["relname"] for row in await direct.fetch(names)]
    assert f"events_{far.clock.now():%Y%m%d}" in before
    await far.edit_notifier(notifier, active=False)
    far.clock.advance(timedelta(days=31))
    waiting = await far.ingest()
    now = far.clock.now()
    await far.store.prune(finished_before=now - timedelta(days=32), keys_before=now)
    assert await far.count(schema.events) == 2
    await far.store.prune(finished_before=now - timedelta(days=29), keys_before=now)
    assert await far.store.read(_event_ids) == [waiting.id]
    assert kept.id != waiting.id
    assert await far.deliveries() == []
    assert await direct.fetchval("SELECT count(*) FROM attempts") == 0
    after = [row["relname"] for row in await direct.fetch(names)]
    assert before[0] not in after
    assert f"events_{now:%Y%m%d}" in after


def _event_ids(connection):
    return list(connection.exec_driver_sql("SELECT id FROM events ORDER BY id").scalars())
