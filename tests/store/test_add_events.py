"""Accepting: an event is stored with its deliveries, once, or not at all."""

import asyncio

import msgspec
import pytest

from tests.store.cast import APP, OTHER_APP, Stage, add_events, list_ids
from tocsin.errors import Conflict
from tocsin.ids import new_uuid7
from tocsin.model import DeliveryState, NotifierState
from tocsin.store import schema
from tocsin.store.deliveries import new_delivery
from tocsin.store.events import find_event
from tocsin.store.fanouts import add_fanned_out, find_fanout
from tocsin.store.leases import release
from tocsin.store.notifiers import add_notifier
from tocsin.store.port import INLINE_FANOUT, Accepted, IdempotencyKey, NewEvent, NewEvents
from tocsin.store.retention import prune

KEY = IdempotencyKey("key-1", b"hash-1")


def request_of(*events: NewEvent, key: IdempotencyKey | None = None) -> NewEvents:
    return NewEvents(app_id=events[0].app_id or APP, events=events, idempotency=key)


async def test_an_event_is_stored_with_its_deliveries(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    event = stage.event()
    accepted = await add_events(stage.store, request_of(event))
    assert accepted == Accepted(bodies=(event.body,), waiting=frozenset({notifier.id}))
    assert await stage.store.read(find_event, APP, event.id) == event.body
    delivery = await stage.delivery()
    assert (delivery.event_id, delivery.notifier_id, delivery.state) == (event.id, notifier.id, DeliveryState.PENDING)
    assert delivery.next_attempt_at == event.received_at
    assert (delivery.event_type, delivery.attempt_count) == ("deployment", 0)


async def test_a_disabled_notifier_gets_no_delivery(stage: Stage) -> None:
    await stage.add_notifier(active=False, state=NotifierState.OFF)
    await stage.ingest()
    assert await stage.deliveries() == []


async def test_another_apps_notifier_gets_no_delivery(stage: Stage) -> None:
    await stage.add_notifier(app_id=OTHER_APP)
    await stage.ingest()
    assert await stage.deliveries() == []
    assert await stage.deliveries(OTHER_APP) == []


async def test_the_event_of_a_user_has_no_deliveries(stage: Stage) -> None:
    await stage.add_notifier()
    event = stage.event(app_id=None)
    assert (await add_events(stage.store, request_of(event))).bodies == (event.body,)
    assert await stage.deliveries() == []


async def test_bodies_come_back_in_the_order_sent(stage: Stage) -> None:
    events = [stage.event() for _ in range(5)][::-1]
    accepted = await add_events(stage.store, request_of(*events))
    assert accepted.bodies == tuple(event.body for event in events)


async def test_a_request_is_stored_all_or_none(stage: Stage) -> None:
    await stage.add_notifier()
    stage.dispatch.refuses_type = "crash"
    with pytest.raises(ZeroDivisionError):
        await stage.ingest(stage.event(), stage.event("crash"))
    assert await stage.count(schema.events) == 0
    assert await stage.deliveries() == []


async def test_a_bad_request_of_a_batch_fails_alone(stage: Stage) -> None:
    await stage.add_notifier()
    stage.dispatch.refuses_type = "crash"
    requests = [stage.ingest(stage.event("crash" if number == 3 else "deployment")) for number in range(8)]
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert [isinstance(result, ZeroDivisionError) for result in results] == [number == 3 for number in range(8)]
    assert len(await stage.deliveries()) == 7


async def test_of_two_events_with_one_id_in_a_batch_the_first_is_stored(stage: Stage) -> None:
    event = stage.event()
    results = await asyncio.gather(stage.ingest(event), stage.ingest(event), return_exceptions=True)
    assert results[0] == event
    assert isinstance(results[1], Exception)
    assert await stage.store.read(list_ids, schema.events) == [event.id]


async def test_a_repeated_idempotency_key_gives_the_first_bodies(stage: Stage) -> None:
    await stage.add_notifier()
    first = await add_events(stage.store, request_of(stage.event(), stage.event(), key=KEY))
    again = await add_events(stage.store, request_of(stage.event(), stage.event(), key=KEY))
    assert again == Accepted(bodies=first.bodies, is_replay=True)
    assert len(await stage.deliveries()) == 2


async def test_an_idempotency_key_used_for_another_request_is_a_conflict(stage: Stage) -> None:
    await stage.ingest(key=KEY)
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await stage.ingest(key=IdempotencyKey(KEY.key, b"hash-2"))
    assert await stage.count(schema.events) == 1


async def test_idempotency_keys_of_two_apps_do_not_meet(stage: Stage) -> None:
    await stage.ingest(key=KEY)
    await stage.ingest(stage.event(app_id=OTHER_APP), key=KEY)
    assert await stage.count(schema.events) == 2


async def test_one_key_sent_many_times_at_once_makes_one_event(stage: Stage) -> None:
    await stage.add_notifier()
    requests = [request_of(stage.event(), key=KEY) for _ in range(100)]
    answers = await asyncio.gather(*(add_events(stage.store, request) for request in requests))
    assert len({answer.bodies for answer in answers}) == 1
    assert [answer.is_replay for answer in answers].count(False) == 1
    assert len(await stage.deliveries()) == 1


async def test_a_key_whose_request_failed_can_be_used_again(stage: Stage) -> None:
    stage.dispatch.refuses_type = "crash"
    with pytest.raises(ZeroDivisionError):
        await stage.ingest(stage.event("crash"), key=KEY)
    accepted = await add_events(stage.store, request_of(stage.event(), key=KEY))
    assert not accepted.is_replay


async def test_a_dedup_key_gives_the_first_event(stage: Stage) -> None:
    await stage.add_notifier()
    first = await stage.ingest(stage.event(dedup_key="ce:1"))
    twice = [stage.event(dedup_key="ce:1"), stage.event(dedup_key="ce:2"), stage.event(dedup_key="ce:2")]
    accepted = await add_events(stage.store, request_of(*twice))
    assert accepted.bodies == (first.body, twice[1].body, twice[1].body)
    assert len(await stage.deliveries()) == 2


async def test_a_dedup_key_is_forgotten_with_its_event(stage: Stage) -> None:
    await stage.ingest(stage.event(dedup_key="ce:1"))
    stage.clock.advance(3600)
    now = stage.clock.now()
    await stage.store.write(prune, finished_before=now, keys_before=now, limit=10)
    event = stage.event(dedup_key="ce:1")
    assert (await add_events(stage.store, request_of(event))).bodies == (event.body,)


async def test_a_key_that_outlived_its_events_is_a_conflict(stage: Stage) -> None:
    await stage.ingest(key=KEY)
    stage.clock.advance(3600)
    now = stage.clock.now()
    await stage.store.write(prune, finished_before=now, keys_before=now.replace(year=2000), limit=10)
    with pytest.raises(Conflict, match="gone"):
        await stage.ingest(key=KEY)


async def test_a_delivery_is_handed_over_while_slots_are_free(stage: Stage) -> None:
    one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
    stage.dispatch.free = 1
    event = stage.event()
    accepted = await add_events(stage.store, request_of(event))
    [claim] = accepted.claims
    assert (claim.notifier, claim.body, claim.attempt) == (one, event.body, 1)
    assert accepted.waiting == {two.id}
    states = {delivery.notifier_id: delivery.state for delivery in await stage.deliveries()}
    assert states == {one.id: DeliveryState.SENDING, two.id: DeliveryState.PENDING}
    assert await stage.claim(one) == ()
    assert await stage.deliver(claim)
    [attempt] = await stage.attempts(claim.delivery_id)
    assert (attempt.number, attempt.response_status) == (1, 204)


async def test_nothing_is_handed_over_for_a_paused_notifier(stage: Stage) -> None:
    notifier = await stage.add_notifier(state=NotifierState.PAUSED)
    stage.dispatch.free = 1
    accepted = await add_events(stage.store, request_of(stage.event()))
    assert (accepted.claims, accepted.waiting) == ((), {notifier.id})


async def test_slots_are_given_back_when_a_request_is_not_stored(stage: Stage) -> None:
    await stage.add_notifier()
    event = await stage.ingest()
    stage.dispatch.free = 10
    good = [add_events(stage.store, request_of(stage.event())) for _ in range(3)]
    bad = add_events(stage.store, request_of(stage.event(), event))
    *answers, error = await asyncio.gather(*good, bad, return_exceptions=True)
    assert isinstance(error, Exception)
    assert sum(len(answer.claims) for answer in answers if isinstance(answer, Accepted)) == 3
    assert stage.dispatch.free == 7


async def test_a_store_lives_on_though_taking_back_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.add_notifier()
    event = await stage.ingest()
    stage.dispatch.free = 1
    with monkeypatch.context() as patched:
        patched.setattr(stage.dispatch, "give_back_slot", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await stage.ingest(stage.event(), event)
    await stage.ingest()
    assert len(await stage.deliveries()) == 2


async def test_a_changed_notifier_is_seen_by_the_next_event(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    await stage.edit_notifier(notifier, active=False, state=NotifierState.OFF)
    await stage.ingest()
    assert len(await stage.deliveries()) == 1


async def test_notifiers_are_read_once_until_a_write_may_have_changed_them(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    now = stage.clock.now()
    await stage.ingest()
    await stage.store.write(release, [], at=now)
    await stage.store.write(prune, finished_before=now.replace(year=2000), keys_before=now, limit=10)
    await stage.ingest()
    first, second = stage.dispatch.given
    assert second is first
    await stage.edit_notifier(notifier, name="another")
    await stage.ingest()
    assert stage.dispatch.given[-1] is not first


async def test_a_change_of_notifiers_that_is_undone_changes_no_routing(stage: Stage) -> None:
    notifier = await stage.add_notifier()

    def spoil(connection):
        add_notifier(connection, msgspec.structs.replace(notifier, id=new_uuid7("no")))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stage.store.write(spoil)
    accepted = await add_events(stage.store, request_of(stage.event()))
    assert accepted.waiting == {notifier.id}


class TestManyNotifiers:
    """Past INLINE_FANOUT the duty is recorded, and worked off in steps that may be repeated."""

    async def test_deliveries_are_made_in_the_transaction_up_to_the_limit(self, stage: Stage) -> None:
        await add_many(stage, INLINE_FANOUT)
        await stage.ingest()
        assert len(await stage.deliveries()) == INLINE_FANOUT
        assert await stage.store.read(find_fanout) is None

    async def test_past_the_limit_a_duty_is_recorded_instead(self, stage: Stage) -> None:
        ids = await add_many(stage, INLINE_FANOUT + 1)
        woken: list[int] = []
        stage.store.on_wake(lambda _: woken.append(1))
        event = await stage.ingest()
        assert woken == [1], "whoever works it off is told at once"
        assert await stage.deliveries() == []
        duty = await stage.store.read(find_fanout)
        assert duty is not None
        assert (duty.event_id, duty.event_type, duty.notifier_ids, duty.done_count) == (event.id, event.type, ids, 0)

    async def test_a_duty_is_done_once_though_its_steps_are_repeated(self, stage: Stage) -> None:
        ids = await add_many(stage, INLINE_FANOUT + 1)
        event = await stage.ingest()
        notifier = await stage.add_notifier("pattern")

        def rows(some: list[str]) -> list[dict]:
            at, expires_at = event.received_at, stage.dispatch.expires_at(event, notifier)
            what = {"app_id": event.app_id, "event_id": event.id, "event_type": event.type}
            return [new_delivery(**what, notifier_id=id_, at=at, expires_at=expires_at) for id_ in some]

        async def work_off(some: list[str], **counts: int) -> None:
            is_last = counts["done_count"] == len(ids)
            await stage.store.write(add_fanned_out, event.id, rows(some), **counts, is_last=is_last)

        for _ in range(2):
            await work_off(ids[:150], seen_count=0, done_count=150)
        duty = await stage.store.read(find_fanout)
        assert duty is not None
        assert duty.done_count == 150
        for _ in range(2):
            await work_off(ids[150:], seen_count=150, done_count=len(ids))
        assert await stage.store.read(find_fanout) is None
        assert sorted(delivery.notifier_id for delivery in await stage.deliveries()) == sorted(ids)


async def add_many(stage: Stage, count: int) -> list[str]:
    notifiers = await asyncio.gather(*(stage.add_notifier(str(number)) for number in range(count)))
    return sorted(notifier.id for notifier in notifiers)
