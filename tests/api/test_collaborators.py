import pytest

PATH = "/v1/apps/my-app/collaborators"


async def invite(client, email, **more):
    return await client.post(PATH, json={"collaborator": {"email": email, **more}})


async def test_a_user_gets_access_at_once(client, charlie, world):
    assert (await charlie.get("/v1/apps/my-app")).status_code == 404
    answer = await invite(client, "Charlie@Example.com", is_limited=True, id="", user_id="", status="")
    assert answer.status_code == 201
    made = answer.json()["collaborator"]
    assert made == {
        "id": made["id"],
        "app_id": world.app.id,
        "username": "charlie",
        "email": "charlie@example.com",
        "status": "accepted",
        "user_id": world.users["charlie"].id,
        "is_limited": True,
    }
    assert (await charlie.get("/v1/apps/my-app")).status_code == 200
    first, second = (await world.events(world.app.id))[-2:]
    assert (first["type"], first["user"]["username"]) == ("new_collaborator", "alice")
    assert (second["type"], second["user"]["username"]) == ("accept_collaborator", "charlie")
    assert first["type_data"]["collaborator"]["inviter"]["username"] == "alice"


async def test_an_unknown_address_waits_until_its_user_is_added(client, world):
    answer = await invite(client, "dora@example.com")
    assert answer.status_code == 201
    assert answer.json()["collaborator"]["status"] == "pending"
    assert answer.json()["collaborator"]["user_id"] == ""
    assert [event["type"] for event in await world.events(world.app.id)][-1] == "new_collaborator"
    dora = await world.verbs.accounts.add_user(username="dora", email="dora@example.com")
    collaborators = (await client.get(PATH)).json()["collaborators"]
    assert [(one["email"], one["status"]) for one in collaborators] == [
        ("bob@example.com", "accepted"),
        ("dora@example.com", "accepted"),
    ]
    event = (await world.events(world.app.id))[-1]
    assert (event["type"], event["user"]["id"]) == ("accept_collaborator", dora.id)
    assert (await world.verbs.apps.get_app(dora, "my-app")).id == world.app.id


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"email": ["is required"]}),
        ({"email": "nobody"}, {"email": ["must be an e-mail address such as alice@example.com"]}),
        ({"email": "bob@example.com"}, {"email": ["has access to the app already"]}),
        ({"email": "alice@example.com"}, {"email": ["is the owner's: an owner cannot be a collaborator"]}),
        ({"email": "x@example.com", "is_limited": "perhaps"}, {"is_limited": ["must be true or false"]}),
    ],
)
async def test_an_invitation_that_cannot_be_is_refused(client, body, errors):
    answer = await client.post(PATH, json={"collaborator": body})
    assert (answer.status_code, answer.json()) == (422, {"errors": errors})


async def bobs_id(client):
    return (await client.get(PATH)).json()["collaborators"][0]["id"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_collaborator_is_limited(client, bob, world, method):
    path = f"{PATH}/{await bobs_id(client)}"
    answer = await client.request(method, path, json={"collaborator": {"is_limited": "true"}})
    assert answer.status_code == 200
    assert answer.json()["collaborator"]["is_limited"] is True
    assert (await world.events(world.app.id))[-1]["type"] == "change_collaborator_role"
    assert (await bob.get("/v1/apps/my-app")).status_code == 200
    refused = await bob.get("/v1/apps/my-app/variables")
    assert refused.status_code == 403
    assert "limited" in refused.json()["error"]


async def test_a_change_that_changes_nothing_is_no_event(client, world):
    count = len(await world.events(world.app.id))
    answer = await client.patch(f"{PATH}/{await bobs_id(client)}", json={"is_limited": False})
    assert answer.status_code == 200
    assert len(await world.events(world.app.id)) == count


async def test_a_removed_collaborator_loses_access_at_once(client, bob, world):
    assert (await bob.get("/v1/apps/my-app")).status_code == 200
    answer = await client.delete(f"{PATH}/{await bobs_id(client)}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await bob.get("/v1/apps/my-app")).status_code == 404
    assert (await world.events(world.app.id))[-1]["type"] == "delete_collaborator"


async def test_a_collaborator_may_leave(client, bob):
    assert (await bob.delete(f"{PATH}/{await bobs_id(client)}")).status_code == 204


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_an_unknown_collaborator_is_not_found(client, method):
    answer = await client.request(method, f"{PATH}/co-unknown", json={"is_limited": True})
    assert (answer.status_code, answer.json()) == (404, {"resource": "collaborator", "error": "not found"})
