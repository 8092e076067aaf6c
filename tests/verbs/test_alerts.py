"""Alert rules as their verbs make them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verbs.conftest import World
from tocsin.alerts import AlertWish, read_nanoseconds
from tocsin.dates import format_duration
from tocsin.errors import InvalidInput, NotFound

WISH = {"container_type": "web", "metric": "cpu", "limit": 0.8}


async def add(world: World, **wishes):
    return await world.alerts.add(world.app, world.alice, AlertWish(**WISH | wishes))


async def test_a_new_alert_has_defaults(world: World):
    alert = await add(world)
    assert alert.id.startswith("al-")
    assert (alert.container_type, alert.metric, alert.limit) == ("web", "cpu", 0.8)
    assert (alert.disabled, alert.send_when_below, alert.notifiers, alert.metadata) == (False, False, (), None)
    assert (alert.duration_before_trigger, alert.remind_every) == (0, 0)
    assert await world.alerts.get(world.app, alert.id) == alert
    assert await world.alerts.list(world.app) == [alert]


async def test_an_alert_holds_what_is_asked_for(world: World):
    notifier = await world.add_webhook()
    alert = await add(
        world,
        metric="rpm-per-container",
        limit=100,
        disabled=True,
        send_when_below=True,
        duration_before_trigger=180_000_000_000,
        remind_every="1h30m",
        notifiers=[notifier.id, notifier.id],
        metadata={"team": "ops"},
    )
    stored = await world.alerts.get(world.app, alert.id)
    assert stored == alert
    assert (stored.metric, stored.limit, stored.notifiers) == ("rpm_per_container", 100.0, (notifier.id,))
    assert (stored.duration_before_trigger, stored.remind_every) == (180_000_000_000, 5_400_000_000_000)
    assert stored.metadata == {"team": "ops"}


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ({"container_type": None}, "container_type"),
        ({"container_type": " "}, "container_type"),
        ({"container_type": "w\x00"}, "container_type"),
        ({"metric": None}, "metric"),
        ({"metric": "temperature"}, "metric"),
        ({"limit": None}, "limit"),
        ({"limit": float("nan")}, "limit"),
        ({"limit": float("inf")}, "limit"),
        ({"duration_before_trigger": -1}, "duration_before_trigger"),
        ({"duration_before_trigger": 1.5}, "duration_before_trigger"),
        ({"duration_before_trigger": "3 minutes"}, "duration_before_trigger"),
        ({"remind_every": 1 << 63}, "remind_every"),
        ({"remind_every": "-5m"}, "remind_every"),
        ({"notifiers": ["no-0"]}, "notifiers"),
        ({"metadata": {"key": "x" * 20_000}}, "metadata"),
    ],
)
async def test_a_wrong_field_is_named(world: World, wishes, field):
    with pytest.raises(InvalidInput) as refused:
        await add(world, **wishes)
    assert list(refused.value.fields) == [field]
    assert await world.alerts.list(world.app) == []


async def test_an_unknown_metric_is_answered_with_the_known_ones(world: World):
    with pytest.raises(InvalidInput, match="cpu, memory, swap, p95_response_time, 5XX, all, rpm_per_container"):
        await add(world, metric="rpm")


async def test_notifiers_of_an_alert_must_be_of_its_app(world: World):
    [foreign] = await world.notifiers.list(world.other_app)
    with pytest.raises(InvalidInput) as refused:
        await add(world, notifiers=[world.default.id, foreign.id])
    assert foreign.id in str(refused.value)
    assert world.default.id not in str(refused.value)
    alert = await add(world)
    with pytest.raises(InvalidInput):
        await world.alerts.edit(world.app, alert.id, AlertWish(notifiers=[foreign.id]))


async def test_an_edit_changes_what_is_given_and_keeps_the_rest(world: World):
    alert = await add(world, notifiers=[world.default.id], remind_every="5m", metadata={"a": 1})
    world.clock.advance(timedelta(minutes=1))
    disabled = await world.alerts.edit(world.app, alert.id, AlertWish(disabled=True))
    assert disabled.disabled
    assert (disabled.notifiers, disabled.remind_every, disabled.metadata) == (
        (world.default.id,),
        300_000_000_000,
        {"a": 1},
    )
    assert disabled.updated_at == world.clock.now()
    cleared = await world.alerts.edit(world.app, alert.id, AlertWish(notifiers=[], remind_every=0, metadata={}))
    assert (cleared.notifiers, cleared.remind_every, cleared.metadata) == ((), 0, None)
    assert await world.alerts.get(world.app, alert.id) == cleared


async def test_events_tell_of_new_and_removed_alerts(world: World):
    alert = await add(world)
    await world.alerts.edit(world.app, alert.id, AlertWish(disabled=True))
    await world.alerts.remove(world.app, world.bob, alert.id)
    removed, added = await world.events()
    assert (added["type"], removed["type"]) == ("new_alert", "delete_alert")
    assert added["type_data"] == {
        "alert_id": alert.id,
        "container_type": "web",
        "metric": "cpu",
        "limit": 0.8,
        "limit_text": "80%",
        "send_when_below": False,
    }
    assert removed["type_data"] == {"alert_id": alert.id, "container_type": "web", "metric": "cpu"}


@pytest.mark.parametrize(
    ("metric", "limit", "text"),
    [
        ("memory", 1.005, "100.5%"),
        ("p95_response_time", 250, "250 ms"),
        ("5XX", 12.5, "12.5"),
        ("all", 1_000_000, "1000000 rpm"),
    ],
)
async def test_a_limit_is_written_in_the_metric_s_unit(world: World, metric, limit, text):
    await add(world, metric=metric, limit=limit)
    assert (await world.events())[0]["type_data"]["limit_text"] == text


async def test_an_alert_of_another_app_does_not_exist(world: World):
    alert = await add(world)
    for attempt in (
        world.alerts.get(world.other_app, alert.id),
        world.alerts.edit(world.other_app, alert.id, AlertWish(disabled=True)),
        world.alerts.remove(world.other_app, world.charlie, alert.id),
    ):
        with pytest.raises(NotFound) as missing:
            await attempt
        assert missing.value.resource == "alert"
    assert await world.alerts.list(world.app) == [alert]


async def test_a_removed_notifier_is_no_longer_named(world: World):
    notifier = await world.add_webhook()
    alert = await add(world, notifiers=[world.default.id, notifier.id])
    await world.notifiers.remove(world.app, world.alice, notifier.id)
    assert (await world.alerts.get(world.app, alert.id)).notifiers == (world.default.id,)


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_a_duration_is_the_same_in_nanoseconds_and_in_words(nanoseconds):
    assert read_nanoseconds(nanoseconds) == nanoseconds
    assert read_nanoseconds(format_duration(nanoseconds)) == nanoseconds


@given(st.text() | st.floats() | st.integers())
def test_a_duration_is_read_or_refused_and_nothing_else(given_duration):
    try:
        assert 0 <= read_nanoseconds(given_duration) < 1 << 63
    except ValueError as error:
        assert str(error)
