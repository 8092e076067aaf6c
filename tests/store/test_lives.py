"""Notifiers whose state follows from how they fare: changed under lock, probed one by one, their owner written to."""

from datetime import timedelta

import msgspec
import sqlalchemy as sa

from tests.store.cast import APP, LEASE, Stage, delivered, to_retry
from tocsin.model import DeliveryReason, DeliveryState, Notifier, NotifierState
from tocsin.store import schema
from tocsin.store.apps import find_app_by_id
from tocsin.store.chores import find_chores
from tocsin.store.events import add_event
from tocsin.store.leases import list_due_notifiers, reap_leases
from tocsin.store.lives import add_mail_to_owner, change_life, find_next_end, lease_probe, list_probes_due
from tocsin.store.notifiers import list_notifiers, remove_notifier, to_notifier

MINUTE = timedelta(minutes=1)
PLATFORMS = ("webhook",)


async def failing(stage: Stage, **fields) -> Notifier:
    now = stage.clock.now()
    return await stage.add_notifier(state=NotifierState.FAILING, held_until=now, failing_since=now, **fields)


async def probe(stage: Stage, notifier: Notifier):
    now = stage.clock.now()
    return await stage.store.write(lease_probe, notifier.id, token=f"t{now}", at=now, lease_until=now + LEASE)


async def test_a_change_finds_the_notifier_as_it_is(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.edit_notifier(notifier, name="renamed")

    def count(found: Notifier) -> Notifier:
        return msgspec.structs.replace(found, failed_count=found.failed_count + 1, failing_since=stage.clock.now())

    before, after = await stage.store.write(change_life, notifier.id, count)
    assert (before.name, before.failed_count, after.failed_count) == ("renamed", 0, 1)
    assert await stage.store.read(list_notifiers, APP) == [after]


async def test_a_change_that_changes_nothing_or_comes_too_late_is_none(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    assert await stage.store.write(change_life, notifier.id, lambda found: found) is None
    await stage.store.write(remove_notifier, notifier.id, at=stage.clock.now())
    gone = await stage.store.write(change_life, notifier.id, lambda one: msgspec.structs.replace(one, failed_count=9))
    assert gone is None


async def test_nothing_is_claimed_for_a_failing_notifier_but_probes(stage: Stage) -> None:
    notifier = await failing(stage)
    await stage.ingest()
    assert not await stage.claim(notifier)
    assert await stage.store.read(list_due_notifiers, PLATFORMS) == []
    assert await stage.store.read(list_probes_due, PLATFORMS, stage.clock.now()) == [notifier.id]


async def test_a_probe_is_the_oldest_due_delivery_and_the_only_one(stage: Stage) -> None:
    notifier = await failing(stage)
    first = await stage.ingest()
    stage.clock.advance(1)
    await stage.ingest()
    claim = await probe(stage, notifier)
    assert (claim.event_id, claim.attempt, claim.notifier, claim.body) == (first.id, 1, notifier, first.body)
    assert await probe(stage, notifier) is None
    assert await stage.settle(delivered(claim, stage.clock.now()))
    second = await probe(stage, notifier)
    assert second.attempt == 1
    assert await stage.settle(to_retry(second, stage.clock.now(), after=MINUTE))
    assert await probe(stage, notifier) is None


async def test_a_probe_waits_until_its_time(stage: Stage) -> None:
    notifier = await failing(stage)
    await stage.edit_notifier(notifier, held_until=stage.clock.now() + MINUTE)
    await stage.ingest()
    assert await probe(stage, notifier) is None
    chores = await stage.store.read(find_chores, stage.clock.now())
    assert (chores.has_probes, chores.next_end) == (False, stage.clock.now() + MINUTE)
    stage.clock.advance(MINUTE)
    assert (await stage.store.read(find_chores, stage.clock.now())).has_probes
    assert await probe(stage, notifier) is not None


async def test_a_probe_whose_worker_was_lost_is_made_again(stage: Stage) -> None:
    notifier = await failing(stage)
    await stage.ingest()
    await probe(stage, notifier)
    stage.clock.advance(LEASE + timedelta(seconds=1))
    assert await probe(stage, notifier) is None
    now = stage.clock.now()
    await stage.store.write(reap_leases, lease_until=now, at=now)
    again = await probe(stage, notifier)
    assert again.attempt == 2


async def test_the_next_end_is_that_of_whoever_comes_first(stage: Stage) -> None:
    now = stage.clock.now()
    assert await stage.store.read(find_next_end, now) is None
    for minutes, state in ((3, NotifierState.PAUSED), (2, NotifierState.HOLDING), (4, NotifierState.FAILING)):
        await stage.add_notifier(state=state, held_until=now + minutes * MINUTE)
    await failing(stage)
    assert await stage.store.read(find_next_end, now) == now + 2 * MINUTE


async def test_deliveries_of_one_that_waits_are_held_and_of_a_disabled_one_too(stage: Stage) -> None:
    notifier = await failing(stage)
    await stage.ingest()
    for state in (NotifierState.FAILING, NotifierState.HOLDING, NotifierState.DISABLED):
        await stage.edit_notifier(notifier, state=state, active=state is not NotifierState.DISABLED)
        delivery = await stage.delivery()
        assert (delivery.state, delivery.reason) == (DeliveryState.PENDING, DeliveryReason.HELD)
        assert not await stage.claim(notifier)


async def test_the_owner_is_written_to_by_a_notifier_that_clients_do_not_see(stage: Stage) -> None:
    now = stage.clock.now()
    for number in range(2):
        event = stage.event("notifier_failing", about="no-other")

        def tell(connection: sa.Connection, event=event) -> None:
            add_event(connection, event, stage.dispatch)
            add_mail_to_owner(connection, event, find_app_by_id(connection, APP), expires_at=now + MINUTE)

        await stage.store.write(tell)
        [*_, delivery] = await stage.deliveries()
        assert (delivery.event_id, delivery.platform, delivery.notifier_name) == (
            event.id,
            "email",
            "Mail to the owner",
        )
        assert len(await stage.deliveries()) == number + 1
    assert await stage.store.read(list_notifiers, APP) == []
    [row] = await stage.store.read(lambda connection: connection.execute(sa.select(schema.notifiers)).all())
    assert row.is_fallback
    found = await stage.store.read(lambda connection: to_notifier(connection, row))
    assert found.type_data == {"user_ids": ["us-owner"], "emails": []}


async def test_an_owner_who_has_unsubscribed_is_not_written_to(stage: Stage) -> None:
    event = stage.event("notifier_failing", about="no-other")

    def tell(connection: sa.Connection) -> None:
        app = find_app_by_id(connection, APP)
        for number in range(2):
            one = msgspec.structs.replace(event, id=f"{number}{event.id[1:]}")
            add_event(connection, one, stage.dispatch)
            add_mail_to_owner(connection, one, app, expires_at=event.received_at + MINUTE)
            connection.execute(schema.notifiers.update().values(active=False, state=NotifierState.OFF))

    await stage.store.write(tell)
    assert len(await stage.deliveries()) == 1
