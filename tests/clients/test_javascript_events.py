"""scalingo.js reads timelines and keeps alert rules."""

from typing import Any

import pytest

from tests.clients.conftest import Server
from tests.clients.javascript import ClientError, ScalingoJs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients")]

NANOSECONDS = 1_000_000_000
RULE = {"container_type": "web", "metric": "cpu", "limit": 0.8, "duration_before_trigger": 180 * NANOSECONDS}


def post(server: Server, app: str, count: int) -> list[str]:
    """So many events, oldest first; answers with their ids."""
    events = [{"type": "restart", "type_data": {"number": number}} for number in range(count)]
    response = server.state.post(f"/v1/apps/{app}/events", json={"events": events})
    assert response.status_code == 201, response.text
    return [event["id"] for event in response.json()["events"]]


def test_the_timeline_of_an_app_is_newest_first_with_who_did_it(js: ScalingoJs, server: Server, app: str) -> None:
    ids = post(server, app, 3)
    listed = js("Events.for", app)
    assert [event["id"] for event in listed["events"][:3]] == ids[::-1]
    newest = listed["events"][0]
    assert (newest["type"], newest["app_name"], newest["type_data"]) == ("restart", app, {"number": 2})
    assert newest["user"] == {key: js("Users.self")[key] for key in ("id", "username", "email")}
    assert listed == server.read(f"/v1/apps/{app}/events")


def test_pages_follow_each_other_to_the_end(js: ScalingoJs, server: Server, app: str) -> None:
    post(server, app, 7)
    everything = js("Events.for", app, {"per_page": 100})["events"]
    seen: list[Any] = []
    number: int | None = 1
    while number is not None:
        page = js("Events.for", app, {"page": number, "per_page": 3})
        pagination = page["meta"]["pagination"]
        assert pagination["current_page"] == number
        assert pagination["prev_page"] == (number - 1 or None)
        assert pagination["total_count"] == len(everything)
        assert pagination["total_pages"] == -(-len(everything) // 3)
        seen += page["events"]
        number = pagination["next_page"]
    assert seen == everything


def test_a_page_past_the_end_is_empty(js: ScalingoJs, app: str) -> None:
    page = js("Events.for", app, {"page": 99})
    assert page["events"] == []
    assert page["meta"]["pagination"]["next_page"] is None


def test_the_last_hours_come_at_once(js: ScalingoJs, server: Server, app: str) -> None:
    ids = post(server, app, 40)
    recent = js("Events.for", app, {"from": 1})
    assert {event["id"] for event in recent["events"]} >= set(ids)


def test_one_event_is_found_in_its_app_only(js: ScalingoJs, server: Server, app: str) -> None:
    (event_id,) = post(server, app, 1)
    found = js("Events.find", app, event_id)
    assert found == js("Events.for", app)["events"][0]
    other = js("Apps.create", {"name": f"{app}-other"})["id"]
    with pytest.raises(ClientError) as refused:
        js("Events.find", other, event_id)
    assert refused.value.data == {"resource": "event", "error": "not found"}


def test_the_timeline_of_a_user_holds_every_app_of_theirs(js: ScalingoJs, server: Server, app: str) -> None:
    (event_id,) = post(server, app, 1)
    assert event_id in [event["id"] for event in js("Events.all", {"per_page": 10})["events"]]
    assert event_id not in [event["id"] for event in js("Events.all", {"per_page": 100}, by="bob")["events"]]


@pytest.mark.parametrize("given", [{"page": -1}, {"page": "first"}, {"per_page": -1}, {"from": 100}])
def test_a_wrong_page_is_refused(js: ScalingoJs, app: str, given: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as refused:
        js("Events.for", app, given)
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == list(given)


def test_changes_of_notifiers_stand_in_the_timeline(js: ScalingoJs, app: str) -> None:
    webhook = next(one["id"] for one in js("NotificationPlatforms.list") if one["name"] == "webhook")
    given = {"platform_id": webhook, "name": "hook", "type_data": {"webhook_url": "https://a.example.com/secret"}}
    notifier = js("Notifiers.create", app, given)
    js("Notifiers.update", app, notifier["id"], {"active": False})
    js("Notifiers.destroy", app, notifier["id"])
    newest = js("Events.for", app)["events"][:3]
    assert [event["type"] for event in newest] == ["delete_notifier", "edit_notifier", "new_notifier"]
    assert "secret" not in str(newest)


def test_a_created_alert_is_what_the_server_has(js: ScalingoJs, server: Server, app: str) -> None:
    created = js("Alerts.create", app, RULE)
    assert created["id"].startswith("al-")
    assert created.items() >= RULE.items()
    assert (created["disabled"], created["send_when_below"], created["notifiers"]) == (False, False, [])
    assert js("Alerts.find", app, created["id"]) == created
    assert js("Alerts.for", app) == [created]
    assert server.read(f"/v1/apps/{app}/alerts/{created['id']}") == {"alert": created}


def test_an_alert_names_its_notifiers(js: ScalingoJs, app: str) -> None:
    (default,) = js("Notifiers.for", app)
    created = js("Alerts.create", app, RULE | {"notifiers": [default["id"]]})
    assert created["notifiers"] == [default["id"]]
    assert js("Alerts.for", app)[0]["notifiers"] == [default["id"]]


def test_an_update_of_an_alert_keeps_what_it_does_not_name(js: ScalingoJs, server: Server, app: str) -> None:
    created = js("Alerts.create", app, RULE | {"remind_every": "5m30s"})
    assert created["remind_every"] == "5m30s"
    updated = js("Alerts.update", app, created["id"], {"disabled": True, "limit": 0.5})
    assert updated | {"updated_at": ""} == created | {"disabled": True, "limit": 0.5, "updated_at": ""}
    assert server.read(f"/v1/apps/{app}/alerts/{created['id']}") == {"alert": updated}


def test_a_destroyed_alert_is_gone(js: ScalingoJs, server: Server, app: str) -> None:
    created = js("Alerts.create", app, RULE)
    js("Alerts.destroy", app, created["id"])
    assert js("Alerts.for", app) == []
    assert server.status(f"/v1/apps/{app}/alerts/{created['id']}") == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"container_type": None}, "container_type"),
        ({"metric": None}, "metric"),
        ({"metric": "mood"}, "metric"),
        ({"limit": None}, "limit"),
        ({"limit": "high"}, "limit"),
        ({"duration_before_trigger": -1}, "duration_before_trigger"),
        ({"notifiers": ["no-824fd8bb-0efe-4b7b-9605-1b98110abeef"]}, "notifiers"),
    ],
)
def test_a_wrong_alert_is_refused_with_its_field_named(
    js: ScalingoJs, app: str, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(ClientError) as refused:
        js("Alerts.create", app, RULE | given)
    assert refused.value.status == 422
    assert list(refused.value.data["errors"]) == [field]
    assert js("Alerts.for", app) == []


@pytest.mark.parametrize(("call", "args"), [("find", []), ("update", [{"disabled": True}]), ("destroy", [])])
def test_an_unknown_alert_is_not_found(js: ScalingoJs, app: str, call: str, args: list[Any]) -> None:
    with pytest.raises(ClientError) as refused:
        js(f"Alerts.{call}", app, "al-824fd8bb-0efe-4b7b-9605-1b98110abeef", *args)
    assert refused.value.status == 404
    assert refused.value.data == {"resource": "alert", "error": "not found"}
