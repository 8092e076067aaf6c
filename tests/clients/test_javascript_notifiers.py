"""scalingo.js manages notifiers, and what it sends arrives."""

import asyncio
from typing import Any

import pytest

from tests.clients.conftest import Server
from tests.clients.javascript import ClientError, ScalingoJs
from tests.line import Got, answer, receiving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clients")]

HOOK = "https://receiver.example.com/hook?key=1"


@pytest.fixture(scope="session")
def platform_ids(js: ScalingoJs) -> dict[str, str]:
    return {platform["name"]: platform["id"] for platform in js("NotificationPlatforms.list")}


@pytest.fixture
def webhook(platform_ids: dict[str, str]) -> dict[str, Any]:
    """What a client gives to make a webhook notifier."""
    return {"platform_id": platform_ids["webhook"], "name": "hook", "type_data": {"webhook_url": HOOK}}


def test_the_client_lists_the_platforms_with_their_documented_ids(platform_ids: dict[str, str]) -> None:
    assert platform_ids["slack"] == "5982f145d48c3600273ef089"
    assert platform_ids["webhook"] == "5982f145d48c3600273ef08a"
    assert platform_ids["email"] == "59c52ac27651ce002c1d4620"
    assert "rocket_chat" in platform_ids


def test_a_platform_names_event_types_that_the_client_lists(js: ScalingoJs) -> None:
    known = {event_type["id"] for event_type in js("Events.listEventTypes")}
    for platform in js("NotificationPlatforms.list"):
        assert set(platform["available_event_ids"]) <= known
        assert {"id", "name", "display_name", "logo_url", "description"} <= platform.keys()


def test_event_types_stand_in_categories(js: ScalingoJs) -> None:
    categories = {category["id"]: category for category in js("Events.listEventCategories")}
    types = js("Events.listEventTypes")
    assert {"app_deployed", "app_crashed", "addon_updated"} <= {one["name"] for one in types}
    assert {one["category_id"] for one in types} <= set(categories)
    assert sorted(one["position"] for one in categories.values()) == list(range(1, len(categories) + 1))


def test_a_created_notifier_is_what_the_server_has(
    js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any]
) -> None:
    deployed = next(one["id"] for one in js("Events.listEventTypes") if one["name"] == "app_deployed")
    created = js("Notifiers.create", app, webhook | {"active": False, "selected_event_ids": [deployed]})
    assert created["id"].startswith("no-")
    assert created["type"] == "webhook"
    assert created["type_data"] == {"webhook_url": HOOK}
    assert created["selected_event_ids"] == [deployed]
    assert (created["active"], created["send_all_events"], created["send_all_alerts"]) == (False, False, False)
    assert created["app_id"] == js("Apps.find", app)["id"]
    assert server.read(f"/v1/apps/{app}/notifiers/{created['id']}") == {"notifier": created}


def test_a_new_notifier_is_active_and_listed(js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any]) -> None:
    created = js("Notifiers.create", app, webhook)
    assert created["active"] is True
    listed = js("Notifiers.for", app)
    assert created in listed
    assert server.read(f"/v1/apps/{app}/notifiers") == {"notifiers": listed}
    assert js("Notifiers.get", app, created["id"]) == created


@pytest.mark.parametrize(
    ("platform", "type_data"),
    [
        ("slack", {"webhook_url": "https://hooks.slack.com/services/A/B/c"}),
        ("rocket_chat", {"webhook_url": "https://chat.example.com/hooks/A/b"}),
        ("email", {"emails": ["ops@example.com"], "user_ids": []}),
    ],
)
def test_every_platform_takes_a_notifier(
    js: ScalingoJs, server: Server, app: str, platform_ids: dict[str, str], platform: str, type_data: dict[str, Any]
) -> None:
    given = {"platform_id": platform_ids[platform], "name": platform, "send_all_events": True, "type_data": type_data}
    created = js("Notifiers.create", app, given)
    assert (created["type"], created["send_all_events"]) == (platform, True)
    assert created["type_data"] == type_data
    assert server.status(f"/v1/apps/{app}/notifiers/{created['id']}") == 200


def test_an_update_changes_what_it_names_and_keeps_the_rest(
    js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any]
) -> None:
    created = js("Notifiers.create", app, webhook)
    updated = js("Notifiers.update", app, created["id"], {"name": "renamed", "active": False, "send_all_alerts": True})
    assert (updated["name"], updated["active"], updated["send_all_alerts"]) == ("renamed", False, True)
    assert updated["type_data"] == created["type_data"]
    assert updated["created_at"] == created["created_at"]
    assert server.read(f"/v1/apps/{app}/notifiers/{created['id']}") == {"notifier": updated}


def test_an_update_with_another_address_replaces_it(js: ScalingoJs, app: str, webhook: dict[str, Any]) -> None:
    created = js("Notifiers.create", app, webhook)
    elsewhere = {"webhook_url": "https://elsewhere.example.com/"}
    assert js("Notifiers.update", app, created["id"], {"type_data": elsewhere})["type_data"] == elsewhere
    assert js("Notifiers.get", app, created["id"])["type_data"] == elsewhere


def test_a_selection_can_be_cleared(js: ScalingoJs, app: str, webhook: dict[str, Any]) -> None:
    ids = [one["id"] for one in js("Events.listEventTypes")[:3]]
    created = js("Notifiers.create", app, webhook | {"selected_event_ids": ids})
    assert sorted(created["selected_event_ids"]) == sorted(ids)
    assert js("Notifiers.update", app, created["id"], {"selected_event_ids": []})["selected_event_ids"] == []


def test_a_destroyed_notifier_is_gone(js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any]) -> None:
    created = js("Notifiers.create", app, webhook)
    assert js("Notifiers.destroy", app, created["id"]) in ("", None)
    assert server.status(f"/v1/apps/{app}/notifiers/{created['id']}") == 404
    with pytest.raises(ClientError) as refused:
        js("Notifiers.destroy", app, created["id"])
    assert refused.value.status == 404


async def test_a_test_reaches_the_receiver_and_answers_with_the_outcome(
    js: ScalingoJs, app: str, webhook: dict[str, Any]
) -> None:
    async with receiving() as receiver:
        webhook["type_data"] = {"webhook_url": receiver.url}
        created = await asyncio.to_thread(js, "Notifiers.create", app, webhook)
        answered = await asyncio.to_thread(js, "Notifiers.test", app, created["id"])
        (got,) = await receiver.wait_for(1)
    assert answered["delivery"]["state"] == "delivered"
    assert got.json["app_name"] == app
    assert {"id", "type", "type_data", "created_at", "user"} <= got.json.keys()


async def test_a_test_of_a_receiver_that_refuses_says_so(js: ScalingoJs, app: str, webhook: dict[str, Any]) -> None:
    def refuse(_: Got) -> bytes:
        return answer(410)

    async with receiving(refuse) as receiver:
        webhook["type_data"] = {"webhook_url": receiver.url}
        created = await asyncio.to_thread(js, "Notifiers.create", app, webhook)
        answered = await asyncio.to_thread(js, "Notifiers.test", app, created["id"])
    assert answered["delivery"]["state"] == "failed"
    assert [attempt["response_status"] for attempt in answered["delivery"]["attempts"]] == [410]


async def test_an_event_reaches_a_notifier_that_the_client_made(
    js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any]
) -> None:
    async with receiving() as receiver:
        deployed = [one["id"] for one in js("Events.listEventTypes") if one["name"] == "app_deployed"]
        webhook |= {"type_data": {"webhook_url": receiver.url}, "selected_event_ids": deployed}
        await asyncio.to_thread(js, "Notifiers.create", app, webhook)
        events = [{"type": "restart", "type_data": {}}, {"type": "deployment", "type_data": {"status": "success"}}]
        posted = await asyncio.to_thread(server.state.post, f"/v1/apps/{app}/events", json={"events": events})
        assert posted.status_code == 201, posted.text
        (got,) = await receiver.wait_for(1)
    assert got.json == await asyncio.to_thread(js, "Events.find", app, got.json["id"])
    assert got.json["type"] == "deployment"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"platform_id": ""}, "platform_id"),
        ({"platform_id": "5982f145d48c3600273effff"}, "platform_id"),
        ({"type_data": {}}, "type_data.webhook_url"),
        ({"type_data": {"webhook_url": "not an address"}}, "type_data.webhook_url"),
        ({"active": "perhaps"}, "active"),
        ({"selected_event_ids": ["5982f139d48c360021b1ffff"]}, "selected_event_ids"),
    ],
)
def test_a_wrong_notifier_is_refused_with_its_field_named(
    js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any], given: dict[str, Any], field: str
) -> None:
    before = server.read(f"/v1/apps/{app}/notifiers")
    with pytest.raises(ClientError) as refused:
        js("Notifiers.create", app, webhook | given)
    assert refused.value.status == 422
    (found,) = refused.value.data["errors"]
    assert found == field
    assert all(isinstance(reason, str) for reason in refused.value.data["errors"][found])
    assert server.read(f"/v1/apps/{app}/notifiers") == before


def test_a_wrong_update_changes_nothing(js: ScalingoJs, app: str, webhook: dict[str, Any]) -> None:
    created = js("Notifiers.create", app, webhook)
    with pytest.raises(ClientError) as refused:
        js("Notifiers.update", app, created["id"], {"name": "new", "type_data": {"webhook_url": "nowhere"}})
    assert refused.value.status == 422
    assert js("Notifiers.get", app, created["id"]) == created


@pytest.mark.parametrize(("call", "args"), [("get", []), ("update", [{"name": "x"}]), ("destroy", []), ("test", [])])
def test_an_unknown_notifier_is_not_found(js: ScalingoJs, app: str, call: str, args: list[Any]) -> None:
    with pytest.raises(ClientError) as refused:
        js(f"Notifiers.{call}", app, "no-824fd8bb-0efe-4b7b-9605-1b98110abeef", *args)
    assert refused.value.status == 404
    assert refused.value.data == {"resource": "notifier", "error": "not found"}


def test_a_notifier_of_another_app_is_not_found(
    js: ScalingoJs, server: Server, app: str, webhook: dict[str, Any]
) -> None:
    created = js("Notifiers.create", app, webhook)
    other = js("Apps.create", {"name": f"{app}-other"})["id"]
    with pytest.raises(ClientError) as refused:
        js("Notifiers.get", other, created["id"])
    assert refused.value.data == {"resource": "notifier", "error": "not found"}
    assert server.status(f"/v1/apps/{app}/notifiers/{created['id']}") == 200
