"""What becomes of deliveries beside sending: cancelled, expired, replayed, recovered and pruned."""

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.store.cast import APP, LIFETIME, Stage, list_ids, to_retry
from tocsin.errors import Conflict
from tocsin.ids import new_uuid7
from tocsin.model import Delivery, DeliveryReason, DeliveryState, Notifier, NotifierState
from tocsin.store import endings, schema
from tocsin.store.chores import find_chores
from tocsin.store.deliveries import find_delivery
from tocsin.store.endings import cancel_pending, cancel_unwanted, expire
from tocsin.store.notifiers import remove_all_notifiers, remove_notifier
from tocsin.store.port import IdempotencyKey
from tocsin.store.replays import count_recoverable, recover, replay
from tocsin.store.retention import prune

HOUR = timedelta(hours=1)


async def send(stage: Stage, notifier: Notifier, *, ends: DeliveryState) -> None:
    """Claim what is due for a notifier and end it."""
    for claim in await stage.claim(notifier):
        await (stage.deliver(claim) if ends is DeliveryState.DELIVERED else stage.fail(claim))


async def replay_now(stage: Stage, delivery: Delivery) -> str:
    now = stage.clock.now()
    return await stage.store.write(replay, delivery, at=now, expires_at=now + LIFETIME)


async def recover_now(
    stage: Stage, notifier: Notifier, since: datetime, until: datetime | None = None, limit: int = 100
) -> list[str]:
    """Recover, and tell the events that are on their way again; their number must be the one counted before."""
    now = stage.clock.now()
    counted = await stage.store.read(count_recoverable, notifier.id, since=since, until=until)
    before = {delivery.id for delivery in await stage.deliveries()}
    recovered = await stage.store.write(
        recover,
        notifier.id,
        since=since,
        until=until,
        before_id=new_uuid7("de"),
        limit=limit,
        at=now,
        expires_at=now + LIFETIME,
    )
    made = [delivery for delivery in await stage.deliveries() if delivery.id not in before]
    assert recovered == len(made) == min(counted, limit)
    assert all(delivery.replay_of and delivery.state == DeliveryState.PENDING for delivery in made)
    return [delivery.event_id for delivery in made]


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


async def test_a_replay_is_a_delivery_of_its_own(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    event = await stage.ingest()
    await send(stage, notifier, ends=DeliveryState.DELIVERED)
    first = await stage.delivery()
    stage.clock.advance(HOUR)
    replay_id = await replay_now(stage, first)
    [claim] = await stage.claim(notifier)
    assert (claim.delivery_id, claim.event_id, claim.attempt, claim.body) == (replay_id, event.id, 1, event.body)
    assert await stage.store.read(find_delivery, APP, first.id) == first
    again = await stage.store.read(find_delivery, APP, replay_id)
    assert again is not None
    assert again.replay_of == first.id


async def test_a_delivery_whose_event_is_gone_is_not_replayed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    await send(stage, notifier, ends=DeliveryState.FAILED)
    [delivery] = await stage.deliveries()
    await stage.store.write(remove_events)
    with pytest.raises(Conflict, match="is gone"):
        await replay_now(stage, delivery)
    assert await recover_now(stage, notifier, delivery.created_at) == []
    assert await stage.deliveries() == [delivery]


def remove_events(connection: sa.Connection) -> None:
    connection.execute(schema.events.delete())


class TestRecovery:
    async def test_failed_and_cancelled_deliveries_are_recovered(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        failed = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        cancelled = await stage.ingest()
        await stage.store.write(cancel_pending, notifier.id, reason=DeliveryReason.BY_USER, at=since)
        await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        await stage.ingest()
        assert await recover_now(stage, notifier, since) == [failed.id, cancelled.id]

    @pytest.mark.parametrize(
        ("from_hour", "until_hour", "limit", "expected"),
        [(0, None, 100, [0, 1, 2, 3]), (1, None, 100, [1, 2, 3]), (1, 3, 100, [1, 2]), (0, None, 2, [0, 1])],
    )
    async def test_since_and_until_are_times_of_receipt(
        self, stage: Stage, from_hour, until_hour, limit, expected
    ) -> None:
        notifier = await stage.add_notifier()
        start = stage.clock.now()
        events = []
        for _ in range(4):
            events.append((await stage.ingest()).id)
            stage.clock.advance(HOUR)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        until = None if until_hour is None else start + until_hour * HOUR
        recovered = await recover_now(stage, notifier, start + from_hour * HOUR, until, limit)
        assert recovered == [events[position] for position in expected]

    async def test_what_is_on_its_way_again_is_not_recovered_twice(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        event = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        assert await recover_now(stage, notifier, since) == [event.id]
        assert await recover_now(stage, notifier, since) == []
        await send(stage, notifier, ends=DeliveryState.FAILED)
        assert await recover_now(stage, notifier, since) == [event.id]

    async def test_a_replay_that_arrived_ends_the_matter(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        await replay_now(stage, await stage.delivery())
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        assert await recover_now(stage, notifier, since) == []

    async def test_a_replay_to_one_notifier_does_not_hide_what_another_missed(self, stage: Stage) -> None:
        one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
        since = stage.clock.now()
        event = await stage.ingest()
        for notifier in (one, two):
            await send(stage, notifier, ends=DeliveryState.FAILED)
        [first] = await stage.deliveries(notifier_id=one.id)
        await replay_now(stage, first)
        assert await recover_now(stage, one, since) == []
        assert await recover_now(stage, two, since) == [event.id]

    async def test_what_failed_after_the_recovery_began_is_left_for_the_next(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        began = new_uuid7("de")
        await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        recovered = await stage.store.write(
            recover,
            notifier.id,
            since=since,
            until=None,
            before_id=began,
            limit=9,
            at=since,
            expires_at=since + LIFETIME,
        )
        assert recovered == 0


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
