"""A clock that is set forward or back while work goes on: nobody loses a lease, and nothing is forgotten for hours."""

from datetime import timedelta
from typing import Any

import pytest

from tests.store.cast import APP, LEASE, Stage, to_retry
from tocsin.clock import JUMP, JumpWatch, ManualClock
from tocsin.model import AttemptOutcome, DeliveryState, NotifierState
from tocsin.store.notifiers import list_notifiers
from tocsin.store.port import Claim
from tocsin.upkeep import ROUND_SECONDS, Retention, Upkeep

HOUR = timedelta(hours=1)
TEN_YEARS = timedelta(days=3650)
UNTIL_TRUSTED = LEASE.total_seconds() + ROUND_SECONDS


@pytest.fixture
def upkeep(stage: Stage) -> Upkeep:
    return upkeep_of(stage)


def upkeep_of(stage: Stage) -> Upkeep:
    async def resume_nothing() -> None:
        pass

    async def probe_nothing(_: Claim) -> None:
        pass

    dispatch: Any = stage.dispatch  # as much of a dispatcher as upkeep needs here
    return Upkeep(
        store=stage.store,
        clock=stage.clock,
        dispatch=dispatch,
        retention=Retention(history=timedelta(days=30), audit=timedelta(days=365)),
        lease_seconds=LEASE.total_seconds(),
        resume_due=resume_nothing,
        probe=probe_nothing,
        ready=frozenset(),
    )


@pytest.mark.parametrize("by", [HOUR, -HOUR, TEN_YEARS])
async def test_an_attempt_under_way_keeps_its_lease_when_the_clock_is_set(
    stage: Stage, upkeep: Upkeep, by: timedelta
) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    stage.clock.set(by)
    await upkeep.round()
    stage.clock.advance(LEASE / 2)
    await upkeep.round()
    assert await stage.claim(notifier) == ()
    assert await stage.deliver(claim)
    assert (await stage.delivery()).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("by", [HOUR, -HOUR, TEN_YEARS])
async def test_a_lease_whose_worker_is_gone_is_taken_back_soon_after_the_clock_was_set(
    stage: Stage, upkeep: Upkeep, by: timedelta
) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [lost] = await stage.claim(notifier)
    stage.clock.set(by)
    await upkeep.round()
    stage.clock.advance(UNTIL_TRUSTED)
    await upkeep.round()
    [again] = await stage.claim(notifier)
    assert again.delivery_id == lost.delivery_id
    [attempt] = await stage.attempts(lost.delivery_id)
    assert attempt.outcome is AttemptOutcome.UNKNOWN


async def test_what_was_due_is_due_when_the_clock_was_set_back(stage: Stage, upkeep: Upkeep) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    stage.clock.advance(10)
    stage.clock.set(-HOUR)
    assert await stage.claim(notifier) == ()
    await upkeep.round()
    assert len(await stage.claim(notifier)) == 1


async def test_a_retry_waits_as_long_as_it_was_to_when_the_clock_was_set_back(stage: Stage, upkeep: Upkeep) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    await stage.settle(to_retry(claim, stage.clock.now(), after=timedelta(minutes=2)))
    stage.clock.set(-HOUR)
    await upkeep.round()
    stage.clock.advance(119)
    assert await stage.claim(notifier) == ()
    stage.clock.advance(1)
    assert len(await stage.claim(notifier)) == 1


@pytest.mark.parametrize(
    ("state", "is_shorter"),
    [(NotifierState.HOLDING, True), (NotifierState.FAILING, True), (NotifierState.PAUSED, False)],
)
async def test_a_notifier_waits_as_long_as_it_was_to_but_a_pause_ends_at_its_time(
    stage: Stage, upkeep: Upkeep, state: NotifierState, is_shorter: bool
) -> None:
    until = stage.clock.now() + timedelta(minutes=5)
    notifier = await stage.add_notifier(state=state, held_until=until)
    stage.clock.set(-HOUR)
    await upkeep.round()
    [found] = await stage.store.read(list_notifiers, APP)
    assert found.id == notifier.id
    assert found.held_until == (stage.clock.now() + timedelta(minutes=5) if is_shorter else until)


async def test_several_workers_that_see_it_bring_no_retry_forward_by_more_than_one_interval(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    workers = [upkeep_of(stage) for _ in range(3)]
    [claim] = await stage.claim(notifier)
    await stage.settle(to_retry(claim, stage.clock.now(), after=timedelta(hours=24)))
    stage.clock.set(-HOUR)
    for worker in workers:
        await worker.round()
    stage.clock.advance(timedelta(hours=20))
    assert await stage.claim(notifier) == ()
    stage.clock.advance(timedelta(hours=4))
    [again] = await stage.claim(notifier)
    await stage.settle(to_retry(again, stage.clock.now(), after=timedelta(minutes=2)))
    assert await stage.claim(notifier) == ()


async def test_what_waits_is_tried_before_it_expires_when_the_clock_was_set_forward(
    stage: Stage, upkeep: Upkeep
) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    stage.clock.set(TEN_YEARS)
    await upkeep.round()
    [claim] = await stage.claim(notifier)
    assert await stage.deliver(claim)


async def test_what_is_not_sent_expires_at_last(stage: Stage, upkeep: Upkeep) -> None:
    await stage.add_notifier()
    await stage.ingest()
    stage.clock.set(TEN_YEARS)
    await upkeep.round()
    assert (await stage.delivery()).state is DeliveryState.PENDING
    stage.clock.advance(UNTIL_TRUSTED)
    await upkeep.round()
    assert (await stage.delivery()).state is DeliveryState.FAILED


def test_only_what_time_does_not_explain_is_a_jump() -> None:
    clock = ManualClock()
    watch = JumpWatch(clock)
    clock.advance(3600)
    assert watch.look() == timedelta()
    clock.advance(1)
    clock.set(HOUR)
    assert watch.look() == HOUR
    assert watch.look() == timedelta()
    clock.set(-JUMP)
    assert watch.look() == timedelta()
