"""Notifiers over HTTP: the shapes that existing clients send and can read."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.api.bodies import parse_object, unwrap
from tocsin.api.notifiers import NotifierIn
from tocsin.dates import parse_instant
from tocsin.tokens import TokenWish

WEBHOOK_ID = "5982f145d48c3600273ef08a"
EMAIL_ID = "59c52ac27651ce002c1d4620"
URL = "https://myapp.fr/webhook/scalingo"
BODY = {"platform_id": WEBHOOK_ID, "name": "My Custom Webhook", "type_data": {"webhook_url": URL}}
PATH = "/v1/apps/my-app/notifiers"
ZERO_DATE = "0001-01-01T00:00:00Z"
GO_ZEROES = {"id": "", "app_id": "", "type": "", "platform_id": "", "created_at": ZERO_DATE, "updated_at": ZERO_DATE}


async def add(client, **fields) -> dict[str, Any]:
    response = await client.post(PATH, json={"notifier": BODY | fields})
    assert response.status_code == 201, response.text
    return response.json()["notifier"]


async def edit(client, notifier, body) -> dict[str, Any]:
    response = await client.patch(f"{PATH}/{notifier['id']}", json=body)
    assert response.status_code == 200, response.text
    return response.json()["notifier"]


def assert_readable(notifier: dict[str, Any]) -> None:
    """What existing clients crash without."""
    for name in ("active", "send_all_events", "send_all_alerts"):
        assert isinstance(notifier[name], bool)
    for name in ("id", "app_id", "app", "name", "type", "platform_id", "state"):
        assert isinstance(notifier[name], str)
        assert notifier[name]
    for name in ("created_at", "updated_at"):
        parse_instant(notifier[name])
    assert isinstance(notifier["selected_event_ids"], list)
    assert isinstance(notifier["type_data"], dict)


async def test_the_documented_creation_is_accepted(world, client):
    body = (
        '{"notifiers":{"platform_id": "5982f145d48c3600273ef08a", "active": true, "name": "My Custom Webhook", '
        '"type_data": {"webhook_url": "https://myapp.fr/webhook/scalingo"}}}'
    )
    response = await client.post(PATH, content=body)
    assert response.status_code == 201
    assert list(response.json()) == ["notifier"]
    notifier = response.json()["notifier"]
    assert_readable(notifier)
    assert (notifier["app_id"], notifier["app"]) == (world.app.id, "my-app")
    assert (notifier["type"], notifier["platform_id"]) == ("webhook", WEBHOOK_ID)
    assert notifier["type_data"] == {"webhook_url": URL}
    assert (notifier["selected_event_ids"], notifier["state"], notifier["held_until"]) == ([], "active", None)


@pytest.mark.parametrize("wrapper", [lambda body: {"notifier": body}, lambda body: {"notifiers": body}, lambda b: b])
async def test_bodies_come_wrapped_or_bare(client, wrapper):
    created = await client.post(PATH, json=wrapper(BODY))
    assert created.status_code == 201
    changed = await edit(client, created.json()["notifier"], wrapper({"name": "Changed"}))
    assert changed["name"] == "Changed"


async def test_the_go_client_s_zero_values_are_not_given(client):
    created = await add(client, **(GO_ZEROES | {"platform_id": WEBHOOK_ID}), send_all_events=True)
    assert created["id"].startswith("no-")
    changed = await edit(client, created, {"notifier": GO_ZEROES | {"name": "", "type_data": {}}})
    assert changed | {"updated_at": ""} == created | {"updated_at": ""}


async def test_booleans_come_as_strings_too(client):
    created = await add(client, active="false", send_all_events="true")
    assert (created["active"], created["send_all_events"], created["state"]) == (False, True, "off")
    assert (await edit(client, created, {"notifier": {"active": "true"}}))["active"] is True


async def test_unknown_fields_are_ignored(client):
    created = await add(client, phone_number="+33", platform={"name": "x"})
    assert "phone_number" not in created


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_notifier_is_changed_by_patch_and_put(client, method):
    created = await add(client)
    path = f"{PATH}/{created['id']}"
    changed = await client.request(method, path, json={"notifier": {"name": "New", "active": False}})
    assert changed.status_code == 200
    assert list(changed.json()) == ["notifier"]
    assert_readable(changed.json()["notifier"])
    assert (await client.get(path)).json() == changed.json()


async def test_the_selection_is_cleared_by_an_empty_list_and_kept_by_null(client):
    created = await add(client, selected_events=["app_deployed", "app_crashed"])
    assert len(created["selected_event_ids"]) == 2
    assert (await edit(client, created, {"selected_event_ids": None}))["selected_event_ids"]
    assert (await edit(client, created, {"selected_event_ids": []}))["selected_event_ids"] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"platform_id": ""}, "platform_id"),
        ({"platform_id": "nope"}, "platform_id"),
        ({"platform_id": 5}, "platform_id"),
        ({"name": ""}, "name"),
        ({"name": "a\tb"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": 1}, "name"),
        ({"active": "perhaps"}, "active"),
        ({"selected_event_ids": ["nope"]}, "selected_event_ids"),
        ({"selected_event_ids": [5]}, "selected_event_ids[0]"),
        ({"selected_event_ids": "all"}, "selected_event_ids"),
        ({"selected_events": ["nope"]}, "selected_events"),
        ({"type_data": {}}, "type_data.webhook_url"),
        ({"type_data": {"webhook_url": 5}}, "type_data.webhook_url"),
        ({"type_data": []}, "type_data"),
    ],
)
async def test_a_wrong_field_is_answered_with_422_that_names_it(client, fields, field):
    response = await client.post(PATH, json={"notifier": BODY | fields})
    assert response.status_code == 422
    assert list(response.json()["errors"]) == [field]
    assert response.json()["errors"][field][0]


@pytest.mark.parametrize(("body", "status"), [("{", 400), ("[]", 400), ('{"notifier": 5}', 422), ("", 422)])
async def test_a_body_that_is_no_notifier_is_refused(client, body, status):
    assert (await client.post(PATH, content=body)).status_code == status


async def test_a_real_change_of_the_platform_is_refused(client):
    created = await add(client)
    response = await client.patch(f"{PATH}/{created['id']}", json={"platform_id": EMAIL_ID})
    assert response.status_code == 422
    assert list(response.json()["errors"]) == ["platform_id"]


async def test_strangers_cannot_be_written_to(world, client):
    body = {"platform_id": EMAIL_ID, "name": "Mail", "type_data": {"user_ids": [world.users["charlie"].id]}}
    response = await client.post(PATH, json={"notifier": body})
    assert response.status_code == 422
    assert list(response.json()["errors"]) == ["type_data.user_ids"]
    body["type_data"] = {"user_ids": [world.users["bob"].id]}
    assert (await client.post(PATH, json={"notifier": body})).status_code == 201


async def test_a_new_app_has_its_default_notifier(client, world):
    response = await client.get(PATH)
    assert response.status_code == 200
    assert list(response.json()) == ["notifiers"]
    [default] = response.json()["notifiers"]
    assert_readable(default)
    assert (default["name"], default["type"]) == ("Default 'my-app' notifier", "email")
    assert default["type_data"] == {"user_ids": [world.users["alice"].id], "emails": []}


async def test_an_app_is_named_by_its_id_too(world, client):
    created = await add(client)
    path = f"/v1/apps/{world.app.id}/notifiers/{created['id']}"
    assert (await client.get(path)).json()["notifier"] == created


async def test_a_notifier_is_removed(client, world):
    created = await add(client)
    path = f"{PATH}/{created['id']}"
    removed = await client.delete(path)
    assert (removed.status_code, removed.content) == (204, b"")
    for response in (await client.get(path), await client.delete(path), await client.patch(path, json={})):
        assert response.status_code == 404
        assert response.json() == {"resource": "notifier", "error": "not found"}
    told = [event["type"] for event in await world.events(world.app.id)]
    assert told[-2:] == ["new_notifier", "delete_notifier"]


ROUTES = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/{id}"),
    ("PATCH", "/{id}"),
    ("PUT", "/{id}"),
    ("DELETE", "/{id}"),
    ("POST", "/{id}/test"),
    ("POST", "/{id}/pause"),
    ("POST", "/{id}/resume"),
    ("GET", "/{id}/secret"),
    ("POST", "/{id}/secret/rotate"),
    ("DELETE", "/{id}/secret/previous"),
    ("POST", "/{id}/recover"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_an_outsider_finds_nothing(client, charlie, anonymous, method, path):
    created = await add(client)
    url = PATH + path.format(id=created["id"])
    response = await charlie.request(method, url, json={})
    assert (response.status_code, response.json()) == (404, {"resource": "app", "error": "not found"})
    assert (await anonymous.request(method, url, json={})).status_code == 401
    assert (await client.get(f"{PATH}/{created['id']}")).json()["notifier"] == created


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "{id}" in route[1]])
async def test_a_notifier_of_another_app_is_not_found(client, world, charlie, method, path):
    other = await world.verbs.apps.add_app(world.users["charlie"], "other-app")
    [foreign] = await world.verbs.notifiers.list(other)
    body = {"since": "2026-01-02T03:04:05Z"} if path.endswith("recover") else {}
    response = await client.request(method, PATH + path.format(id=foreign.id), json=body)
    assert (response.status_code, response.json()["resource"]) == (404, "notifier")


async def test_a_collaborator_and_an_admin_manage_notifiers(bob, admin):
    created = await add(bob)
    assert (await edit(admin, created, {"name": "By admin"}))["name"] == "By admin"


async def test_a_notifier_is_paused_and_resumed(client):
    created = await add(client)
    path = f"{PATH}/{created['id']}"
    paused = await client.post(f"{path}/pause")
    assert paused.status_code == 200
    assert (paused.json()["notifier"]["state"], paused.json()["notifier"]["held_until"]) == ("paused", None)
    until = await client.post(f"{path}/pause", json={"pause": {"until": "2099-01-02T03:04:05+02:00"}})
    assert until.json()["notifier"]["held_until"] == "2099-01-02T01:04:05.000Z"
    for _ in range(2):
        resumed = await client.post(f"{path}/resume", headers={"content-type": "application/x-www-form-urlencoded"})
        assert (resumed.status_code, resumed.json()["notifier"]["state"]) == (200, "active")


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "tomorrow", 5, ["x"]])
async def test_a_pause_until_no_future_date_is_refused(client, until):
    created = await add(client)
    response = await client.post(f"{PATH}/{created['id']}/pause", json={"pause": {"until": until}})
    assert response.status_code == 422
    assert list(response.json()["errors"]) == ["until"]


async def test_pausing_a_notifier_that_is_off_is_a_conflict(client):
    created = await add(client, active=False)
    response = await client.post(f"{PATH}/{created['id']}/pause")
    assert (response.status_code, response.json()) == (409, {"error": "the notifier is off: set active to true first"})


async def test_a_test_answers_with_its_delivery_and_attempt(client, world):
    created = await add(client)
    before = await world.events(world.app.id)
    response = await client.post(
        f"{PATH}/{created['id']}/test", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert response.status_code == 200
    delivery = response.json()["delivery"]
    assert (delivery["state"], delivery["reason"], delivery["attempt_count"]) == ("delivered", None, 1)
    assert (delivery["notifier_id"], delivery["event_type"]) == (created["id"], "deployment")
    [attempt] = delivery["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["response_status"]) == (1, "delivered", 200)
    assert await world.events(world.app.id) == before
    assert (await client.get("/v1/apps/my-app/deliveries")).json()["deliveries"] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*NotifierIn.model_fields, "type_data", "unknown"])
BODIES = st.dictionaries(FIELDS, JSON | st.sampled_from([WEBHOOK_ID, "true", {"webhook_url": URL}]), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, method=st.sampled_from(["POST", "PATCH"]))
async def test_any_object_is_taken_or_refused_with_reasons(client, body, method):
    path = PATH
    if method == "PATCH":
        path = f"{PATH}/{(await client.get(PATH)).json()['notifiers'][0]['id']}"
    response = await client.request(method, path, content=json.dumps({"notifier": body}))
    assert response.status_code in {200, 201, 400, 422}, response.text
    match response.status_code:
        case 400:
            assert response.json()["error"]
        case 422:
            assert response.json()["errors"]
        case _:
            assert_readable(response.json()["notifier"])


@given(BODIES)
def test_wrapping_makes_no_difference(body):
    raw = parse_object(json.dumps(body).encode()) if "\\u0000" not in json.dumps(body) else {}
    for wrapped in ({"notifier": raw}, {"notifiers": raw}):
        assert unwrap(wrapped, "notifier") == raw


async def test_settings_are_masked_for_who_may_not_write_them(client, anonymous, world):
    url = "https://example.com/hooks/canary"
    made = await add(client, type_data={"webhook_url": url})
    [collaborator] = (await client.get("/v1/apps/my-app/collaborators")).json()["collaborators"]
    reader = await world.verbs.tokens.add(world.users["alice"], TokenWish(scopes=["notifiers:read"]))
    for headers in (world.bearer("bob"), {"authorization": f"Bearer {reader.secret}"}):
        await client.patch(f"/v1/apps/my-app/collaborators/{collaborator['id']}", json={"is_limited": True})
        one = (await anonymous.get(f"{PATH}/{made['id']}", headers=headers)).json()["notifier"]
        listed = (await anonymous.get(PATH, headers=headers)).json()["notifiers"]
        for shown in (one, next(each for each in listed if each["id"] == made["id"])):
            assert shown["type_data"]["webhook_url"].startswith("https://example.com/")
            assert "canary" not in json.dumps(shown)
    assert (await client.get(f"{PATH}/{made['id']}")).json()["notifier"]["type_data"]["webhook_url"] == url
