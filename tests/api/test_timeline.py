"""Timelines over HTTP: stored bytes, pages, hours."""

import msgspec
import pytest

from tocsin.dates import parse_instant
from tocsin.ingest import Draft

PATH = "/v1/apps/my-app/events"


async def report(world, count: int = 1) -> list[str]:
    """Report deployments; answers with the events' ids."""
    drafts = [Draft(type="deployment", type_data=msgspec.Raw(b'{"status": "success",  "n":1.0}'))] * count
    accepted = await world.verbs.ingest.accept(world.app, world.users["alice"], drafts)
    return [msgspec.json.decode(body)["id"] for body in accepted.bodies]


async def test_events_are_listed_newest_first_with_their_page(world, client):
    made = await report(world, 5)
    response = await client.get(PATH, params={"page": 2, "per_page": 2})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert list(answer) == ["events", "meta"]
    assert [event["id"] for event in answer["events"]] == [made[2], made[1]]
    pages = answer["meta"]["pagination"]
    assert (pages["current_page"], pages["prev_page"], pages["next_page"]) == (2, 1, 3)
    assert pages["total_count"] == len(await world.events(world.app.id))


async def test_an_event_keeps_the_bytes_it_came_with(world, client):
    [event_id] = await report(world)
    for path in (PATH, f"{PATH}/{event_id}", "/v1/events"):
        assert b'"type_data":{"status": "success",  "n":1.0}' in (await client.get(path)).content


async def test_an_event_is_shown(world, client):
    [event_id] = await report(world)
    response = await client.get(f"{PATH}/{event_id}")
    assert list(response.json()) == ["event"]
    event = response.json()["event"]
    assert (event["id"], event["type"], event["app_id"], event["app_name"]) == (
        event_id,
        "deployment",
        world.app.id,
        "my-app",
    )
    assert event["user"] == {
        "username": "alice",
        "email": "alice@example.com",
        "id": world.users["alice"].id,
    }
    parse_instant(event["created_at"])
    missing = await client.get(f"{PATH}/{'0' * 24}")
    assert (missing.status_code, missing.json()) == (404, {"resource": "event", "error": "not found"})


async def test_hours_override_paging(world, client):
    made = await report(world, 3)
    answer = (await client.get(PATH, params={"from": 72, "page": 2, "per_page": 1})).json()
    assert [event["id"] for event in answer["events"]][:3] == made[::-1]
    pages = answer["meta"]["pagination"]
    assert (pages["current_page"], pages["prev_page"], pages["next_page"], pages["total_pages"]) == (1, None, None, 1)
    assert pages["total_count"] == len(answer["events"])


@pytest.mark.parametrize("hours", ["0", "73", "-1", "1.5", "soon", "9" * 30])
async def test_hours_out_of_range_are_refused(client, hours):
    response = await client.get(PATH, params={"from": hours})
    assert (response.status_code, list(response.json()["errors"])) == (422, ["from"])


@pytest.mark.parametrize("path", [PATH, "/v1/events"])
async def test_a_list_goes_on_before_an_event(world, client, path):
    made = await report(world, 3)
    listed = (await client.get(path, params={"before": made[2], "per_page": 2})).json()["events"]
    assert [event["id"] for event in listed] == made[1::-1]


@pytest.mark.parametrize("path", [PATH, "/v1/events"])
@pytest.mark.parametrize("before", ["soon", "1", "de-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70", "g" * 24])
async def test_a_list_before_what_is_no_event_is_refused(client, path, before):
    response = await client.get(path, params={"before": before})
    assert (response.status_code, list(response.json()["errors"])) == (422, ["before"])


async def test_a_page_past_the_end_is_empty(client):
    response = await client.get(PATH, params={"page": 99})
    assert (response.status_code, response.json()["events"]) == (200, [])
    assert response.json()["meta"]["pagination"]["next_page"] is None


async def test_a_user_s_events_are_their_own_and_those_of_visible_apps(world, client, bob, charlie, admin, anonymous):
    [event_id] = await report(world)
    for each in (client, bob, admin):
        assert (await each.get("/v1/events")).json()["events"][0]["id"] == event_id
    shown = (await charlie.get("/v1/events")).json()
    assert event_id not in {event["id"] for event in shown["events"]}
    assert all("app_id" not in event and event["user"]["username"] == "charlie" for event in shown["events"])
    assert shown["meta"]["pagination"]["total_pages"] == 1
    assert (await anonymous.get("/v1/events")).status_code == 401


async def test_an_outsider_finds_nothing(world, charlie, anonymous):
    [event_id] = await report(world)
    for path in (PATH, f"{PATH}/{event_id}"):
        assert (await charlie.get(path)).json() == {"resource": "app", "error": "not found"}
        assert (await anonymous.get(path)).status_code == 401
