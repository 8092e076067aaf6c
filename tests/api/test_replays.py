"""Sending again over HTTP: one delivery, what a notifier missed, or all it got."""

from typing import Any

import pytest

from tests.api.sent import FIELDS, add_hook, deploy, fail
from tocsin.dates import format_instant

PATH = "/v1/apps/my-app/deliveries"
SINCE = {"since": "2026-01-01T00:00:00Z"}


@pytest.fixture
async def notifier(world):
    return await add_hook(world)


def of(notifier) -> str:
    return f"/v1/apps/my-app/notifiers/{notifier.id}/recover"


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


async def test_a_replay_can_go_to_another_notifier(world, client, notifier):
    event_id = await deploy(world)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    other = await add_hook(world, name="Other", active=False)
    path = f"{PATH}/{listed['id']}/replay"
    for body in ({"replay": {"notifier_id": other.id}}, {"notifier_id": other.id}):
        off = await client.post(path, json=body)
        assert (off.status_code, off.json()) == (409, {"error": "the notifier is off: set active to true first"})
    await client.patch(f"/v1/apps/my-app/notifiers/{other.id}", json={"active": True})
    again = (await client.post(path, json={"replay": {"notifier_id": other.id}})).json()["delivery"]
    assert (again["event_id"], again["notifier_id"], again["replay_of"]) == (event_id, other.id, listed["id"])
    unknown = await client.post(path, json={"replay": {"notifier_id": "no-0"}})
    expected = {"errors": {"notifier_id": ["is not a notifier of this app"]}}
    assert (unknown.status_code, unknown.json()) == (422, expected)


async def test_what_waits_is_cancelled(world, client, notifier):
    await deploy(world)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    response = await client.post(f"{PATH}/{listed['id']}/cancel")
    assert response.status_code == 200
    cancelled = response.json()["delivery"]
    assert set(cancelled) == FIELDS
    assert (cancelled["id"], cancelled["state"], cancelled["reason"]) == (listed["id"], "cancelled", "by_user")
    again = await client.post(f"{PATH}/{listed['id']}/cancel")
    assert (again.status_code, again.json()) == (409, {"error": "this delivery is over: there is nothing to cancel"})
    unknown = await client.post(f"{PATH}/de-0/cancel")
    assert (unknown.status_code, unknown.json()["resource"]) == (404, "delivery")
    [recorded] = (await world.verbs.audit.list(world.app, limit=1))[0]
    assert (recorded.entry.action, recorded.entry.object_id) == ("delivery.cancelled", listed["id"])


async def test_recovery_counts_and_replays(world, client, notifier):
    await deploy(world)
    await deploy(world)
    await fail(world, notifier)
    none = {"count": 0, "rate_per_second": 10.0, "last_attempt_at": None}
    two = none | {"count": 2, "last_attempt_at": format_instant(world.clock.now()).replace("05.000", "05.100")}
    dry = await client.post(of(notifier), json={"recover": SINCE | {"dry_run": True}})
    assert (dry.status_code, dry.json()) == (200, {"recover": two})
    early = await client.post(of(notifier), json=SINCE | {"until": "2026-01-01T01:00:00Z"})
    assert early.json() == {"recover": none}
    assert (await client.post(of(notifier), json={"recover": SINCE})).json() == {"recover": two}
    assert (await client.post(of(notifier), json={"recover": SINCE})).json() == {"recover": none}
    live = (await client.get(PATH, params={"state": "pending"})).json()["deliveries"]
    assert max(each["next_attempt_at"] for each in live) == two["last_attempt_at"]


async def test_recovery_takes_filters_a_rate_and_another_notifier(world, client, notifier):
    event_id = await deploy(world)
    await fail(world, notifier)
    other = await add_hook(world, name="Other")
    for only, count in (
        ({"types": ["restart"]}, 0),
        ({"types": ["restart", "deployment"], "states": ["failed"], "reasons": ["gone"]}, 1),
        ({"states": ["cancelled"]}, 0),
        ({"reasons": ["expired", "notifier_off"]}, 0),
        ({"types": [], "states": [], "reasons": [], "to": ""}, 1),
    ):
        answer = await client.post(of(notifier), json={"recover": SINCE | only | {"dry_run": "true"}})
        assert answer.json()["recover"]["count"] == count, only
    wish = SINCE | {"to": other.id, "rate_per_second": 0.5}
    answer = (await client.post(of(notifier), json={"recover": wish})).json()["recover"]
    assert (answer["count"], answer["rate_per_second"]) == (1, 0.5)
    [made] = (await client.get(PATH, params={"notifier_id": other.id})).json()["deliveries"]
    assert (made["event_id"], made["state"]) == (event_id, "pending")


async def test_what_arrived_is_sent_again_in_bulk(world, client, notifier):
    await deploy(world)
    await fail(world, notifier)
    wish = SINCE | {"notifier_id": notifier.id}
    for only, count in (({"states": ["delivered"]}, 0), ({"dry_run": True}, 1), ({}, 1), ({}, 0)):
        answer = await client.post(f"{PATH}/replay", json={"replay": wish | only})
        assert (answer.status_code, list(answer.json())) == (200, ["replay"])
        assert answer.json()["replay"]["count"] == count, only


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"since": ""}, "since", "is required"),
    ({"since": "yesterday"}, "since", "RFC 3339"),
    ({"since": 5}, "since", "RFC 3339"),
    ({"since": "2026-01-02T03:04:05"}, "since", "RFC 3339"),
    ({"until": "2025-01-01T00:00:00Z"}, "until", "later than since"),
    ({"dry_run": "perhaps"}, "dry_run", "true or false"),
    ({"types": "deployment"}, "types", "must be a list"),
    ({"types": ["t" * 256]}, "types[0]", "255"),
    ({"types": ["t"] * 101}, "types", "100"),
    ({"reasons": ["gone", "held"]}, "reasons[1]", "must be one of exhausted, expired, rejected, gone, "),
    ({"rate_per_second": "fast"}, "rate_per_second", "must be a number"),
    ({"rate_per_second": 1e9}, "rate_per_second", "0.01 to 1000"),
    ({"to": "no-0"}, "to", "is not a notifier of this app"),
    ({"to": 5}, "to", "must be a string"),
]


@pytest.mark.parametrize(("body", "field", "reason"), WRONG)
async def test_a_wish_to_send_again_that_is_wrong_names_the_field(client, notifier, body, field, reason):
    wish = SINCE | {"notifier_id": notifier.id} | body
    for path, root in ((of(notifier), "recover"), (f"{PATH}/replay", "replay")):
        response = await client.post(path, json={root: wish})
        assert (response.status_code, list(response.json()["errors"])) == (422, [field])
        assert reason in response.json()["errors"][field][0]


async def test_states_that_cannot_be_sent_again_are_refused_with_those_that_can(client, notifier):
    wish = SINCE | {"notifier_id": notifier.id, "states": ["failed", "pending"]}
    missed = await client.post(of(notifier), json={"recover": wish})
    assert missed.json()["errors"] == {"states[1]": ["must be one of cancelled, failed"]}
    every = await client.post(f"{PATH}/replay", json={"replay": wish})
    assert every.json()["errors"] == {"states[1]": ["must be one of cancelled, delivered, failed"]}
    for wrong in ({}, {"notifier_id": "no-0"}):
        unknown = await client.post(f"{PATH}/replay", json={"replay": SINCE | wrong})
        assert (unknown.status_code, list(unknown.json()["errors"])) == (422, ["notifier_id"])


async def test_recovery_of_a_notifier_that_is_off_is_a_conflict(client, notifier):
    await client.patch(f"/v1/apps/my-app/notifiers/{notifier.id}", json={"active": False})
    assert (await client.post(of(notifier), json=SINCE)).status_code == 409
    again = await client.post(f"{PATH}/replay", json={"replay": SINCE | {"notifier_id": notifier.id}})
    assert again.status_code == 409


async def test_an_outsider_sends_nothing_again(world, client, charlie, anonymous, notifier):
    await deploy(world)
    [listed] = (await client.get(PATH)).json()["deliveries"]
    wish = SINCE | {"notifier_id": notifier.id}
    for path in (f"{PATH}/{listed['id']}/replay", f"{PATH}/replay", of(notifier)):
        response = await charlie.post(path, json=wish)
        assert (response.status_code, response.json()) == (404, {"resource": "app", "error": "not found"})
        assert (await anonymous.post(path, json=wish)).status_code == 401
