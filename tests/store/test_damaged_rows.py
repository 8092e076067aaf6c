"""A row that cannot be read costs its own deliveries, which end with a reason; all the others go on."""

from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.cast import APP, Stage, insert
from tocsin.model import AttemptOutcome, Delivery, DeliveryReason, DeliveryState, Notifier, Reason
from tocsin.store import schema
from tocsin.store.known import find_known
from tocsin.store.notifiers import find_notifier, get_routes, list_notifiers


async def damage(stage: Stage, notifier: Notifier, **values: Any) -> None:
    def update(connection: sa.Connection) -> None:
        table = schema.notifiers
        connection.execute(table.update().where(table.c.id == notifier.id).values(**values))

    await stage.store.write(update)


async def ended(stage: Stage, notifier: Notifier) -> list[Delivery]:
    """The notifier's deliveries, each of which has ended because there was nothing to send."""
    found = await stage.deliveries(notifier_id=notifier.id)
    for delivery in found:
        assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.MISCONFIGURED)
        [attempt] = await stage.attempts(delivery.id)
        assert (attempt.number, attempt.outcome) == (1, AttemptOutcome.FAILED)
        assert attempt.reason is Reason.MISCONFIGURED
        assert attempt.error is not None
    return found


@pytest.mark.parametrize(
    "values",
    [
        {"selected_event_ids": 7},
        {"selected_event_ids": [7]},
        {"type_data": ["no", "object"]},
        {"retry_schedule": "soon"},
    ],
)
async def test_what_waits_for_a_damaged_notifier_is_given_up_and_the_others_are_claimed(
    stage: Stage, values: dict[str, Any]
) -> None:
    damaged, sound = await stage.add_notifier("damaged"), await stage.add_notifier("sound")
    await stage.ingest(stage.event(), stage.event())
    await damage(stage, damaged, **values)
    claimed = await stage.store.claim({damaged.id: 5, sound.id: 5})
    assert [claim.notifier for claim in claimed.claims] == [sound, sound]
    assert len(await ended(stage, damaged)) == 2
    assert await stage.claim(damaged) == ()


async def test_a_damaged_notifier_is_not_found_by_itself(stage: Stage) -> None:
    damaged, sound = await stage.add_notifier("damaged"), await stage.add_notifier("sound")
    await damage(stage, damaged, type_data=["no", "object"])
    for find in (find_notifier, find_known):
        assert await stage.store.read(find, APP, damaged.id) is None
        assert await stage.store.read(find, APP, sound.id) is not None


async def test_a_notifier_in_a_state_of_another_release_is_not_claimed_for(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    await damage(stage, notifier, state="resting")
    assert await stage.claim(notifier) == ()
    assert (await stage.delivery()).state is DeliveryState.PENDING


async def test_a_delivery_whose_event_is_missing_is_given_up_and_the_others_are_claimed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    lost, kept = stage.event(), stage.event()
    await stage.ingest(lost, kept)

    def remove(connection: sa.Connection) -> None:
        connection.execute(schema.events.delete().where(schema.events.c.id == lost.id))

    await stage.store.write(remove)
    [claim] = await stage.claim(notifier)
    assert claim.event_id == kept.id
    assert await stage.deliver(claim)
    given_up, delivered = await stage.deliveries()
    assert (given_up.event_id, given_up.reason) == (lost.id, DeliveryReason.MISCONFIGURED)
    assert delivered.state is DeliveryState.DELIVERED
    assert await stage.count(schema.deliveries) == 0


async def test_events_reach_the_others_past_a_damaged_notifier_and_a_damaged_rule(stage: Stage) -> None:
    damaged, sound = await stage.add_notifier("damaged"), await stage.add_notifier("sound")
    await stage.add_alert(sound.id)
    await damage(stage, damaged, selected_event_ids=7)
    now = stage.clock.now()
    rule = {"id": "al-damaged", "app_id": APP, "container_type": "web", "metric": "cpu", "limit": 1.0}
    rule |= {"disabled": False, "send_when_below": False, "duration_before_trigger": 0, "remind_every": 0}
    await stage.store.write(insert, schema.alerts, rule | {"notifiers": 7, "created_at": now, "updated_at": now})
    await stage.ingest()
    assert [delivery.notifier_id for delivery in await stage.deliveries()] == [sound.id]
    assert await stage.store.read(list_notifiers, APP) == [sound]
    assert len((await stage.store.read(get_routes, APP)).alerts) == 1
