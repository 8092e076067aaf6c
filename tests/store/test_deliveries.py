"""What becomes of deliveries beside sending: cancelled, expired and pruned."""

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.store.cast import APP, LIFETIME, Stage, list_ids, send, to_retry
from tocsin.errors import Conflict
from tocsin.model import DeliveryReason, DeliveryState, NotifierState
from tocsin.store import endings, schema
from tocsin.store.chores import find_chores
from tocsin.store.deliveries import find_delivery
from tocsin.store.endings import cancel, cancel_pending, cancel_unwanted, expire
from tocsin.store.notifiers import remove_all_notifiers, remove_notifier
from tocsin.store.port import IdempotencyKey
from tocsin.store.retention import prune

HOUR = timedelta(hours=1)


async def test_turning_a_notifier_off_cancels_what_waits_for_it_alone(stage: Stage) -> None:
    one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
    await stage.ingest(stage.event(), stage.event())
    [under_way] = await stage.claim(one, 1)
    await stage.edit_notifier(one, active=False, state=NotifierState.OFF)
    [first, second] = await stage.deliveries(notifier_id=one.id)
    assert first.id == under_way.delivery_id
    assert first.state == DeliveryState.SENDING
    assert (second.state, second.reason) == (DeliveryState.CANCELLED, DeliveryReason.NOTIFIER_OFF)
    assert (second.next_attempt_at, second.finished_at) == (None, stage.clock.now())
    assert {delivery.state for delivery in await stage.deliveries(notifier_id=two.id)} == {DeliveryState.PENDING}


async def test_what_comes_back_to_a_notifier_turned_off_is_cancelled(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    await stage.edit_notifier(notifier, active=False, state=NotifierState.OFF)
    await stage.settle(to_retry(claim, stage.clock.now(), after=HOUR))
    assert await stage.store.write(cancel_unwanted, at=stage.clock.now()) == 1
    assert (await stage.delivery()).state == DeliveryState.CANCELLED


async def test_what_comes_back_to_a_removed_notifier_or_app_is_cancelled_with_its_reason(stage: Stage) -> None:
    removed, orphan = await stage.add_notifier("removed"), await stage.add_notifier("orphan")
    await stage.ingest()
    claims = [*await stage.claim(removed), *await stage.claim(orphan)]
    await stage.store.write(remove_notifier, removed.id, at=stage.clock.now())
    await stage.store.write(remove_all_notifiers, APP, last_event_id="none", at=stage.clock.now())
    for claim in claims:
        await stage.settle(to_retry(claim, stage.clock.now(), after=HOUR))
    assert (await stage.store.read(find_chores, stage.clock.now())).has_unwanted
    assert await stage.store.write(cancel_unwanted, at=stage.clock.now()) == 2
    reasons = {one.notifier_name: one.reason for one in await stage.deliveries()}
    assert reasons == {"removed": DeliveryReason.NOTIFIER_REMOVED, "orphan": DeliveryReason.APP_REMOVED}
    assert not (await stage.store.read(find_chores, stage.clock.now())).has_unwanted


async def test_removing_a_notifier_cancels_what_waits_and_keeps_the_log(stage: Stage) -> None:
    notifier = await stage.add_notifier("gone")
    await stage.ingest()
    await stage.store.write(remove_notifier, notifier.id, at=stage.clock.now())
    delivery = await stage.delivery()
    assert (delivery.state, delivery.reason) == (DeliveryState.CANCELLED, DeliveryReason.NOTIFIER_REMOVED)
    assert delivery.notifier_name == "gone"
    await stage.ingest()
    assert len(await stage.deliveries()) == 1


async def test_of_a_removed_app_only_the_last_event_is_delivered(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    last = await stage.ingest(stage.event("app_deleted"))
    await stage.store.write(remove_all_notifiers, APP, last_event_id=last.id, at=stage.clock.now())
    assert [claim.event_id for claim in await stage.claim(notifier)] == [last.id]
    [cancelled] = await stage.deliveries(state=DeliveryState.CANCELLED)
    assert cancelled.reason == DeliveryReason.APP_REMOVED


async def test_cancelling_ends_only_what_waits(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    await send(stage, notifier, ends=DeliveryState.DELIVERED)
    await stage.ingest()
    await stage.store.write(cancel_pending, notifier.id, reason=DeliveryReason.BY_USER, at=stage.clock.now())
    assert [delivery.state for delivery in await stage.deliveries()] == ["delivered", "cancelled"]


async def test_one_delivery_that_waits_is_cancelled(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(stage.event(), stage.event())
    first, second = await stage.deliveries()
    await stage.store.write(cancel, first.id, at=stage.clock.now())
    ended, left = await stage.deliveries()
    assert (ended.id, ended.state, ended.reason) == (first.id, DeliveryState.CANCELLED, DeliveryReason.BY_USER)
    assert (ended.finished_at, left) == (stage.clock.now(), second)
    assert [claim.delivery_id for claim in await stage.claim(notifier)] == [second.id]


async def test_what_is_being_sent_or_over_is_not_cancelled(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    with pytest.raises(Conflict, match="being sent at this moment"):
        await stage.store.write(cancel, claim.delivery_id, at=stage.clock.now())
    assert await stage.deliver(claim)
    with pytest.raises(Conflict, match="is over"):
        await stage.store.write(cancel, claim.delivery_id, at=stage.clock.now())
    assert (await stage.delivery()).state == DeliveryState.DELIVERED


async def test_of_a_claim_and_a_cancellation_at_once_one_wins(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(20)))
    waiting = {delivery.id for delivery in await stage.deliveries()}
    cancelling = [stage.store.write(cancel, delivery_id, at=stage.clock.now()) for delivery_id in sorted(waiting)]
    claiming = [stage.claim(notifier, 2) for _ in range(10)]
    turns = [each for pair in zip(cancelling[::2], claiming, cancelling[1::2], strict=True) for each in pair]
    results = await asyncio.gather(*turns, return_exceptions=True)
    claimed = {claim.delivery_id for result in results if isinstance(result, tuple) for claim in result}
    refused = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(each, Conflict) for each in refused)
    cancelled = {delivery.id for delivery in await stage.deliveries(state=DeliveryState.CANCELLED)}
    assert not claimed & cancelled
    assert len(cancelled) == 20 - len(refused)
    assert claimed == {delivery.id for delivery in await stage.deliveries(state=DeliveryState.SENDING)}


async def test_what_was_not_delivered_in_time_expires(stage: Stage) -> None:
    await stage.add_notifier()
    await stage.ingest()
    stage.clock.advance(LIFETIME - timedelta(seconds=1))
    assert await stage.store.write(expire, at=stage.clock.now()) == 0
    stage.clock.advance(1)
    assert await stage.store.write(expire, at=stage.clock.now()) == 1
    delivery = await stage.delivery()
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.EXPIRED)


async def test_what_waits_for_a_notifier_turned_off_is_cancelled_in_bounded_steps(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "STEP", 2)
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(5)))
    await stage.edit_notifier(notifier, active=False, state=NotifierState.OFF)
    assert len(await stage.deliveries(state=DeliveryState.PENDING)) == 3
    assert (await stage.store.read(find_chores, stage.clock.now())).has_unwanted
    counts = [await stage.store.write(cancel_unwanted, at=stage.clock.now(), limit=2) for _ in range(3)]
    assert counts == [2, 1, 0]
    cancelled = await stage.deliveries(state=DeliveryState.CANCELLED)
    assert [delivery.reason for delivery in cancelled] == [DeliveryReason.NOTIFIER_OFF] * 5


async def test_what_waits_for_a_removed_app_is_cancelled_in_bounded_steps(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "STEP", 2)
    await stage.add_notifier("one")
    await stage.add_notifier("two")
    await stage.ingest(stage.event(), stage.event())
    last = await stage.ingest(stage.event(endings.REMOVAL_TYPE))
    await stage.store.write(remove_all_notifiers, APP, last_event_id=last.id, at=stage.clock.now())
    assert len(await stage.deliveries(state=DeliveryState.CANCELLED)) == 2
    counts = [await stage.store.write(cancel_unwanted, at=stage.clock.now(), limit=9) for _ in range(2)]
    assert counts == [2, 0]
    assert {delivery.event_id for delivery in await stage.deliveries(state=DeliveryState.PENDING)} == {last.id}


async def test_expiry_stops_at_its_limit(stage: Stage) -> None:
    await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(5)))
    stage.clock.advance(LIFETIME)
    counts = [await stage.store.write(expire, at=stage.clock.now(), limit=3) for _ in range(3)]
    assert counts == [3, 2, 0]


async def test_what_is_over_leaves_the_live_deliveries(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(stage.event(), stage.event())
    [claim] = await stage.claim(notifier, 1)
    await stage.deliver(claim)
    await stage.store.write(cancel_pending, notifier.id, reason=DeliveryReason.BY_USER, at=stage.clock.now())
    assert (await stage.count(schema.deliveries), await stage.count(schema.finished_deliveries)) == (0, 2)
    assert [delivery.state for delivery in await stage.deliveries()] == ["delivered", "cancelled"]


async def test_what_waits_for_a_paused_notifier_is_held(stage: Stage) -> None:
    notifier = await stage.add_notifier(state=NotifierState.PAUSED)
    await stage.ingest()
    delivery = await stage.delivery()
    assert (delivery.state, delivery.reason) == (DeliveryState.PENDING, DeliveryReason.HELD)
    assert await stage.store.read(find_delivery, APP, delivery.id) == delivery
    await stage.edit_notifier(notifier, state=NotifierState.ACTIVE)
    assert (await stage.delivery()).reason is None


class TestPruning:
    async def prune(self, stage: Stage, *, limit: int = 1000, keys_before: datetime | None = None) -> int:
        now = stage.clock.now()
        keys_before = keys_before or now
        return await stage.store.write(prune, finished_before=now, keys_before=keys_before, limit=limit)

    async def test_ended_deliveries_go_with_their_attempts_and_events(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest(stage.event(), stage.event())
        await send(stage, notifier, ends=DeliveryState.FAILED)
        stage.clock.advance(HOUR)
        assert await self.prune(stage) == 4
        for table in (schema.events, schema.deliveries, schema.finished_deliveries, schema.attempts):
            assert await stage.count(table) == 0

    async def test_an_event_with_a_live_delivery_is_kept(self, stage: Stage) -> None:
        one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
        event = await stage.ingest()
        await send(stage, one, ends=DeliveryState.DELIVERED)
        stage.clock.advance(HOUR)
        await self.prune(stage)
        [left] = await stage.deliveries()
        assert left.notifier_id == two.id
        [claim] = await stage.claim(two)
        assert claim.body == event.body

    async def test_what_is_young_is_kept(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest()
        stage.clock.advance(HOUR)
        old_limit = stage.clock.now()
        young = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        stage.clock.advance(HOUR)
        assert await stage.store.write(prune, finished_before=old_limit, keys_before=old_limit, limit=9) == 0
        await self.prune(stage, limit=1)
        assert await stage.store.read(list_ids, schema.events) == [young.id]

    async def test_an_event_without_deliveries_goes_by_its_age(self, stage: Stage) -> None:
        await stage.ingest()
        stage.clock.advance(HOUR)
        young = await stage.ingest()
        await self.prune(stage)
        assert await stage.store.read(list_ids, schema.events) == [young.id]

    async def test_an_event_whose_deliveries_are_still_owed_is_kept(self, stage: Stage) -> None:
        event = await stage.ingest()
        owed = {"event_id": event.id, "app_id": APP, "notifier_ids": ["no-1"], "created_at": event.received_at}
        await stage.store.write(lambda connection: connection.execute(schema.fanouts.insert().values(**owed)) and None)
        stage.clock.advance(HOUR)
        assert await self.prune(stage) == 0

    async def test_pruning_stops_at_its_limit(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest(*(stage.event() for _ in range(5)))
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        stage.clock.advance(HOUR)
        await self.prune(stage, limit=2)
        assert await stage.count(schema.finished_deliveries) == 3

    async def test_a_store_prunes_until_nothing_old_is_left(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest(*(stage.event() for _ in range(5)), key=IdempotencyKey("old", b"1"))
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        await stage.edit_notifier(notifier, active=False)
        stage.clock.advance(timedelta(days=3))
        young = await stage.ingest()
        long_ago = stage.clock.now() - timedelta(days=2)
        await stage.store.prune(finished_before=long_ago, keys_before=long_ago)
        assert await stage.deliveries() == []
        assert await stage.store.read(list_ids, schema.events) == [young.id]
        assert await stage.count(schema.idempotency_keys) == await stage.count(schema.attempts) == 0

    async def test_idempotency_keys_go_by_their_age(self, stage: Stage) -> None:
        await stage.ingest(key=IdempotencyKey("old", b"1"))
        stage.clock.advance(HOUR)
        await stage.ingest(key=IdempotencyKey("young", b"2"))
        await self.prune(stage, keys_before=stage.clock.now())
        assert await stage.count(schema.idempotency_keys) == 1

    async def test_idempotency_keys_go_some_at_a_time(self, stage: Stage) -> None:
        for number in range(5):
            await stage.ingest(key=IdempotencyKey(str(number), b"1"))
        stage.clock.advance(HOUR)
        assert await self.prune(stage, limit=2) == 4
        assert await stage.count(schema.idempotency_keys) == 3
