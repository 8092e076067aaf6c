from datetime import timedelta

import pytest

NAME_RULE = "must be 2 to 48 characters: a lower-case letter, then lower-case letters, digits or dashes"


async def test_an_app_is_made_with_a_notifier_for_critical_events(client, world):
    answer = await client.post("/v1/apps", json={"app": {"name": "shop", "parent_id": "", "stack_id": ""}})
    assert answer.status_code == 201
    assert list(answer.json()) == ["app"]
    app = answer.json()["app"]
    assert app["name"] == "shop"
    assert app["owner"]["username"] == "alice"
    assert len(app["id"]) == 24
    notifiers = (await client.get("/v1/apps/shop/notifiers")).json()["notifiers"]
    assert [notifier["name"] for notifier in notifiers] == ["Default 'shop' notifier"]
    assert notifiers[0]["selected_event_ids"]
    assert [event["type"] for event in await world.events(app["id"])] == ["new_app"]


@pytest.mark.parametrize("name", ["A", "a", "1app", "my_app", "my.app", "-app", "a" * 49, "été"])
async def test_a_bad_name_is_refused(client, name):
    answer = await client.post("/v1/apps", json={"app": {"name": name}})
    assert answer.status_code == 422
    assert answer.json() == {"errors": {"name": [NAME_RULE]}}


async def test_a_name_shaped_like_an_id_is_refused(client):
    answer = await client.post("/v1/apps", json={"app": {"name": "a" * 24}})
    assert answer.status_code == 422
    assert answer.json() == {"errors": {"name": ["must not look like an id (24 hexadecimal digits)"]}}


async def test_a_taken_name_is_refused(charlie):
    answer = await charlie.post("/v1/apps", json={"app": {"name": "my-app"}})
    assert answer.status_code == 422
    assert answer.json() == {"errors": {"name": ["is already taken"]}}


@pytest.mark.parametrize("body", [{}, {"app": {}}, {"app": {"name": ""}}, {"app": {"name": None}}])
async def test_a_name_is_required(client, body):
    answer = await client.post("/v1/apps", json=body)
    assert (answer.status_code, answer.json()) == (422, {"errors": {"name": ["is required"]}})


async def test_an_app_shows_the_fields_that_clients_decode(client, world):
    answer = await client.get("/v1/apps/my-app?")
    assert answer.status_code == 200
    assert list(answer.json()) == ["app"]
    app = answer.json()["app"]
    assert app == (await client.get(f"/v1/apps/{world.app.id}")).json()["app"]
    assert app["region"] == "osc-fr1"
    assert app["last_deployed_at"] is None
    assert app["flags"] == {}
    assert app["limits"] == {}
    assert app["created_at"] == "2026-01-02T03:04:05.000Z"
    assert app["owner"] == {"id": world.users["alice"].id, "username": "alice", "email": "alice@example.com"}


@pytest.mark.parametrize("ref", ["nope", "0" * 24, "NOPE", "a b", "x" * 500, "%27%3B--"])
async def test_an_unknown_app_is_not_found(client, ref):
    answer = await client.get(f"/v1/apps/{ref}")
    assert answer.status_code == 404
    assert answer.json() == {"resource": "app", "error": "not found"}


async def test_a_stranger_gets_the_same_answer_as_for_an_app_that_is_not(charlie, world):
    for method, path in [
        ("GET", ""),
        ("PATCH", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/rename"),
        ("GET", "/collaborators"),
        ("POST", "/collaborators"),
        ("PATCH", "/collaborators/co-1"),
        ("DELETE", "/collaborators/co-1"),
        ("GET", "/variables"),
        ("PUT", "/variables"),
        ("POST", "/variables"),
        ("PATCH", "/variables/va-1"),
        ("DELETE", "/variables/va-1"),
    ]:
        for ref in ("my-app", world.app.id):
            answer = await charlie.request(method, f"/v1/apps/{ref}{path}")
            assert (answer.status_code, answer.json()) == (404, {"resource": "app", "error": "not found"})


async def test_each_sees_own_and_shared_apps_and_an_admin_sees_all(client, bob, charlie, admin):
    await charlie.post("/v1/apps", json={"app": {"name": "a-shop"}})

    async def names(who):
        answer = await who.get("/v1/apps")
        assert list(answer.json()) == ["apps"]
        return [app["name"] for app in answer.json()["apps"]]

    assert await names(client) == ["my-app"]
    assert await names(bob) == ["my-app"]
    assert await names(charlie) == ["a-shop"]
    assert await names(admin) == ["a-shop", "my-app"]
    assert (await admin.get("/v1/apps/my-app")).status_code == 200
    assert (await bob.get("/v1/apps/my-app")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/rename", {"current_name": "my-app", "new_name": "new-name"}),
        ("PATCH", "", {"app": {"name": "new-name"}}),
        ("PUT", "", {"name": "new-name"}),
    ],
)
async def test_a_renamed_app_is_known_by_its_new_name_at_once(client, world, method, path, body):
    assert (await client.get("/v1/apps/my-app")).status_code == 200
    answer = await client.request(method, f"/v1/apps/my-app{path}", json=body)
    assert answer.status_code == 200
    assert answer.json()["app"]["name"] == "new-name"
    assert (await client.get("/v1/apps/my-app")).status_code == 404
    assert (await client.get("/v1/apps/new-name")).json()["app"]["id"] == world.app.id
    event = (await world.events(world.app.id))[-1]
    assert event["type"] == "rename_app"
    assert event["type_data"] == {"old_name": "my-app", "new_name": "new-name"}
    assert event["app_name"] == "new-name"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"new_name": "Bad"}, {"new_name": [NAME_RULE]}),
        ({"new_name": "taken"}, {"new_name": ["is already taken"]}),
        ({"new_name": "good", "current_name": "other"}, {"current_name": ["is not the name of this app"]}),
        ({"current_name": "my-app"}, {"new_name": ["is required"]}),
    ],
)
async def test_a_renaming_that_cannot_be_is_refused(client, charlie, body, errors):
    await charlie.post("/v1/apps", json={"app": {"name": "taken"}})
    answer = await client.post("/v1/apps/my-app/rename", json=body)
    assert (answer.status_code, answer.json()) == (422, {"errors": errors})


async def test_a_taken_name_is_refused_by_the_field_that_was_sent(client, charlie):
    await charlie.post("/v1/apps", json={"app": {"name": "taken"}})
    answer = await client.patch("/v1/apps/my-app", json={"app": {"name": "taken"}})
    assert answer.json() == {"errors": {"name": ["is already taken"]}}


async def test_other_settings_of_an_app_are_accepted_and_change_nothing(client, world):
    before = (await client.get("/v1/apps/my-app")).json()
    for body in ({"force_https": True}, {"app": {"stack_id": "s"}}, {}):
        answer = await client.put("/v1/apps/my-app", json=body)
        assert (answer.status_code, answer.json()) == (200, before)


async def test_the_owner_cannot_be_changed(client):
    answer = await client.patch("/v1/apps/my-app", json={"app": {"owner": "bob@example.com"}})
    assert (answer.status_code, answer.json()) == (422, {"errors": {"owner": ["cannot be changed"]}})


async def test_only_the_owner_and_an_admin_decide_over_an_app(bob, admin):
    for answer in (
        await bob.delete("/v1/apps/my-app"),
        await bob.patch("/v1/apps/my-app", json={"name": "mine"}),
        await bob.post("/v1/apps/my-app/collaborators", json={"collaborator": {"email": "eve@example.com"}}),
    ):
        assert answer.status_code == 403
        assert answer.json() == {"error": "only the owner of the app may do this"}
    assert (await admin.patch("/v1/apps/my-app", json={"name": "ours"})).status_code == 200


async def test_a_removed_app_is_gone_at_once_and_its_name_is_free(client, bob, world):
    assert (await bob.get("/v1/apps/my-app")).status_code == 200
    answer = await client.delete("/v1/apps/my-app?current_name=my-app")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get("/v1/apps/my-app")).status_code == 404
    assert (await bob.get(f"/v1/apps/{world.app.id}")).status_code == 404
    assert (await client.delete("/v1/apps/my-app")).status_code == 404
    assert (await client.post("/v1/apps", json={"app": {"name": "my-app"}})).status_code == 201


async def test_the_removal_of_an_app_is_still_delivered(client, world):
    notifier = {
        "platform_id": "5982f145d48c3600273ef08a",
        "name": "all",
        "send_all_events": True,
        "type_data": {"webhook_url": "https://hooks.example.com/x"},
    }
    assert (await client.post("/v1/apps/my-app/notifiers", json={"notifier": notifier})).status_code == 201
    assert (await client.delete("/v1/apps/my-app")).status_code == 204
    [delivery] = await world.deliveries_of("delete_app")
    assert delivery["state"] == "pending"
    [earlier] = await world.deliveries_of("new_notifier")
    assert (earlier["state"], earlier["reason"]) == ("cancelled", "app_removed")


async def test_an_app_is_not_removed_under_another_name(client):
    answer = await client.delete("/v1/apps/my-app?current_name=other")
    assert (answer.status_code, answer.json()) == (422, {"errors": {"current_name": ["is not the name of this app"]}})
    assert (await client.get("/v1/apps/my-app")).status_code == 200


async def test_what_was_seen_of_an_app_is_kept_for_five_seconds(client, world):
    user = world.users["alice"]
    first = await world.verbs.apps.get_app(user, "my-app")
    assert await world.verbs.apps.get_app(user, "my-app") is first
    world.clock.advance(timedelta(seconds=5))
    again = await world.verbs.apps.get_app(user, "my-app")
    assert again == first
    assert again is not first


async def test_there_is_one_stack(client):
    [stack] = (await client.get("/v1/features/stacks")).json()["stacks"]
    assert stack["id"] == (await client.get("/v1/apps/my-app")).json()["app"]["stack_id"]
    assert stack["deprecated_at"] is None
