"""Sending again: one delivery, or many, to the same notifier or another, one after the other."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.cast import APP, LIFETIME, OTHER_APP, Stage, send, to_retry
from tocsin.errors import Conflict
from tocsin.ids import new_uuid7
from tocsin.model import Delivery, DeliveryReason, DeliveryState, Notifier
from tocsin.store import schema
from tocsin.store.deliveries import find_delivery
from tocsin.store.endings import cancel_pending
from tocsin.store.replays import (
    Chosen,
    Made,
    Pace,
    count_replayable,
    first_free,
    list_candidates,
    replay,
    replay_chosen,
)

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
PACE = Pace(gap=SECOND, lifetime=LIFETIME)
ALL = frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.CANCELLED})


async def replay_now(stage: Stage, delivery: Delivery, to: Notifier | None = None) -> str:
    now = stage.clock.now()
    target = delivery.notifier_id if to is None else to.id
    return await stage.store.write(replay, delivery, target, at=now, expires_at=now + LIFETIME)


def choose(notifier: Notifier, since: datetime, *, to: Notifier | None = None, **only: Any) -> Chosen:
    chosen = {"app_id": APP, "before_id": new_uuid7("de"), "target_id": (to or notifier).id} | only
    return Chosen(notifier_id=notifier.id, since=since, **chosen)


async def pages(stage: Stage, chosen: Chosen, limit: int) -> list[list[str]]:
    found: list[list[str]] = []
    after = None
    while True:
        page = await stage.store.read(list_candidates, chosen, after=after, limit=limit)
        found.append(page)
        if len(page) < limit:
            return found
        after = page[-1]


async def found(stage: Stage, chosen: Chosen) -> list[str]:
    """The events that there are to send again, one by one."""
    [page] = await pages(stage, chosen, 100)
    return [event_id for event_id in page if await stage.store.read(count_replayable, chosen, [event_id])]


async def replay_all(stage: Stage, chosen: Chosen, *, limit: int = 100, pace: Pace = PACE) -> list[str]:
    """Replay what is chosen, and tell the events that are on their way again, oldest first.

    Their number must be the one counted before.
    """
    before = {delivery.id for delivery in await stage.deliveries()}
    counted = 0
    for page in await pages(stage, chosen, limit):
        counted += await stage.store.read(count_replayable, chosen, page)
    now = stage.clock.now()
    made = [
        await stage.store.write(replay_chosen, chosen, page, pace=pace, at=now)
        for page in await pages(stage, chosen, limit)
    ]
    new = [delivery for delivery in await stage.deliveries() if delivery.id not in before]
    assert sum(each.count for each in made) == len(new) == counted
    assert all(each.replay_of and each.state == DeliveryState.PENDING for each in new)
    assert {each.notifier_id for each in new} <= {chosen.target_id}
    return [each.event_id for each in sorted(new, key=due_at)]


def due_at(delivery: Delivery) -> datetime:
    assert delivery.next_attempt_at is not None
    return delivery.next_attempt_at


async def ingest_some(stage: Stage, count: int) -> list[str]:
    events = [stage.event() for _ in range(count)]
    await stage.ingest(*events)
    return [event.id for event in events]


def remove_events(connection: sa.Connection) -> None:
    connection.execute(schema.events.delete())


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


async def test_a_replay_can_go_to_another_notifier(stage: Stage) -> None:
    one = await stage.add_notifier("one")
    event = await stage.ingest()
    first = await stage.delivery()
    two = await stage.add_notifier("two")
    replay_id = await replay_now(stage, first, to=two)
    [claim] = await stage.claim(two)
    assert (claim.delivery_id, claim.event_id, claim.notifier.id) == (replay_id, event.id, two.id)
    assert [claim.delivery_id for claim in await stage.claim(one)] == [first.id]


async def test_a_delivery_whose_event_is_gone_is_not_replayed(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    await send(stage, notifier, ends=DeliveryState.FAILED)
    [delivery] = await stage.deliveries()
    await stage.store.write(remove_events)
    with pytest.raises(Conflict, match="is gone"):
        await replay_now(stage, delivery)
    assert await replay_all(stage, choose(notifier, delivery.created_at)) == []
    assert await replay_all(stage, choose(notifier, delivery.created_at, states=ALL)) == []
    assert await stage.deliveries() == [delivery]


class TestWhatIsChosen:
    async def test_failed_and_cancelled_deliveries_are_missed(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        failed = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        cancelled = await stage.ingest()
        await stage.store.write(cancel_pending, notifier.id, reason=DeliveryReason.BY_USER, at=since)
        await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        await stage.ingest()
        assert await replay_all(stage, choose(notifier, since)) == [failed.id, cancelled.id]

    async def test_what_arrived_is_sent_again_when_it_is_asked_for(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        arrived = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        failed = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        await stage.ingest()
        just_delivered = choose(notifier, since, states=frozenset({DeliveryState.DELIVERED}))
        assert await replay_all(stage, just_delivered) == [arrived.id]
        assert await replay_all(stage, choose(notifier, since, states=ALL)) == [failed.id]
        assert await replay_all(stage, choose(notifier, since, states=ALL)) == []

    async def test_types_and_reasons_leave_the_others_out(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        events = [await stage.ingest(stage.event(kind)) for kind in ("deployment", "restart")]
        await send(stage, notifier, ends=DeliveryState.FAILED)
        events.append(await stage.ingest(stage.event("deployment")))
        await stage.store.write(cancel_pending, notifier.id, reason=DeliveryReason.BY_USER, at=since)
        kinds: list[tuple[dict[str, Any], list[int]]] = [
            ({"types": {"deployment"}}, [0, 2]),
            ({"types": {"restart", "crash"}}, [1]),
            ({"types": {"crash"}}, []),
            ({"reasons": {DeliveryReason.GONE}}, [0, 1]),
            ({"reasons": {DeliveryReason.BY_USER}}, [2]),
            ({"reasons": {DeliveryReason.BY_USER, DeliveryReason.GONE}, "types": {"deployment"}}, [0, 2]),
            ({"reasons": {DeliveryReason.EXPIRED}}, []),
        ]
        for only, expected in kinds:
            for states in (ALL, ALL - {DeliveryState.DELIVERED}):
                chosen = choose(notifier, since, states=states, **only)
                assert await found(stage, chosen) == [events[place].id for place in expected], only

    @pytest.mark.parametrize("states", [ALL, {DeliveryState.FAILED}])
    @pytest.mark.parametrize(
        ("from_hour", "until_hour", "limit", "expected"),
        [(0, None, 1, [0, 1, 2, 3]), (1, None, 2, [1, 2, 3]), (1, 3, 100, [1, 2])],
    )
    async def test_since_and_until_are_times_of_receipt(
        self, stage: Stage, states, from_hour, until_hour, limit, expected
    ) -> None:
        notifier = await stage.add_notifier()
        start = stage.clock.now()
        events = []
        for _ in range(4):
            events.append((await stage.ingest()).id)
            stage.clock.advance(HOUR)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        until = None if until_hour is None else start + until_hour * HOUR
        chosen = choose(notifier, start + from_hour * HOUR, until=until, states=states)
        assert await replay_all(stage, chosen, limit=limit) == [events[place] for place in expected]

    async def test_what_is_on_its_way_again_is_not_chosen_twice(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        event = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        for _ in range(2):
            assert await replay_all(stage, choose(notifier, since)) == [event.id]
            assert await replay_all(stage, choose(notifier, since)) == []
            [_] = await stage.claim(notifier)
            assert await replay_all(stage, choose(notifier, since)) == []
            stage.clock.advance(HOUR)
            await stage.store.write(free, at=stage.clock.now())
            await send(stage, notifier, ends=DeliveryState.FAILED)

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_of_an_event_that_failed_again_and_again_the_last_delivery_counts(self, stage: Stage, limit) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        events = await ingest_some(stage, 3)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        for _ in range(2):
            assert await replay_all(stage, choose(notifier, since), limit=limit) == events
            stage.clock.advance(HOUR)
            await send(stage, notifier, ends=DeliveryState.FAILED)
        newest = {delivery.event_id: delivery.id for delivery in await stage.deliveries()}
        await replay_all(stage, choose(notifier, since), limit=limit)
        live = await stage.deliveries(state=DeliveryState.PENDING)
        assert {delivery.event_id: delivery.replay_of for delivery in live} == newest

    async def test_a_replay_that_arrived_ends_the_matter(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        await replay_now(stage, await stage.delivery())
        await send(stage, notifier, ends=DeliveryState.DELIVERED)
        assert await replay_all(stage, choose(notifier, since)) == []

    async def test_a_replay_to_one_notifier_does_not_hide_what_another_missed(self, stage: Stage) -> None:
        one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
        since = stage.clock.now()
        event = await stage.ingest()
        for notifier in (one, two):
            await send(stage, notifier, ends=DeliveryState.FAILED)
        [first] = await stage.deliveries(notifier_id=one.id)
        await replay_now(stage, first)
        assert await replay_all(stage, choose(one, since)) == []
        assert await replay_all(stage, choose(two, since)) == [event.id]

    async def test_what_failed_after_the_call_began_is_left_for_the_next(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        earlier = choose(notifier, since)
        event = await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        assert await replay_all(stage, earlier) == []
        assert await replay_all(stage, choose(notifier, since)) == [event.id]

    async def test_another_app_finds_nothing(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        await stage.ingest()
        await send(stage, notifier, ends=DeliveryState.FAILED)
        for states in (ALL, ALL - {DeliveryState.DELIVERED}):
            assert await replay_all(stage, choose(notifier, since, states=states, app_id=OTHER_APP)) == []


def free(connection: sa.Connection, at: datetime) -> None:
    """Give back what is leased, as a stop does."""
    table = schema.deliveries
    connection.execute(table.update().where(table.c.state == "sending").values(state="pending", next_attempt_at=at))


def reset_attempts(connection: sa.Connection) -> None:
    """As after an attempt that does not count."""
    connection.execute(schema.deliveries.update().values(attempt_count=0))


class TestToAnother:
    async def prepare(self, stage: Stage) -> tuple[Notifier, Notifier, list[str]]:
        """Two notifiers: of four events, the first missed all, the second none but the last."""
        one, two = await stage.add_notifier("one"), await stage.add_notifier("two")
        events = await ingest_some(stage, 4)
        await send(stage, one, ends=DeliveryState.FAILED)
        arrived, refused, *_ = await stage.claim(two)
        await stage.deliver(arrived)
        await stage.fail(refused)
        assert [arrived.event_id, refused.event_id] == events[:2]
        return one, two, events

    async def test_what_one_missed_goes_to_another_that_has_it_not(self, stage: Stage) -> None:
        since = stage.clock.now()
        one, two, events = await self.prepare(stage)
        three = await stage.add_notifier("three")
        # The first arrived there, the last two are on their way.
        assert await replay_all(stage, choose(one, since, to=two)) == [events[1]]
        assert await replay_all(stage, choose(one, since, to=two)) == []
        assert await replay_all(stage, choose(one, since, to=three)) == events
        assert await replay_all(stage, choose(one, since, to=three)) == []
        stage.clock.advance(HOUR)
        await send(stage, three, ends=DeliveryState.DELIVERED)
        assert await replay_all(stage, choose(one, since, to=three)) == []
        assert await replay_all(stage, choose(one, since)) == events

    async def test_what_failed_there_can_be_sent_there_again(self, stage: Stage) -> None:
        since = stage.clock.now()
        one, _, events = await self.prepare(stage)
        three = await stage.add_notifier("three")
        assert await replay_all(stage, choose(one, since, to=three)) == events
        stage.clock.advance(HOUR)
        await send(stage, three, ends=DeliveryState.FAILED)
        assert await replay_all(stage, choose(one, since, to=three)) == events
        stage.clock.advance(HOUR)
        await send(stage, three, ends=DeliveryState.FAILED)
        assert await replay_all(stage, choose(three, since)) == events

    async def test_all_that_one_got_can_be_given_to_another(self, stage: Stage) -> None:
        one = await stage.add_notifier("one")
        since = stage.clock.now()
        events = await ingest_some(stage, 3)
        await send(stage, one, ends=DeliveryState.DELIVERED)
        two = await stage.add_notifier("two")
        assert await replay_all(stage, choose(one, since, to=two, states=ALL)) == events
        assert await replay_all(stage, choose(one, since, to=two, states=ALL)) == []


class TestPace:
    async def test_replays_are_due_one_after_the_other_and_expire_after_that(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        events = await ingest_some(stage, 5)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        now = stage.clock.now()
        assert await replay_all(stage, choose(notifier, since), limit=2) == events
        live = sorted(await stage.deliveries(state=DeliveryState.PENDING), key=due_at)
        assert [due_at(each) for each in live] == [now + place * SECOND for place in range(5)]
        assert [each.expires_at for each in live] == [due_at(each) + LIFETIME for each in live]
        assert {each.created_at for each in live} == {now}
        for event_id in events:
            assert [claim.event_id for claim in await stage.claim(notifier)] == [event_id]
            stage.clock.advance(SECOND)

    async def test_what_is_asked_for_later_comes_after_what_is_planned(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        first = await ingest_some(stage, 2)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        await replay_all(stage, choose(notifier, since))
        [_, planned] = sorted(map(due_at, await stage.deliveries(state=DeliveryState.PENDING)))
        second = await ingest_some(stage, 2)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        assert await replay_all(stage, choose(notifier, since)) == [first[0], *second]
        live = sorted(await stage.deliveries(state=DeliveryState.PENDING), key=due_at)
        assert [due_at(each) for each in live] == [planned + place * SECOND for place in range(4)]

    async def test_only_replays_are_planned(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        now = stage.clock.now()
        await stage.ingest()
        [claim] = await stage.claim(notifier)
        await stage.settle(to_retry(claim, now, after=HOUR))
        assert await stage.store.read(first_free, notifier.id, pace=PACE, at=now) == now
        await stage.store.write(reset_attempts)
        assert await stage.store.read(first_free, notifier.id, pace=PACE, at=now) == now

    async def test_a_replay_that_is_due_now_or_was_just_now_is_a_gap_away(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest()
        await replay_now(stage, await stage.delivery())
        now = stage.clock.now()
        for seconds, free_after in ((0, 1), (0.25, 0.75), (1, 0), (60, 0)):
            at = now + timedelta(seconds=seconds)
            found = await stage.store.read(first_free, notifier.id, pace=PACE, at=at)
            assert found == at + timedelta(seconds=free_after)

    async def test_a_fresh_event_goes_out_before_what_is_planned(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        since = stage.clock.now()
        old = await ingest_some(stage, 3)
        await send(stage, notifier, ends=DeliveryState.FAILED)
        await replay_all(stage, choose(notifier, since))
        [claim] = await stage.claim(notifier)
        assert claim.event_id == old[0]
        fresh = await stage.ingest()
        assert [claim.event_id for claim in await stage.claim(notifier)] == [fresh.id]

    async def test_nothing_to_send_is_nothing_made(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        event = await stage.ingest()
        chosen = choose(notifier, stage.clock.now() - HOUR)
        for events in ([], [event.id], ["nope"]):
            made = await stage.store.write(replay_chosen, chosen, events, pace=PACE, at=stage.clock.now())
            assert made == Made()
