"""Signing secrets over HTTP: shown, rotated with an overlap, revoked; to whoever may, and no more than they may see."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import World
from tests.line import PLATFORM_IDS
from tocsin.dates import format_instant
from tocsin.tokens import TokenWish

PATH = "/v1/apps/my-app/notifiers"


@pytest.fixture
async def path(client) -> str:
    """Where the secret of a webhook notifier is."""
    notifier = {
        "platform_id": PLATFORM_IDS["webhook"],
        "name": "hook",
        "type_data": {"webhook_url": "https://myapp.fr/webhook/scalingo"},
    }
    created = (await client.post(PATH, json={"notifier": notifier})).json()["notifier"]
    assert "secret" not in created
    return f"{PATH}/{created['id']}/secret"


async def rotate(client, path: str, body: Any = None) -> dict[str, Any]:
    response = await client.post(f"{path}/rotate", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_secret_is_shown(client, path):
    shown = (await client.get(path)).json()
    assert shown["secret"].startswith("whsec_")
    assert shown == {
        "secret": shown["secret"],
        "algorithm": "hmac-sha256",
        "previous_secret": None,
        "previous_until": None,
    }


async def test_the_one_before_stays_good_for_a_day(client, world: World, path):
    first = (await client.get(path)).json()["secret"]
    response = await client.post(f"{path}/rotate")
    until = format_instant(world.clock.now() + timedelta(hours=24))
    rotated = response.json()
    assert rotated == {"secret": rotated["secret"], "algorithm": "hmac-sha256", "previous_until": until}
    assert rotated["secret"] != first
    assert (await client.get(path)).json() == rotated | {"previous_secret": first}
    world.clock.advance(timedelta(hours=24))
    assert (await client.get(path)).json() == rotated | {"previous_secret": None, "previous_until": None}


async def test_at_most_two_are_good(client, path):
    first = (await client.get(path)).json()["secret"]
    second = (await rotate(client, path))["secret"]
    third = (await rotate(client, path))["secret"]
    shown = (await client.get(path)).json()
    assert (shown["secret"], shown["previous_secret"]) == (third, second)
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("body", [{"rotate": {"revoke_now": True}}, {"revoke_now": "true"}])
async def test_a_rotation_revokes_both_before_at_once_when_asked(client, path, body):
    await rotate(client, path)
    last = await rotate(client, path, body)
    assert last["previous_until"] is None
    assert (await client.get(path)).json() == last | {"previous_secret": None}


async def test_the_one_before_is_revoked_by_itself(client, path):
    rotated = await rotate(client, path)
    for _ in range(2):  # what is asked for is so already, the second time
        assert (await client.delete(f"{path}/previous")).status_code == 204
        shown = (await client.get(path)).json()
        assert shown == rotated | {"previous_secret": None, "previous_until": None}


async def test_a_private_key_is_never_given_out(client, world: World, path):
    before = (await client.get(path)).json()["secret"]
    answers = [await client.post(f"{path}/rotate", json={"rotate": {"algorithm": "ed25519"}}), await client.get(path)]
    public = answers[0].json()["secret"]
    assert public.startswith("whpk_")
    assert answers[0].json()["algorithm"] == "ed25519"
    assert answers[1].json() == answers[0].json() | {"previous_secret": before}
    # It stays what it is until it is asked for another.
    answers += [await client.post(f"{path}/rotate"), await client.get(path)]
    assert answers[2].json()["secret"].startswith("whpk_")
    assert answers[3].json()["previous_secret"] == public
    back = await rotate(client, path, {"rotate": {"algorithm": "hmac-sha256"}})
    assert back["secret"].startswith("whsec_")
    answers += [await client.get(path), await client.get(PATH), await client.get(path.removesuffix("/secret"))]
    assert not any("whsk_" in answer.text for answer in answers)


async def test_whoever_may_rotate_but_not_read_is_not_shown_the_one_before(anonymous, client, world: World, path):
    before = (await client.get(path)).json()["secret"]
    writer = await world.verbs.tokens.add(world.users["alice"], TokenWish(scopes=["notifiers:write"]))
    headers = {"authorization": f"Bearer {writer.secret}"}
    rotated = await anonymous.post(f"{path}/rotate", headers=headers)
    assert rotated.status_code == 200
    assert before not in rotated.text
    assert (await anonymous.get(path, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({"algorithm": "rsa"}, "algorithm", "must be 'hmac-sha256' or 'ed25519'"),
        ({"algorithm": 1}, "algorithm", "must be 'hmac-sha256' or 'ed25519'"),
        ({"revoke_now": "soon"}, "revoke_now", "must be true or false"),
    ],
)
async def test_a_wrong_wish_rotates_nothing(client, path, body, field, reason):
    before = (await client.get(path)).json()
    response = await client.post(f"{path}/rotate", json={"rotate": body})
    assert (response.status_code, response.json()) == (422, {"errors": {field: [reason]}})
    assert (await client.get(path)).json() == before


async def test_a_platform_that_does_not_sign_has_no_secret(client):
    [default] = (await client.get(PATH)).json()["notifiers"]
    for method, end in (("GET", ""), ("POST", "/rotate"), ("DELETE", "/previous")):
        response = await client.request(method, f"{PATH}/{default['id']}/secret{end}")
        assert (response.status_code, response.json()) == (404, {"resource": "secret", "error": "not found"})
