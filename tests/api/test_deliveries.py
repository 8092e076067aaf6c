"""Deliveries over HTTP: the log."""

import pytest

from tests.api.sent import FIELDS, add_hook, deploy, fail
from tocsin.dates import parse_instant

PATH = "/v1/apps/my-app/deliveries"


@pytest.fixture
async def notifier(world):
    return await add_hook(world)


async def test_a_pending_delivery_is_listed_whole(world, client, notifier):
    event_id = await deploy(world)
    response = await client.get(PATH)
    assert response.status_code == 200
    assert list(response.json()) == ["deliveries", "meta"]
    [delivery] = response.json()["deliveries"]
    assert set(delivery) == FIELDS
    assert (delivery["event_id"], delivery["notifier_id"], delivery["app_id"]) == (event_id, notifier.id, world.app.id)
    assert (delivery["state"], delivery["reason"], delivery["attempt_count"]) == ("pending", None, 0)
    parse_instant(delivery["created_at"])
    parse_instant(delivery["next_attempt_at"])
    assert (delivery["finished_at"], delivery["replay_of"]) == (None, None)


async def test_deliveries_are_filtered(world, client, notifier):
    first, second = await deploy(world), await deploy(world)
    for only, expected in (
        ({"event_id": first}, [first]),
        ({"notifier_id": notifier.id}, [second, first]),
        ({"notifier_id": "no-0"}, []),
        ({"state": "pending", "event_id": second}, [second]),
        ({"state": "failed"}, []),
        ({"state": "", "notifier_id": ""}, [second, first]),
        ({"per_page": 1, "page": 2}, [first]),
    ):
        answer = (await client.get(PATH, params=only)).json()
        assert [delivery["event_id"] for delivery in answer["deliveries"]] == expected


async def test_a_list_goes_on_before_a_delivery(world, client, notifier):
    made = [await deploy(world) for _ in range(3)]
    newest, *_ = (await client.get(PATH)).json()["deliveries"]
    answer = (await client.get(PATH, params={"before": newest["id"]})).json()
    assert [delivery["event_id"] for delivery in answer["deliveries"]] == made[1::-1]
    assert answer["meta"]["pagination"]["total_count"] == 2


@pytest.mark.parametrize("before", ["soon", "de-1", "0" * 24, "de-019B7E6A-1c2f-7a40-8d3b-5e9f2c6a1b70"])
async def test_a_list_before_what_is_no_delivery_is_refused(client, before):
    response = await client.get(PATH, params={"before": before})
    assert (response.status_code, list(response.json()["errors"])) == (422, ["before"])


async def test_an_unknown_state_is_refused(client):
    response = await client.get(PATH, params={"state": "leased"})
    assert response.status_code == 422
    assert response.json()["errors"]["state"] == ["must be one of pending, sending, delivered, failed, cancelled"]


async def test_a_delivery_is_shown_with_its_attempts(world, client, notifier):
    await deploy(world)
    await fail(world, notifier)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    response = await client.get(f"{PATH}/{listed['id']}")
    assert list(response.json()) == ["delivery"]
    delivery = response.json()["delivery"]
    [attempt] = delivery.pop("attempts")
    assert delivery == listed
    assert (delivery["state"], delivery["reason"]) == ("failed", "gone")
    parse_instant(attempt.pop("started_at"))
    assert attempt == {
        "number": 1,
        "duration_ms": 3,
        "outcome": "failed",
        "reason": None,
        "response_status": 410,
        "response_body": "gone",
        "error": None,
    }


async def test_an_outsider_finds_nothing(world, client, charlie, anonymous, notifier):
    await deploy(world)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    for method, path in (("GET", ""), ("GET", f"/{listed['id']}"), ("POST", f"/{listed['id']}/replay")):
        response = await charlie.request(method, PATH + path)
        assert (response.status_code, response.json()) == (404, {"resource": "app", "error": "not found"})
        assert (await anonymous.request(method, PATH + path)).status_code == 401
    missing = await client.get(f"{PATH}/de-0")
    assert (missing.status_code, missing.json()["resource"]) == (404, "delivery")
