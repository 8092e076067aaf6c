"""Alerts over HTTP, wrapped as most clients send them and bare as the Go client's update."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.dates import format_duration, parse_duration, parse_instant

PATH = "/v1/apps/my-app/alerts"
BODY = {"container_type": "web", "metric": "cpu", "limit": 0.1}


async def add(client, **fields) -> dict[str, Any]:
    response = await client.post(PATH, json={"alert": BODY | fields})
    assert response.status_code == 201, response.text
    return response.json()["alert"]


def assert_readable(alert: dict[str, Any]) -> None:
    assert type(alert["duration_before_trigger"]) is int
    assert isinstance(alert["remind_every"], str)
    assert isinstance(alert["notifiers"], list)
    for name in ("disabled", "send_when_below"):
        assert isinstance(alert[name], bool)
    for name in ("created_at", "updated_at"):
        parse_instant(alert[name])


async def test_an_alert_is_added_listed_shown_and_removed(client, world):
    created = await add(client)
    assert_readable(created)
    assert created["app_id"] == world.app.id
    assert created["id"].startswith("al-")
    assert (created["remind_every"], created["duration_before_trigger"], created["notifiers"]) == ("", 0, [])
    assert (created["metadata"], created["disabled"], created["send_when_below"]) == (None, False, False)
    assert (await client.get(PATH)).json() == {"alerts": [created]}
    path = f"{PATH}/{created['id']}"
    assert (await client.get(path)).json() == {"alert": created}
    removed = await client.delete(path)
    assert (removed.status_code, removed.content) == (204, b"")
    for response in (await client.get(path), await client.delete(path), await client.patch(path, json={})):
        assert (response.status_code, response.json()) == (404, {"resource": "alert", "error": "not found"})
    assert [event["type"] for event in await world.events(world.app.id)][-2:] == ["new_alert", "delete_alert"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("wrapper", [lambda body: {"alert": body}, lambda body: body])
async def test_an_alert_is_changed_wrapped_or_bare(client, method, wrapper):
    created = await add(client, remind_every="5m30s")
    path = f"{PATH}/{created['id']}"
    changed = await client.request(method, path, json=wrapper({"disabled": True}))
    assert changed.status_code == 200
    alert = changed.json()["alert"]
    assert_readable(alert)
    assert alert | {"updated_at": ""} == created | {"updated_at": "", "disabled": True}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("5m30s", "5m30s"), ("3m", "3m0s"), (300_000_000_000, "5m0s"), ("0s", ""), ("", ""), (0, ""), (None, "")],
)
async def test_reminders_are_read_in_words_or_nanoseconds_and_written_in_words(client, sent, shown):
    assert (await add(client, remind_every=sent))["remind_every"] == shown


@pytest.mark.parametrize("sent", ["3m", 180_000_000_000, 180_000_000_000.0])
async def test_the_duration_before_a_trigger_is_written_in_whole_nanoseconds(client, sent):
    response = await client.post(PATH, json={"alert": BODY | {"duration_before_trigger": sent}})
    assert '"duration_before_trigger":180000000000,' in response.text


async def test_an_empty_text_ends_reminders(client):
    created = await add(client, remind_every="5m")
    changed = await client.patch(f"{PATH}/{created['id']}", json={"remind_every": ""})
    assert changed.json()["alert"]["remind_every"] == ""


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"container_type": ""}, "container_type"),
        ({"metric": ""}, "metric"),
        ({"metric": "heat"}, "metric"),
        ({"limit": None}, "limit"),
        ({"limit": "high"}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 10**400}, "limit"),
        ({"duration_before_trigger": "soon"}, "duration_before_trigger"),
        ({"duration_before_trigger": 10**400}, "duration_before_trigger"),
        ({"remind_every": -5}, "remind_every"),
        ({"remind_every": True}, "remind_every"),
        ({"remind_every": []}, "remind_every"),
        ({"notifiers": ["no-0"]}, "notifiers"),
        ({"notifiers": "no-0"}, "notifiers"),
        ({"metadata": 5}, "metadata"),
        ({"disabled": "perhaps"}, "disabled"),
    ],
)
async def test_a_wrong_field_is_answered_with_422_that_names_it(client, fields, field):
    response = await client.post(PATH, json={"alert": BODY | fields})
    assert response.status_code == 422, response.text
    assert {name.partition(".")[0] for name in response.json()["errors"]} == {field}


async def test_limits_that_are_no_json_numbers_are_refused(client):
    response = await client.post(PATH, content=b'{"container_type":"web","metric":"cpu","limit":NaN}')
    assert response.status_code == 400


async def test_an_alert_names_notifiers_of_its_app(client):
    [default] = (await client.get("/v1/apps/my-app/notifiers")).json()["notifiers"]
    created = await add(client, notifiers=[default["id"]])
    assert created["notifiers"] == [default["id"]]
    await client.delete(f"/v1/apps/my-app/notifiers/{default['id']}")
    assert (await client.get(f"{PATH}/{created['id']}")).json()["alert"]["notifiers"] == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/x"), ("PATCH", "/x"), ("PUT", "/x"), ("DELETE", "/x")]
)
async def test_an_outsider_finds_nothing(charlie, anonymous, method, path):
    response = await charlie.request(method, PATH + path, json={})
    assert (response.status_code, response.json()) == (404, {"resource": "app", "error": "not found"})
    assert (await anonymous.request(method, PATH + path, json={})).status_code == 401


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nanoseconds=st.integers(min_value=0, max_value=(1 << 63) - 1), is_text=st.booleans())
async def test_durations_keep_every_nanosecond(client, nanoseconds, is_text):
    sent = format_duration(nanoseconds) if is_text else nanoseconds
    alert = await add(client, duration_before_trigger=sent, remind_every=sent)
    assert alert["duration_before_trigger"] == nanoseconds
    assert parse_duration(alert["remind_every"]) == nanoseconds


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.dictionaries(
        st.sampled_from(["limit", "remind_every", "duration_before_trigger", "metadata", "notifiers", "metric"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.just({"a": [1]}),
    )
)
async def test_any_object_is_taken_or_refused_with_reasons(client, fields):
    response = await client.post(PATH, content=json.dumps(BODY | fields))
    assert response.status_code in {201, 400, 422}, response.text
    if response.status_code == 201:
        assert_readable(response.json()["alert"])
