"""Timelines and delivery logs."""

from datetime import timedelta

import msgspec
import pytest

from tests.verbs.conftest import World
from tocsin.errors import InvalidInput, NotFound
from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState
from tocsin.notifier_rules import NotifierWish
from tocsin.store.events import add_event

GONE = {"outcome": AttemptOutcome.FAILED, "state": DeliveryState.FAILED, "reason": DeliveryReason.GONE}
DONE = {"outcome": AttemptOutcome.DELIVERED, "state": DeliveryState.DELIVERED}


async def store_own_event(world: World, event) -> None:
    await world.store.write(add_event, event, world.ingest._dispatch)


def ids(bodies: list[bytes]) -> list[str]:
    return [msgspec.json.decode(body)["id"] for body in bodies]


async def test_events_are_paged_newest_first(world: World):
    made = [await world.deploy() for _ in range(5)]
    page, total = await world.history.list_events(world.app, limit=2, offset=2)
    assert ids(page) == [made[2], made[1]]
    assert total == 5
    assert await world.history.list_events(world.app, limit=2, offset=10) == ([], 5)


@pytest.mark.parametrize("hours", [-1, 0, 73])
async def test_hours_out_of_range_are_refused(world: World, hours):
    with pytest.raises(InvalidInput) as refused:
        await world.history.list_events_since(world.app, hours)
    assert list(refused.value.fields) == ["from"]


async def test_events_of_the_last_hours_go_by_receipt(world: World):
    event_id = await world.deploy()
    assert ids(await world.history.list_events_since(world.app, 1)) == [event_id]
    world.clock.advance(timedelta(hours=2))
    assert await world.history.list_events_since(world.app, 1) == []
    assert ids(await world.history.list_events_since(world.app, 72)) == [event_id]


async def test_an_event_is_given_as_it_was_stored(world: World):
    event_id = await world.deploy()
    body = await world.history.get_event(world.app, event_id)
    assert [body] == (await world.history.list_events(world.app, limit=1, offset=0))[0]
    with pytest.raises(NotFound) as missing:
        await world.history.get_event(world.other_app, event_id)
    assert missing.value.resource == "event"


async def test_a_user_sees_own_events_and_those_of_visible_apps(world: World):
    deployed = await world.deploy()
    own = world.ingest.own_event(event_type="new_key", type_data={}, user=world.bob)
    await store_own_event(world, own)
    assert ids((await world.history.list_events_of(world.bob, limit=9, offset=0))[0]) == [own.id, deployed]
    assert ids((await world.history.list_events_of(world.alice, limit=9, offset=0))[0]) == [deployed]
    assert await world.history.list_events_of(world.charlie, limit=9, offset=0) == ([], 0)


async def test_an_admin_sees_the_events_of_every_app(world: World):
    deployed = await world.deploy()
    admin = msgspec.structs.replace(world.charlie, id="us-admin", is_admin=True)
    assert ids((await world.history.list_events_of(admin, limit=9, offset=0))[0]) == [deployed]


async def test_deliveries_are_listed_by_notifier_event_and_state(world: World):
    first, second = await world.add_webhook(send_all_events=True), await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    await world.settle(second, lambda _: dict(DONE))
    assert {each.notifier_id for each in await world.deliveries(event_id=event_id)} == {first.id, second.id}
    [delivered] = await world.deliveries(event_id=event_id, state=DeliveryState.DELIVERED)
    assert (delivered.notifier_id, delivered.notifier_name, delivered.platform) == (second.id, "Hook", "webhook")
    newest = await world.deliveries(notifier_id=first.id)
    assert [each.id for each in newest] == sorted((each.id for each in newest), reverse=True)
    assert await world.deliveries(notifier_id="no-0") == []


async def test_a_delivery_comes_with_its_attempts(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    await world.settle(notifier, lambda _: dict(GONE))
    [listed] = await world.deliveries(event_id=event_id)
    delivery, attempts = await world.history.get_delivery(world.app, listed.id)
    assert delivery == listed
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.GONE)
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [(1, AttemptOutcome.FAILED)]
    for attempt in (
        world.history.get_delivery(world.other_app, listed.id),
        world.history.replay(world.other_app, listed.id),
        world.history.get_delivery(world.app, "de-0"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_delivery_that_waits_for_set_up_says_so(world: World):
    await world.notifiers.edit(world.app, world.alice, world.default.id, NotifierWish(send_all_events=True))
    event_id = await world.deploy()
    [waiting] = await world.deliveries(event_id=event_id)
    assert (waiting.state, waiting.reason) == (DeliveryState.PENDING, DeliveryReason.WAITING_FOR_SETUP)
    await world.notifiers.pause(world.app, world.default.id)
    [held] = await world.deliveries(event_id=event_id)
    assert held.reason is DeliveryReason.HELD


async def test_an_event_of_one_app_is_no_event_of_another(world: World):
    event = world.ingest.own_event(event_type="restart", type_data={}, user=world.charlie, app=world.other_app)
    await world.store.write(add_event, event, world.ingest._dispatch)
    assert await world.history.list_events(world.app, limit=9, offset=0) == ([], 0)
