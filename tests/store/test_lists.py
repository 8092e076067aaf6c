"""Lists of deliveries and events: what is under way and what is over as one list, page by page."""

import itertools
import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.cast import APP, LIFETIME, OTHER_APP, OWNER, Stage, to_retry
from tocsin.ids import new_uuid7
from tocsin.model import Delivery, DeliveryReason, DeliveryState, NotifierState
from tocsin.store import deliveries as delivery_verbs
from tocsin.store import pages, schema, timeline
from tocsin.store.deliveries import DeliveryFilter, find_delivery, list_deliveries
from tocsin.store.endings import cancel_pending
from tocsin.store.replays import replay
from tocsin.store.timeline import list_events_of_app, list_events_of_user

HOUR = timedelta(hours=1)


async def test_deliveries_are_filtered(stage: Stage) -> None:
    one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
    event = await stage.ingest()
    await stage.ingest()
    for claim in await stage.claim(one):
        await stage.fail(claim)
    assert len(await stage.deliveries()) == 4
    assert len(await stage.deliveries(notifier_id=two.id)) == 2
    assert len(await stage.deliveries(event_id=event.id)) == 2
    assert len(await stage.deliveries(state=DeliveryState.FAILED)) == 2
    [only] = await stage.deliveries(event_id=event.id, state=DeliveryState.FAILED)
    assert only.notifier_id == one.id
    assert await stage.deliveries(OTHER_APP) == []
    assert await stage.store.read(find_delivery, OTHER_APP, only.id) is None


async def test_an_events_replays_are_listed_with_it(stage: Stage) -> None:
    await stage.add_notifier()
    event = await stage.ingest()
    first = await stage.delivery()
    now = stage.clock.now()
    replay_id = await stage.store.write(replay, first, first.notifier_id, at=now, expires_at=now + LIFETIME)
    assert [delivery.id for delivery in await stage.deliveries(event_id=event.id)] == [first.id, replay_id]


@pytest.mark.parametrize(("limit", "offset", "expected"), [(2, 0, [4, 3]), (2, 4, [0]), (2, 9, []), (0, 0, [])])
async def test_deliveries_are_paged_newest_first(stage: Stage, limit, offset, expected) -> None:
    await stage.add_notifier()
    ids = [(await stage.ingest()).id for _ in range(5)]
    page, total = await stage.store.read(list_deliveries, APP, DeliveryFilter(), limit=limit, offset=offset)
    assert [delivery.event_id for delivery in page] == [ids[position] for position in expected]
    assert total == 5


async def test_events_are_paged_newest_first(stage: Stage) -> None:
    bodies = [(await stage.ingest()).body for _ in range(5)]
    await stage.ingest(stage.event(app_id=OTHER_APP))
    assert await stage.store.read(list_events_of_app, APP, limit=2, offset=1) == (bodies[3:1:-1], 5)


async def test_events_are_listed_since_a_time(stage: Stage) -> None:
    await stage.ingest()
    stage.clock.advance(HOUR)
    young = await stage.ingest()
    listed = await stage.store.read(list_events_of_app, APP, limit=9, offset=0, since=stage.clock.now())
    assert listed == ([young.body], 1)


async def test_a_user_sees_the_events_of_their_apps_and_their_own(stage: Stage) -> None:
    of_app = await stage.ingest()
    own = await stage.ingest(stage.event("new_user", app_id=None))
    await stage.ingest(stage.event("new_user", app_id=None, user_id=new_uuid7("us")))
    await stage.ingest(stage.event(app_id=OTHER_APP))
    listed = await stage.store.read(list_events_of_user, OWNER, [APP], limit=9, offset=0)
    assert listed == ([own.body, of_app.body], 2)
    assert await stage.store.read(list_events_of_user, OWNER, [], limit=9, offset=0) == ([own.body], 1)


async def live_in_every_way(stage: Stage, *, seed: int) -> None:
    """Deliveries of two apps in every state, first ones and replays, so that what is over stands between the rest."""
    chance = random.Random(seed)
    notifiers = [await stage.add_notifier(name) for name in ("one", "two")]
    foreign = await stage.add_notifier("foreign", app_id=OTHER_APP)
    for _ in range(6):
        await stage.ingest(stage.event(), stage.event(app_id=OTHER_APP))
        for notifier in (*notifiers, foreign):
            for claim in await stage.claim(notifier, chance.randint(0, 2)):
                await chance.choice([stage.deliver, stage.fail, retry_later(stage), leave])(claim)
        known = await stage.deliveries()
        again = chance.choice(known)
        now = stage.clock.now()
        await stage.store.write(replay, again, again.notifier_id, at=now, expires_at=now + LIFETIME)
    await stage.store.write(cancel_pending, foreign.id, reason=DeliveryReason.BY_USER, at=stage.clock.now())
    await stage.edit_notifier(notifiers[1], state=NotifierState.PAUSED)


def retry_later(stage: Stage) -> Any:
    return lambda claim: stage.settle(to_retry(claim, stage.clock.now(), after=HOUR))


async def leave(_: Any) -> None:
    """Let an attempt be under way."""


def every_delivery(connection: sa.Connection, app_id: str) -> list[tuple[str, str, str, str]]:
    """Id, notifier, event and state of an app's deliveries, newest first: the tables read whole."""
    found = [
        (row.id, row.notifier_id, row.event_id, row.state)
        for table in (schema.deliveries, schema.finished_deliveries)
        for row in connection.execute(sa.select(table))
        if row.app_id == app_id
    ]
    return sorted(found, reverse=True)


@pytest.mark.parametrize(("seed", "many"), [(0, 10_000), (1, 10_000), (2, 2)])
async def test_any_page_of_any_filter_is_that_part_of_the_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, seed: int, many: int
) -> None:
    """Undelivered ones are found in one way while they are few, in another when they are many."""
    monkeypatch.setattr(delivery_verbs, "MAX_COUNT", many)
    await live_in_every_way(stage, seed=seed)
    await stage.store.read(compare_pages)


def compare_pages(connection: sa.Connection) -> None:
    whole = every_delivery(connection, APP)
    ids, notifiers, events, states = (sorted(set(column)) for column in zip(*whole, strict=True))
    assert len(states) >= 3

    @settings(max_examples=60, deadline=None, database=None)
    @given(
        st.sampled_from([None, *notifiers, "no-such"]),
        st.sampled_from([None, None, *events]),
        st.sampled_from([None, None, *DeliveryState]),
        st.sampled_from([None, None, *ids]),
        st.integers(1, 9),
        st.integers(0, 12),
    )
    def agree(
        notifier: str | None,
        event: str | None,
        state: DeliveryState | None,
        before: str | None,
        limit: int,
        offset: int,
    ) -> None:
        wanted = [
            one
            for one, its_notifier, its_event, its_state in whole
            if notifier in {None, its_notifier}
            and event in {None, its_event}
            and state in {None, its_state}
            and (before is None or one < before)
        ]
        only = DeliveryFilter(notifier_id=notifier, event_id=event, state=state, before=before)
        page, total = list_deliveries(connection, APP, only, limit=limit, offset=offset)
        assert [delivery.id for delivery in page] == wanted[offset : offset + limit]
        assert total == len(wanted)

    agree()


async def test_what_is_listed_is_what_is_found(stage: Stage) -> None:
    await live_in_every_way(stage, seed=1)
    listed = await stage.deliveries()
    assert {delivery.state for delivery in listed} >= {DeliveryState.PENDING, DeliveryState.DELIVERED}
    for delivery in listed:
        assert await stage.store.read(find_delivery, APP, delivery.id) == delivery
        assert await stage.store.read(find_delivery, OTHER_APP, delivery.id) is None
        assert (delivery.finished_at is None) == (delivery.state in {DeliveryState.PENDING, DeliveryState.SENDING})


async def test_counting_ends_but_pages_lead_to_the_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_COUNT", 3)
    notifier = await stage.add_notifier()
    await stage.ingest(*(stage.event() for _ in range(5)))
    for claim in await stage.claim(notifier, 2):
        await stage.deliver(claim)
    seen: list[Delivery] = []
    for offset in itertools.count(0, 2):
        page, total = await stage.store.read(list_deliveries, APP, DeliveryFilter(), limit=2, offset=offset)
        seen += page
        if total <= offset + 2:
            break
        assert total == max(3, offset + 3)
    assert (len(seen), total) == (5, 5)
    beyond = await stage.store.read(list_deliveries, APP, DeliveryFilter(), limit=2, offset=50)
    assert beyond == ([], 3)


@pytest.mark.parametrize("merged_apps", [timeline.MERGED_APPS, 0])
class TestEventsOfAUser:
    """Few apps are merged, many are told apart on a walk: the lists are the same."""

    @pytest.fixture(autouse=True)
    def lower(self, monkeypatch: pytest.MonkeyPatch, merged_apps: int) -> None:
        monkeypatch.setattr(timeline, "MERGED_APPS", merged_apps)
        monkeypatch.setattr(timeline, "_WALK_STEP", 3)

    async def test_any_page_is_that_part_of_the_whole(self, stage: Stage) -> None:
        bodies = []
        for number in range(12):
            app_id = (APP, OTHER_APP, None)[number % 3]
            event = await stage.ingest(stage.event(app_id=app_id))
            await stage.ingest(stage.event(app_id="c" * 24), stage.event(app_id=None, user_id="us-other"))
            bodies.append(event.body)
        bodies.reverse()
        for limit, offset in itertools.product((1, 4, 20), (0, 1, 5, 11, 12, 30)):
            listed = await stage.store.read(list_events_of_user, OWNER, [APP, OTHER_APP], limit=limit, offset=offset)
            assert listed == (bodies[offset : offset + limit], 12)

    async def test_a_list_goes_on_before_an_event(self, stage: Stage) -> None:
        events = [await stage.ingest() for _ in range(6)]
        listed = await stage.store.read(list_events_of_user, OWNER, [APP], limit=2, offset=1, before=events[4].id)
        assert listed == ([events[2].body, events[1].body], 4)

    async def test_counting_ends_but_pages_lead_to_the_end(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(timeline, "MAX_COUNT", 3)
        await stage.ingest(*(stage.event() for _ in range(7)))
        totals = [
            (await stage.store.read(list_events_of_user, OWNER, [APP], limit=2, offset=offset))[1]
            for offset in (0, 2, 4, 6, 8)
        ]
        assert totals == [3, 5, 7, 7, 3]


async def test_the_events_of_an_app_go_on_before_one(stage: Stage) -> None:
    events = [await stage.ingest() for _ in range(5)]
    listed = await stage.store.read(list_events_of_app, APP, limit=2, offset=0, before=events[3].id)
    assert listed == ([events[2].body, events[1].body], 3)
