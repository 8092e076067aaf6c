"""Leasing what is due, and recording how an attempt ended under the lease it was made with."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from tests.store.cast import LEASE, LIFETIME, Stage, delivered, failed, to_retry
from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState, NotifierState, Reason
from tocsin.store.leases import MAX_LOST_LEASES, SUSPECT_LOST_LEASES, give_up, list_due_notifiers, reap_leases, release
from tocsin.store.notifiers import remove_notifier
from tocsin.store.port import Claim, Claimed, Settlement

MINUTE = timedelta(minutes=1)
PLATFORMS = ("webhook",)


async def test_a_claim_counts_the_attempt_and_leases_the_delivery(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    event = await stage.ingest()
    [claim] = await stage.claim(notifier)
    assert (claim.event_id, claim.event_type, claim.body) == (event.id, event.type, event.body)
    assert (claim.attempt, claim.notifier, claim.app_id) == (1, notifier, notifier.app_id)
    assert (claim.claimed_at, claim.expires_at) == (stage.clock.now(), event.received_at + LIFETIME)
    delivery = await stage.delivery()
    assert (delivery.state, delivery.attempt_count) == (DeliveryState.SENDING, 1)
    assert delivery.next_attempt_at is None


async def test_what_is_not_due_is_not_claimed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    assert await stage.settle(to_retry(claim, stage.clock.now(), after=MINUTE))
    due_at = stage.clock.now() + MINUTE
    assert await stage.store.claim({notifier.id: 5}) == Claimed(claims=(), next_due={notifier.id: due_at})
    stage.clock.advance(MINUTE)
    [again] = await stage.claim(notifier)
    assert (again.delivery_id, again.attempt) == (claim.delivery_id, 2)


async def test_a_claim_takes_at_most_the_slots_given_and_the_earliest_due(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    late = await stage.ingest()
    [claim] = await stage.claim(notifier)
    await stage.settle(to_retry(claim, stage.clock.now(), after=MINUTE))
    middle = await stage.ingest(stage.event(), stage.event())
    stage.clock.advance(MINUTE)
    claimed = await stage.store.claim({notifier.id: 2})
    assert late.id not in {claim.event_id for claim in claimed.claims}
    assert middle.id in {claim.event_id for claim in claimed.claims}
    assert claimed.next_due == {}
    [last] = await stage.claim(notifier, 2)
    assert last.event_id == late.id


async def test_of_equally_due_deliveries_the_oldest_are_claimed_first(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(10)))
    ids = [delivery.id for delivery in await stage.deliveries()]
    assert [claim.delivery_id for claim in await stage.claim(notifier, 4)] == ids[:4]
    assert [claim.delivery_id for claim in await stage.claim(notifier, 4)] == ids[4:8]


async def test_claims_of_several_notifiers_are_separate(stage: Stage) -> None:
    one, two, three = [await stage.add_notifier(name) for name in ("one", "two", "three")]
    await stage.ingest(stage.event(), stage.event())
    claimed = await stage.store.claim({one.id: 1, two.id: 9})
    owners = sorted(claim.notifier.name for claim in claimed.claims)
    assert owners == ["one", "two", "two"]
    assert claimed.next_due == {two.id: None}
    assert len(await stage.deliveries(notifier_id=three.id, state=DeliveryState.PENDING)) == 2


async def test_two_claims_never_overlap(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(50)))
    claims = await asyncio.gather(*(stage.claim(notifier, 7) for _ in range(10)))
    ids = [claim.delivery_id for some in claims for claim in some]
    assert len(ids) == len(set(ids)) == 50


async def test_paused_disabled_and_failing_notifiers_are_not_claimed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    for state in NotifierState:
        if state not in {NotifierState.ACTIVE, NotifierState.OFF}:
            await stage.edit_notifier(notifier, state=state)
            assert await stage.store.claim({notifier.id: 1}) == Claimed(claims=(), next_due={notifier.id: None})
    await stage.edit_notifier(notifier, state=NotifierState.ACTIVE)
    assert len(await stage.claim(notifier)) == 1


async def test_removed_and_unknown_notifiers_are_not_claimed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    await stage.store.write(remove_notifier, notifier.id, at=stage.clock.now())
    claimed = await stage.store.claim({notifier.id: 1, "no-such": 1})
    assert claimed == Claimed(claims=(), next_due={notifier.id: None, "no-such": None})


async def test_what_this_process_cannot_send_is_not_claimed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    stage.dispatch.unsendable.add(notifier.id)
    assert await stage.claim(notifier) == ()


async def test_a_delivered_attempt_ends_the_delivery(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    settlement = delivered(claim, stage.clock.now())
    assert await stage.settle(settlement)
    delivery = await stage.delivery()
    assert (delivery.state, delivery.finished_at) == (DeliveryState.DELIVERED, stage.clock.now())
    assert await stage.attempts(claim.delivery_id) == [settlement.attempt]
    stage.clock.advance(LEASE * 2)
    assert await stage.claim(notifier) == ()


async def test_a_failed_attempt_ends_the_delivery_with_its_reason(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    assert await stage.fail(claim)
    delivery = await stage.delivery()
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.GONE)
    [attempt] = await stage.attempts(claim.delivery_id)
    assert (attempt.outcome, attempt.reason, attempt.response_body) == (AttemptOutcome.FAILED, Reason.GONE, "gone")


async def test_attempts_are_listed_in_order(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    for _ in range(3):
        [claim] = await stage.claim(notifier)
        await stage.settle(to_retry(claim, stage.clock.now(), after=MINUTE))
        stage.clock.advance(MINUTE)
    [claim] = await stage.claim(notifier)
    await stage.deliver(claim)
    attempts = await stage.attempts(claim.delivery_id)
    assert [attempt.number for attempt in attempts] == [1, 2, 3, 4]
    assert [attempt.outcome for attempt in attempts] == ["retry", "retry", "retry", "delivered"]


@pytest.mark.parametrize(
    "settlement_of", [delivered, failed, partial(to_retry, after=MINUTE)], ids=["delivered", "failed", "to-retry"]
)
async def test_a_settlement_with_a_lost_lease_moves_nothing(
    stage: Stage, settlement_of: Callable[[Claim, datetime], Settlement]
) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [lost] = await stage.claim(notifier)
    late = settlement_of(lost, stage.clock.now())
    await lose_leases(stage)
    [held] = await stage.claim(notifier)
    assert not await stage.settle(late)
    assert (await stage.delivery()).state == DeliveryState.SENDING
    assert await stage.deliver(held)
    first, second = await stage.attempts(lost.delivery_id)
    assert (first.outcome, first.reason) == (AttemptOutcome.UNKNOWN, Reason.LEASE_LOST)
    assert first.response_status == late.attempt.response_status
    assert "came late" in (first.error or "")
    assert (second.number, second.outcome) == (2, AttemptOutcome.DELIVERED)


async def test_a_lease_can_be_given_back_while_it_is_held_alone(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [lost] = await stage.claim(notifier)
    await lose_leases(stage)
    [held] = await stage.claim(notifier)
    before = await stage.delivery()
    await stage.store.write(release, [(lost.delivery_id, lost.lease_token)], at=stage.clock.now())
    assert await stage.delivery() == before
    await stage.store.write(release, [(held.delivery_id, held.lease_token)], at=stage.clock.now())
    delivery = await stage.delivery()
    assert (delivery.state, delivery.next_attempt_at) == (DeliveryState.PENDING, stage.clock.now())
    assert delivery.attempt_count == 1, "an attempt that was not begun does not count"


async def test_a_delivery_is_given_up_by_whoever_holds_it_alone(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [lost] = await stage.claim(notifier)
    await lose_leases(stage)
    [held] = await stage.claim(notifier)
    before = await stage.delivery()
    await stage.store.write(give_up, [(lost.delivery_id, lost.lease_token)], at=stage.clock.now())
    assert await stage.delivery() == before
    await stage.store.write(give_up, [(held.delivery_id, held.lease_token)], at=stage.clock.now())
    delivery = await stage.delivery()
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.MISCONFIGURED)
    assert [attempt.number for attempt in await stage.attempts(delivery.id)] == [1, 2]


async def test_a_late_settlement_does_not_change_an_ended_delivery(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    assert await stage.deliver(claim)
    before = await stage.delivery()
    stage.clock.advance(1)
    assert not await stage.fail(claim)
    assert await stage.delivery() == before
    assert len(await stage.attempts(claim.delivery_id)) == 1


async def test_good_leases_hold_beside_lost_ones_in_a_batch(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(6)))
    lost = await stage.claim(notifier, 3)
    await lose_leases(stage)
    held = await stage.claim(notifier, 6)
    mixed = [*lost, *held]
    answers = await asyncio.gather(*(stage.deliver(claim) for claim in mixed))
    assert answers == [False] * 3 + [True] * 6
    assert {delivery.state for delivery in await stage.deliveries()} == {DeliveryState.DELIVERED}


async def test_an_attempt_settled_twice_at_once_counts_once(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(stage.event(), stage.event())
    one, two = await stage.claim(notifier)
    again = to_retry(two, stage.clock.now(), after=MINUTE)
    settled = await asyncio.gather(stage.deliver(one), stage.deliver(one), stage.settle(again), stage.settle(again))
    assert settled == [True] * 4
    assert [len(await stage.attempts(claim.delivery_id)) for claim in (one, two)] == [1, 1]


async def test_an_attempt_that_was_recorded_unbeknown_to_its_worker_may_be_settled_again(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(stage.event(), stage.event())
    now = stage.clock.now()
    claims = await stage.claim(notifier)
    for settlement in (delivered(claims[0], now), to_retry(claims[1], now, after=MINUTE)):
        assert await stage.settle(settlement)
        before = await stage.deliveries()
        stage.clock.advance(1)
        assert await stage.settle(settlement)
        assert await stage.deliveries() == before
        assert await stage.attempts(settlement.delivery_id) == [settlement.attempt]


async def test_two_outcomes_of_one_lease_count_once(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    now = stage.clock.now()
    one, two = delivered(claim, now), failed(claim, now + timedelta(seconds=1))
    assert sorted(await asyncio.gather(stage.settle(one), stage.settle(two))) == [False, True]
    assert len(await stage.attempts(claim.delivery_id)) == 1


async def test_a_lease_that_has_not_ended_is_not_taken_back(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    stage.clock.advance(LEASE)
    assert await stage.store.write(reap_leases, lease_until=stage.clock.now(), at=stage.clock.now()) == 0
    assert await stage.deliver(claim)


async def test_a_lease_that_ended_is_taken_back_and_its_attempt_noted(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    assert await lose_leases(stage) == 1
    delivery = await stage.delivery()
    assert (delivery.state, delivery.next_attempt_at) == (DeliveryState.PENDING, stage.clock.now())
    [attempt] = await stage.attempts(claim.delivery_id)
    assert (attempt.number, attempt.outcome, attempt.reason) == (1, AttemptOutcome.UNKNOWN, Reason.LEASE_LOST)
    assert attempt.duration_ms == 46_000


async def test_leases_are_taken_back_some_at_a_time(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(5)))
    assert len(await stage.claim(notifier)) == 5
    stage.clock.advance(LEASE * 2)
    now = stage.clock.now()
    counts = [await stage.store.write(reap_leases, lease_until=now, at=now, limit=2) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    assert {delivery.state for delivery in await stage.deliveries()} == {DeliveryState.PENDING}


async def test_a_delivery_that_loses_its_lease_again_and_again_is_poison(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    for _ in range(MAX_LOST_LEASES):
        assert len(await stage.claim(notifier)) == 1
        await lose_leases(stage)
    delivery = await stage.delivery()
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.POISON)
    assert (delivery.next_attempt_at, delivery.finished_at) == (None, stage.clock.now())
    assert await stage.claim(notifier) == ()
    assert len(await stage.attempts(delivery.id)) == MAX_LOST_LEASES


async def test_those_that_lost_their_leases_together_are_tried_one_at_a_time(stage: Stage) -> None:
    one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
    await stage.ingest(stage.event(), stage.event())
    for _ in range(SUSPECT_LOST_LEASES):
        assert len((await stage.store.claim({one.id: 9, two.id: 9})).claims) == 4
        await lose_leases(stage)
    tried = []
    for _ in range(2):
        claimed = await stage.store.claim({one.id: 9, two.id: 9})
        tried += [claim.delivery_id for claim in claimed.claims]
        assert claimed.next_due.keys() == {one.id, two.id}
        await lose_leases(stage)
    assert len(set(tried)) == 2, "what was lost last goes to the end of the line"
    [suspect] = await stage.claim(two)
    event = await stage.ingest()
    assert {claim.event_id for claim in await stage.claim(one)} == {event.id}, "what is new does not wait for them"
    await stage.deliver(suspect)
    assert len(await stage.claim(two)) == 2


async def test_a_settled_attempt_starts_the_count_of_lost_leases_anew(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    for _ in range(MAX_LOST_LEASES - 1):
        assert len(await stage.claim(notifier)) == 1
        await lose_leases(stage)
    [claim] = await stage.claim(notifier)
    await stage.settle(to_retry(claim, stage.clock.now(), after=timedelta(0)))
    for _ in range(MAX_LOST_LEASES - 1):
        assert len(await stage.claim(notifier)) == 1
        await lose_leases(stage)
    assert (await stage.delivery()).state == DeliveryState.PENDING


async def test_due_notifiers_are_listed_with_their_first_due_time(stage: Stage) -> None:
    one, two, paused, foreign = [
        await stage.add_notifier("one"),
        await stage.add_notifier("two"),
        await stage.add_notifier("paused", state=NotifierState.PAUSED),
        await stage.add_notifier("foreign", platform="slack"),
    ]
    assert await stage.store.read(list_due_notifiers, PLATFORMS) == []
    await stage.ingest()
    received_at = stage.clock.now()
    [claim] = await stage.claim(two)
    await stage.settle(to_retry(claim, stage.clock.now(), after=MINUTE))
    stage.clock.advance(MINUTE * 2)
    await stage.ingest()
    due = dict(await stage.store.read(list_due_notifiers, PLATFORMS))
    assert due == {one.id: received_at, two.id: received_at + MINUTE}
    assert not {paused.id, foreign.id} & due.keys()


async def lose_leases(stage: Stage) -> int:
    stage.clock.advance(LEASE + timedelta(seconds=1))
    return await stage.store.write(reap_leases, lease_until=stage.clock.now(), at=stage.clock.now())
