"""What the store tells of an event and the notifiers of its app, those that were removed among them."""

from datetime import timedelta

from tests.store.cast import APP, LIFETIME, OTHER_APP, Stage, insert, send
from tocsin.model import DeliveryState
from tocsin.store import schema
from tocsin.store.deliveries import find_newest
from tocsin.store.events import find_received
from tocsin.store.fanouts import list_owed
from tocsin.store.known import Known, count_known, find_known, list_known
from tocsin.store.notifiers import remove_notifier
from tocsin.store.replays import replay

HOUR = timedelta(hours=1)


async def test_an_event_is_found_as_it_was_received(stage: Stage) -> None:
    event = await stage.ingest()
    assert await stage.store.read(find_received, APP, event.id) == event
    assert await stage.store.read(find_received, OTHER_APP, event.id) is None
    assert await stage.store.read(find_received, APP, "nope") is None


async def test_the_newest_delivery_of_an_event_is_found_wherever_it_is(stage: Stage) -> None:
    arrived, waiting, again = [await stage.add_notifier(name) for name in ("arrived", "waiting", "again")]
    event = await stage.ingest()
    await stage.ingest()
    for notifier in (arrived, again):
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
    now = stage.clock.now()
    [first] = await stage.deliveries(event_id=event.id, notifier_id=again.id)
    for _ in range(2):
        last = await stage.store.write(replay, first, again.id, at=now, expires_at=now + LIFETIME)
    ids = [arrived.id, waiting.id, again.id, "nope"]
    newest = await stage.store.read(find_newest, event.id, ids)
    states = {notifier_id: delivery.state for notifier_id, delivery in newest.items()}
    assert states == {
        arrived.id: DeliveryState.DELIVERED,
        waiting.id: DeliveryState.PENDING,
        again.id: DeliveryState.PENDING,
    }
    assert newest[again.id].id == last
    await send(stage, again, ends=DeliveryState.FAILED)
    assert (await stage.store.read(find_newest, event.id, [again.id]))[again.id].state == DeliveryState.FAILED
    assert await stage.store.read(find_newest, "nope", ids) == {}


async def test_notifiers_that_are_there_or_were_at_a_time_are_listed_in_pages(stage: Stage) -> None:
    early, late, kept = [await stage.add_notifier(name) for name in ("early", "late", "kept")]
    await stage.add_notifier("foreign", app_id=OTHER_APP)
    removed = {}
    for notifier in (early, late):
        stage.clock.advance(HOUR)
        removed[notifier.id] = stage.clock.now()
        await stage.store.write(remove_notifier, notifier.id, at=removed[notifier.id])
    at = removed[early.id]
    listed = await stage.store.read(list_known, APP, at, limit=9, offset=0)
    assert [(known.notifier.id, known.removed_at) for known in listed] == [
        (late.id, removed[late.id]),
        (kept.id, None),
    ]
    assert await stage.store.read(count_known, APP, at) == 2
    assert await stage.store.read(list_known, APP, at, limit=1, offset=1) == [Known(kept)]
    found = await stage.store.read(find_known, APP, early.id)
    assert found is not None
    assert (found.notifier.name, found.removed_at) == ("early", removed[early.id])
    assert await stage.store.read(find_known, OTHER_APP, early.id) is None


async def test_the_notifiers_that_an_event_is_still_owed_to_are_told(stage: Stage) -> None:
    event = await stage.ingest()
    assert await stage.store.read(list_owed, event.id) == frozenset()
    owed = {"event_id": event.id, "app_id": APP, "notifier_ids": ["no-1", "no-2", "no-3"], "done_count": 1}
    await stage.store.write(insert, schema.fanouts, owed | {"created_at": event.received_at})
    assert await stage.store.read(list_owed, event.id) == {"no-2", "no-3"}


async def test_the_notifier_that_no_client_sees_is_not_known(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    hidden = schema.notifiers.update().values(is_fallback=True)
    await stage.store.write(lambda connection: connection.execute(hidden) and None)
    now = stage.clock.now()
    assert await stage.store.read(find_known, APP, notifier.id) is None
    assert await stage.store.read(list_known, APP, now, limit=9, offset=0) == []
    assert await stage.store.read(count_known, APP, now) == 0


async def test_a_notifier_that_cannot_be_read_does_not_hide_the_others(stage: Stage) -> None:
    one, damaged, two = [await stage.add_notifier(name) for name in ("one", "damaged", "two")]
    damage = schema.notifiers.update().where(schema.notifiers.c.id == damaged.id).values(state="nope")
    await stage.store.write(lambda connection: connection.execute(damage) and None)
    now = stage.clock.now()
    assert await stage.store.read(list_known, APP, now, limit=9, offset=0) == [Known(one), Known(two)]
    assert await stage.store.read(list_known, APP, now, limit=2, offset=1) == [Known(two)]
