"""Deliveries over HTTP: the log, replays, recovery."""

import msgspec
import pytest

from tests.store.cast import settle
from tocsin.dates import parse_instant
from tocsin.ingest import Draft
from tocsin.model import Attempt, AttemptOutcome, DeliveryReason, DeliveryState
from tocsin.notifier_rules import NotifierWish
from tocsin.store.port import Settlement

PATH = "/v1/apps/my-app/deliveries"
FIELDS = {
    "id",
    "app_id",
    "event_id",
    "event_type",
    "notifier_id",
    "notifier_name",
    "platform",
    "state",
    "reason",
    "attempt_count",
    "next_attempt_at",
    "created_at",
    "expires_at",
    "finished_at",
    "replay_of",
}


@pytest.fixture
async def notifier(world):
    wish = NotifierWish(
        platform_id="5982f145d48c3600273ef08a",
        name="Hook",
        selected_events=["app_deployed"],
        type_data={"webhook_url": "https://example.com/hook"},
    )
    return await world.verbs.notifiers.add(world.app, world.users["alice"], wish)


async def deploy(world) -> str:
    draft = Draft(type="deployment", type_data=msgspec.Raw(b"{}"))
    accepted = await world.verbs.ingest.accept(world.app, world.users["alice"], [draft])
    event_id: str = msgspec.json.decode(accepted.bodies[0])["id"]
    return event_id


async def fail(world, notifier) -> None:
    """Let the due deliveries of a notifier be refused for good."""
    now = world.clock.now()
    for claim in (await world.store.claim({notifier.id: 100})).claims:
        attempt = Attempt(
            number=claim.attempt,
            started_at=now,
            duration_ms=3,
            outcome=AttemptOutcome.FAILED,
            response_status=410,
            response_body="gone",
        )
        await settle(
            world.store,
            Settlement(
                delivery_id=claim.delivery_id,
                lease_token=claim.lease_token,
                attempt=attempt,
                state=DeliveryState.FAILED,
                reason=DeliveryReason.GONE,
                finished_at=now,
            ),
        )


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


async def test_a_replay_is_a_new_delivery(world, client, notifier):
    event_id = await deploy(world)
    await fail(world, notifier)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    response = await client.post(f"{PATH}/{listed['id']}/replay")
    assert response.status_code == 201
    again = response.json()["delivery"]
    assert set(again) == FIELDS
    assert (again["event_id"], again["replay_of"], again["state"]) == (event_id, listed["id"], "pending")
    assert again["id"] != listed["id"]


async def test_a_replay_to_a_notifier_that_is_off_or_removed_is_a_conflict(world, client, notifier):
    await deploy(world)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    path = f"/v1/apps/my-app/notifiers/{notifier.id}"
    await client.patch(path, json={"active": False})
    off = await client.post(f"{PATH}/{listed['id']}/replay")
    assert (off.status_code, off.json()) == (409, {"error": "the notifier is off: set active to true first"})
    await client.delete(path)
    removed = await client.post(f"{PATH}/{listed['id']}/replay")
    assert (removed.status_code, "removed" in removed.json()["error"]) == (409, True)


async def test_recovery_counts_and_replays(world, client, notifier):
    await deploy(world)
    await fail(world, notifier)
    path = f"/v1/apps/my-app/notifiers/{notifier.id}/recover"
    since = {"since": "2026-01-01T00:00:00Z"}
    dry = await client.post(path, json={"recover": since | {"dry_run": True}})
    assert (dry.status_code, dry.json()) == (200, {"recover": {"count": 1}})
    assert (await client.post(path, json=since | {"until": "2026-01-01T01:00:00Z"})).json() == {"recover": {"count": 0}}
    assert (await client.post(path, json={"recover": since})).json() == {"recover": {"count": 1}}
    assert (await client.post(path, json={"recover": since})).json() == {"recover": {"count": 0}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "since"),
        ({"since": ""}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": 5}, "since"),
        ({"since": "2026-01-02T03:04:05"}, "since"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"since": "2026-01-02T00:00:00Z", "dry_run": "perhaps"}, "dry_run"),
    ],
)
async def test_recovery_needs_a_time(client, notifier, body, field):
    response = await client.post(f"/v1/apps/my-app/notifiers/{notifier.id}/recover", json={"recover": body})
    assert (response.status_code, list(response.json()["errors"])) == (422, [field])


async def test_recovery_of_a_notifier_that_is_off_is_a_conflict(client, notifier):
    path = f"/v1/apps/my-app/notifiers/{notifier.id}"
    await client.patch(path, json={"active": False})
    response = await client.post(f"{path}/recover", json={"since": "2026-01-01T00:00:00Z"})
    assert response.status_code == 409


async def test_an_outsider_finds_nothing(world, client, charlie, anonymous, notifier):
    await deploy(world)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    for method, path in (("GET", ""), ("GET", f"/{listed['id']}"), ("POST", f"/{listed['id']}/replay")):
        response = await charlie.request(method, PATH + path)
        assert (response.status_code, response.json()) == (404, {"resource": "app", "error": "not found"})
        assert (await anonymous.request(method, PATH + path)).status_code == 401
    missing = await client.get(f"{PATH}/de-0")
    assert (missing.status_code, missing.json()["resource"]) == (404, "delivery")
