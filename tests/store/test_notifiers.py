"""Notifiers as routing and the API find them, and events that are stored beside the change they tell of."""

from datetime import timedelta

import msgspec
import pytest

from tests.store.cast import APP, OTHER_APP, Stage, insert
from tocsin.ids import new_uuid7
from tocsin.model import NotifierState
from tocsin.store import schema
from tocsin.store.events import find_event, with_event
from tocsin.store.fanouts import find_fanout
from tocsin.store.notifiers import (
    add_notifier,
    find_notifier,
    find_sendables,
    get_routes,
    list_holds_over,
    list_lifetimes_of,
    list_notifiers,
    remove_all_notifiers,
    remove_notifier,
)
from tocsin.store.port import INLINE_FANOUT


async def test_a_notifier_is_found_as_it_was_stored(stage: Stage) -> None:
    rich = await stage.add_notifier(
        "café ☕",
        send_all_alerts=True,
        selected_event_ids=("2", "1"),
        type_data={"webhook_url": "https://example.com/ä", "nested": {"list": [1, None, 2.5]}},
        state=NotifierState.PAUSED,
        state_reason="by hand",
        held_until=stage.clock.now() + timedelta(microseconds=1),
        previous_secret="whsec_b2xk",
        previous_secret_until=stage.clock.now() + timedelta(microseconds=1),
    )
    assert await stage.store.read(find_notifier, APP, rich.id) == rich
    assert await stage.store.read(find_notifier, OTHER_APP, rich.id) is None
    assert await stage.store.read(find_notifier, APP, "no-such") is None


async def test_notifiers_are_listed_oldest_first_without_the_removed(stage: Stage) -> None:
    one, two, three = [await stage.add_notifier(name) for name in ("one", "two", "three")]
    await stage.store.write(remove_notifier, two.id, at=stage.clock.now())
    assert await stage.store.read(list_notifiers, APP) == [one, three]
    assert await stage.store.read(find_notifier, APP, two.id) is None
    assert await stage.store.read(list_notifiers, OTHER_APP) == []


async def test_only_an_active_notifier_is_sendable(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    assert await stage.store.read(find_sendables, [notifier.id]) == {notifier.id: notifier}
    await stage.edit_notifier(notifier, state=NotifierState.DISABLED)
    assert await stage.store.read(find_sendables, [notifier.id]) == {}


async def test_routes_hold_the_notifiers_and_rules_of_one_app(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.add_notifier(app_id=OTHER_APP)
    await stage.add_alert(notifier.id)
    routes = await stage.store.read(get_routes, APP)
    assert routes.notifiers == (notifier,)
    [rule] = routes.alerts
    assert (rule.metric, rule.notifiers) == ("cpu", (notifier.id,))


async def test_pauses_and_holds_are_over_when_their_time_has_come(stage: Stage) -> None:
    until = stage.clock.now() + timedelta(minutes=5)
    paused = await stage.add_notifier(state=NotifierState.PAUSED, held_until=until)
    holding = await stage.add_notifier(state=NotifierState.HOLDING, held_until=until)
    await stage.add_notifier(state=NotifierState.PAUSED)
    await stage.add_notifier(state=NotifierState.FAILING, held_until=until)
    assert await stage.store.read(list_holds_over, until - timedelta(seconds=1)) == []
    assert await stage.store.read(list_holds_over, until) == [paused, holding]


async def test_platforms_are_told_for_notifiers_that_are_there(stage: Stage) -> None:
    one = await stage.add_notifier()
    gone = await stage.add_notifier()
    await stage.store.write(remove_notifier, gone.id, at=stage.clock.now())
    assert await stage.store.read(list_lifetimes_of, [one.id, gone.id, "no-such"]) == {one.id: ("webhook", None)}


async def test_notifiers_that_went_with_their_app_are_still_told_of_it(stage: Stage) -> None:
    one = await stage.add_notifier()
    await stage.store.write(remove_all_notifiers, APP, last_event_id="none", at=stage.clock.now())
    assert await stage.store.read(list_lifetimes_of, [one.id]) == {one.id: ("webhook", None)}


class TestWithEvent:
    """A change and the event that tells of it: both or none."""

    def change(self, stage: Stage):
        row = {"id": new_uuid7("va"), "app_id": APP, "name": "A", "value": "1"}
        return lambda connection: insert(connection, schema.variables, row)

    async def test_a_change_is_stored_with_its_event_and_deliveries(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        event = stage.event("edit_variable")
        await stage.store.write(with_event, self.change(stage), event, stage.dispatch)
        assert await stage.count(schema.variables) == 1
        assert await stage.store.read(find_event, APP, event.id) == event.body
        [claim] = await stage.claim(notifier)
        assert (claim.event_id, claim.body) == (event.id, event.body)

    async def test_neither_is_stored_when_either_fails(self, stage: Stage) -> None:
        stage.dispatch.refuses_type = "crash"
        await stage.add_notifier()
        with pytest.raises(ZeroDivisionError):
            await stage.store.write(with_event, self.change(stage), stage.event("crash"), stage.dispatch)
        with pytest.raises(ZeroDivisionError):
            await stage.store.write(with_event, lambda _: 1 / 0, stage.event(), stage.dispatch)
        assert await stage.count(schema.variables) == await stage.count(schema.events) == 0

    async def test_it_is_routed_as_things_are_after_the_change(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()

        def remove(connection) -> None:
            remove_notifier(connection, notifier.id, at=stage.clock.now())

        await stage.store.write(with_event, remove, stage.event("delete_notifier"), stage.dispatch)
        assert await stage.deliveries() == []

    async def test_the_event_of_a_user_has_no_deliveries(self, stage: Stage) -> None:
        await stage.add_notifier()
        await stage.store.write(with_event, lambda _: None, stage.event("new_key", app_id=None), stage.dispatch)
        assert await stage.count(schema.events) == 1
        assert await stage.deliveries() == []

    async def test_many_notifiers_make_a_duty(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()

        def add_many(connection) -> None:
            for _ in range(INLINE_FANOUT):
                add_notifier(connection, msgspec.structs.replace(notifier, id=new_uuid7("no")))

        event = stage.event()
        await stage.store.write(with_event, add_many, event, stage.dispatch)
        duty = await stage.store.read(find_fanout)
        assert duty is not None
        assert (duty.event_id, len(duty.notifier_ids)) == (event.id, INLINE_FANOUT + 1)
        assert await stage.deliveries() == []
