"""Sending again: a delivery, what a notifier missed, or all it got; to it or to another, at a bounded rate."""

from datetime import datetime, timedelta

import msgspec
import pytest

from tests.verbs.conftest import World
from tocsin import history
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.history import Replayed, ReplayWish
from tocsin.model import AttemptOutcome, Delivery, DeliveryReason, DeliveryState, Notifier, NotifierState
from tocsin.notifier_rules import NotifierWish
from tocsin.store import notifiers as notifier_verbs

GONE = {"outcome": AttemptOutcome.FAILED, "state": DeliveryState.FAILED, "reason": DeliveryReason.GONE}
DONE = {"outcome": AttemptOutcome.DELIVERED, "state": DeliveryState.DELIVERED}
ALL = frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.CANCELLED})
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("end", [DONE, GONE])
async def test_a_replay_is_a_new_delivery_of_the_same_event(world: World, end):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    await world.settle(notifier, lambda _: dict(end))
    [first] = await world.deliveries(event_id=event_id)
    again = await world.history.replay(world.app, first.id)
    assert (again.event_id, again.notifier_id, again.replay_of) == (event_id, notifier.id, first.id)
    assert (again.state, again.reason, again.attempt_count) == (DeliveryState.PENDING, None, 0)
    assert again.expires_at == world.clock.now() + timedelta(days=7)
    assert event_id in {claim.event_id for claim in (await world.store.claim({notifier.id: 9})).claims}
    assert (await world.history.get_delivery(world.app, first.id))[0] == first


async def test_nothing_is_replayed_to_a_notifier_that_is_off_disabled_or_removed(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    [delivery] = await world.deliveries(event_id=event_id)
    off = await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=False))
    with pytest.raises(Conflict, match="is off"):
        await world.history.replay(world.app, delivery.id)
    disabled = msgspec.structs.replace(off, state=NotifierState.DISABLED)
    await world.store.write(notifier_verbs.edit_notifier, disabled)
    with pytest.raises(Conflict, match="is disabled"):
        await world.history.replay(world.app, delivery.id)
    await world.notifiers.remove(world.app, world.alice, notifier.id)
    with pytest.raises(Conflict, match="was removed"):
        await world.history.replay(world.app, delivery.id)


async def test_a_replay_goes_to_another_notifier_and_lives_as_long_as_that_one_says(world: World):
    first, second = await world.add_webhook(send_all_events=True), await world.add_webhook(expires_after=90)
    event_id = await world.deploy()
    [delivery] = await world.deliveries(event_id=event_id)
    again = await world.history.replay(world.app, delivery.id, to=second.id)
    assert (again.event_id, again.notifier_id, again.replay_of) == (event_id, second.id, delivery.id)
    assert again.expires_at == world.clock.now() + timedelta(seconds=90)
    [foreign] = await world.notifiers.list(world.other_app)
    for stranger in ("no-0", foreign.id):
        with pytest.raises(InvalidInput) as refused:
            await world.history.replay(world.app, delivery.id, to=stranger)
        assert list(refused.value.fields) == ["notifier_id"]
    await world.notifiers.remove(world.app, world.alice, first.id)
    assert (await world.history.replay(world.app, delivery.id, to=second.id)).notifier_id == second.id
    await world.notifiers.edit(world.app, world.alice, second.id, NotifierWish(active=False))
    with pytest.raises(Conflict, match="is off"):
        await world.history.replay(world.app, delivery.id, to=second.id)


def wish(world: World, **wishes) -> ReplayWish:
    return ReplayWish(**{"since": world.clock.now() - HOUR} | wishes)


async def recover(world: World, notifier: Notifier, **wishes) -> int:
    return (await world.history.recover(world.app, notifier.id, wish(world, **wishes))).count


def due_at(delivery: Delivery) -> datetime:
    assert delivery.next_attempt_at is not None
    return delivery.next_attempt_at


async def planned(world: World, notifier: Notifier) -> list[Delivery]:
    """What is on its way to a notifier, in the order in which it is due."""
    return sorted(await world.deliveries(notifier_id=notifier.id, state=DeliveryState.PENDING), key=due_at)


async def miss(world: World, notifier: Notifier, count: int) -> list[str]:
    """Let a notifier miss so many deployments, and whatever else waits for it."""
    missed = [await world.deploy() for _ in range(count)]
    await world.settle(notifier, lambda _: dict(GONE))
    return missed


async def add_hook(world: World, **wishes) -> Notifier:
    """A notifier that gets deployments alone, and so nothing of what is told of notifiers."""
    return await world.add_webhook(selected_events=["app_deployed"], **wishes)


async def test_recovery_replays_what_did_not_arrive_and_only_once(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    lost = [await world.deploy(), await world.deploy()]
    arrived = await world.deploy()
    await world.settle(notifier, lambda event_id: dict(GONE if event_id in lost else DONE))
    assert await recover(world, notifier, is_dry_run=True) == 2
    assert len(await world.deliveries(event_id=lost[0])) == 1
    assert await recover(world, notifier) == 2
    assert await recover(world, notifier) == 0
    assert await recover(world, notifier, is_dry_run=True) == 0
    assert [len(await world.deliveries(event_id=event_id)) for event_id in (*lost, arrived)] == [2, 2, 1]
    world.clock.advance(HOUR / 2)
    await world.settle(notifier, lambda _: dict(GONE))
    assert await recover(world, notifier) == 2
    newest, again, _ = await world.deliveries(event_id=lost[0])
    assert newest.replay_of == again.id


async def test_recovery_works_in_steps(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "_PAGE", 2)
    notifier = await add_hook(world)
    lost = await miss(world, notifier, 5)
    assert await recover(world, notifier, is_dry_run=True) == 5
    assert await recover(world, notifier) == 5
    assert [each.event_id for each in await planned(world, notifier)] == lost


async def test_what_a_switched_off_notifier_missed_comes_back_when_it_is_on(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=False))
    assert await recover(world, notifier, is_dry_run=True) == 2
    with pytest.raises(Conflict, match="is off"):
        await recover(world, notifier)
    await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=True))
    assert await recover(world, notifier) == 2
    assert {each.state for each in await world.deliveries(event_id=event_id)} == {
        DeliveryState.CANCELLED,
        DeliveryState.PENDING,
    }


async def test_recovery_is_bounded_by_the_time_of_receipt(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    await world.deploy()
    await world.settle(notifier, lambda _: dict(GONE))
    now = world.clock.now()
    assert await recover(world, notifier, since=now + HOUR) == 0
    assert await recover(world, notifier, since=now - 2 * HOUR, until=now - HOUR) == 0
    ancient = now.replace(year=1)
    for states in (ALL - {DeliveryState.DELIVERED}, ALL):
        many = wish(world, since=ancient, until=ancient.replace(year=2), states=states)
        assert (await world.history.replay_many(world.app, notifier.id, many)).count == 0
    assert await recover(world, notifier, since=ancient, until=now.replace(year=9999), is_dry_run=True) == 2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"until": datetime(2000, 1, 1).astimezone()}, "until"),
        ({"rate_per_second": 0.001}, "rate_per_second"),
        ({"rate_per_second": -1.0}, "rate_per_second"),
        ({"rate_per_second": 1001.0}, "rate_per_second"),
        ({"states": ALL}, "states"),
        ({"to": "no-0"}, "to"),
    ],
)
async def test_a_wish_that_cannot_be_carried_out_names_the_field(world: World, wrong, field):
    notifier = await add_hook(world)
    with pytest.raises(InvalidInput) as refused:
        await recover(world, notifier, **wrong)
    assert list(refused.value.fields) == [field]


async def test_another_app_s_notifier_is_not_found(world: World):
    notifier = await add_hook(world)
    [foreign] = await world.notifiers.list(world.other_app)
    with pytest.raises(NotFound):
        await recover(world, foreign)
    for asked, wishes in (({}, foreign.id), ({"to": foreign.id}, notifier.id), ({}, "no-0")):
        with pytest.raises(InvalidInput):
            await world.history.replay_many(world.app, wishes, wish(world, **asked))


async def test_filters_choose_among_what_was_missed(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    await miss(world, notifier, 2)
    for only, count in (
        ({"types": ["deployment"]}, 2),
        ({"types": ["new_notifier", "nope"]}, 1),
        ({"states": {DeliveryState.CANCELLED}}, 0),
        ({"states": {DeliveryState.FAILED}, "reasons": {DeliveryReason.GONE}}, 3),
        ({"reasons": {DeliveryReason.EXPIRED}}, 0),
    ):
        assert await recover(world, notifier, is_dry_run=True, **only) == count, only


async def test_what_one_missed_goes_to_another_and_only_once(world: World):
    one, two = await add_hook(world), await world.add_webhook(name="Two", expires_after=120)
    missed = await miss(world, one, 2)
    await world.notifiers.edit(world.app, world.alice, one.id, NotifierWish(active=False))
    assert await recover(world, one, to=two.id) == 2
    assert await recover(world, one, to=two.id) == 0
    live = await planned(world, two)
    assert [each.event_id for each in live] == missed
    assert [each.expires_at for each in live] == [due_at(each) + timedelta(seconds=120) for each in live]
    world.clock.advance(1)
    await world.settle(two, lambda _: dict(DONE))
    assert await recover(world, one, to=two.id) == 0
    await world.notifiers.edit(world.app, world.alice, two.id, NotifierWish(active=False))
    with pytest.raises(Conflict, match="is off"):
        await recover(world, one, to=two.id)


async def test_what_a_removed_notifier_got_can_be_given_to_another(world: World):
    one, two = await add_hook(world), await world.add_webhook(name="Two")
    event_id = await world.deploy()
    await world.settle(one, lambda _: dict(DONE))
    await world.notifiers.remove(world.app, world.alice, one.id)
    with pytest.raises(Conflict, match="removed"):
        await world.history.replay_many(world.app, one.id, wish(world, states=ALL))
    made = await world.history.replay_many(world.app, one.id, wish(world, states=ALL, to=two.id))
    assert made.count == 1
    assert [each.event_id for each in await planned(world, two)] == [event_id]


async def test_a_receiver_that_lost_its_data_gets_all_of_it_again(world: World):
    notifier = await add_hook(world)
    got = [await world.deploy() for _ in range(3)]
    await world.settle(notifier, lambda event_id: dict(GONE if event_id == got[1] else DONE))
    for expected in (got, []):
        made = await world.history.replay_many(world.app, notifier.id, wish(world, states=ALL))
        assert made.count == len(expected)
        assert [each.event_id for each in await planned(world, notifier)] == got
    world.clock.advance(1)
    await world.settle(notifier, lambda _: dict(DONE))
    just_arrived = wish(world, states={DeliveryState.DELIVERED}, is_dry_run=True)
    assert (await world.history.replay_many(world.app, notifier.id, just_arrived)).count == 3


@pytest.mark.parametrize(
    ("own", "asked", "rate"),
    [(None, None, 10), (4, None, 4), (50, None, 10), (None, 50, 50), (20, 50, 20), (20, 2, 2), (None, 0, 10)],
)
async def test_replays_are_spread_at_the_rate(world: World, own, asked, rate):
    notifier = await add_hook(world, rate_per_second=own)
    lost = await miss(world, notifier, 4)
    now = world.clock.now()
    gap = timedelta(seconds=1 / rate)
    told = Replayed(count=4, rate_per_second=rate, last_attempt_at=now + 3 * gap)
    for is_dry_run in (True, False):
        asked_for = wish(world, rate_per_second=asked, is_dry_run=is_dry_run)
        assert await world.history.recover(world.app, notifier.id, asked_for) == told
    live = await planned(world, notifier)
    assert [(each.event_id, due_at(each)) for each in live] == [(each, now + i * gap) for i, each in enumerate(lost)]
    assert [each.expires_at for each in live] == [due_at(each) + timedelta(days=7) for each in live]
    fresh = await world.deploy()
    assert [claim.event_id for claim in (await world.store.claim({notifier.id: 9})).claims] == [lost[0], fresh]


async def test_a_platform_s_rate_bounds_that_of_replays(world: World):
    slack = await add_hook(world, platform_id="5982f145d48c3600273ef089")
    await miss(world, slack, 1)
    told = await world.history.recover(world.app, slack.id, wish(world, rate_per_second=5, is_dry_run=True))
    assert told.rate_per_second == 1


async def test_of_nothing_there_is_no_last_attempt(world: World):
    notifier = await add_hook(world)
    for is_dry_run in (True, False):
        told = await world.history.recover(world.app, notifier.id, wish(world, is_dry_run=is_dry_run))
        assert told == Replayed(count=0, rate_per_second=10, last_attempt_at=None)
