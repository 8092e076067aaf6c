import asyncio
from datetime import timedelta

import httpx
import jwt
import pytest

from tests.api.conftest import BEARER_KEY, PUBLIC_URL, basic
from tocsin.credentials import hash_secret


async def exchange(client: httpx.AsyncClient, secret: str) -> str:
    answer = await client.post("/v1/tokens/exchange", headers=basic("", secret), json={})
    assert answer.status_code == 200, answer.text
    return answer.json()["token"]


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def test_an_api_token_is_exchanged_for_a_jwt_that_clients_can_parse(anonymous, world):
    text = await exchange(anonymous, world.secrets["alice"])
    assert text.count(".") == 2
    assert jwt.get_unverified_header(text)["alg"] == "HS256"
    claims = jwt.decode(text, BEARER_KEY, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False})
    assert claims["sub"] == world.users["alice"].id
    assert claims["iss"] == PUBLIC_URL
    assert isinstance(claims["jti"], str)
    assert claims["iat"] == int(world.clock.now().timestamp())
    assert claims["exp"] - claims["iat"] == 3600
    [token] = await world.verbs.tokens.list(world.users["alice"])
    assert claims["tid"] == token.id


async def test_a_jwt_opens_the_api(anonymous, world):
    text = await exchange(anonymous, world.secrets["alice"])
    answer = await anonymous.get("/v1/users/self", headers=bearer(text))
    assert answer.json()["user"]["username"] == "alice"


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {}},
        {"content": b""},
        {"content": b"", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"content": b"not json at all"},
    ],
)
async def test_the_exchange_ignores_its_body(anonymous, world, sent):
    headers = sent.pop("headers", {}) | basic("", world.secrets["bob"])
    answer = await anonymous.post("/v1/tokens/exchange", headers=headers, **sent)
    assert answer.status_code == 200
    assert list(answer.json()) == ["token"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("", "tk-us-unknown"),
        basic("", "something-else"),
        basic("alice", "tk-us-unknown"),
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + "QQ=="},
        {"authorization": "Digest abc"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer " + "x" * 10_000},
        {"authorization": "Bearer a.b.c"},
    ],
)
async def test_a_bad_credential_gets_401_with_a_sentence(anonymous, headers):
    for answer in (
        await anonymous.post("/v1/tokens/exchange", headers=headers),
        await anonymous.get("/v1/users/self", headers=headers),
        await anonymous.get("/v1/tokens", headers=headers),
    ):
        assert answer.status_code == 401
        assert list(answer.json()) == ["error"]
        assert answer.json()["error"] != "OTP Required"
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_jwt_signed_by_another_key_is_refused(anonymous, world):
    text = await exchange(anonymous, world.secrets["alice"])
    claims = jwt.decode(text, options={"verify_signature": False})
    forged = jwt.encode(claims, b"x" * 32, algorithm="HS256")
    unsigned = jwt.encode(claims, None, algorithm="none")
    elsewhere = jwt.encode(claims | {"iss": "http://elsewhere"}, BEARER_KEY, algorithm="HS256")
    untyped = jwt.encode(claims | {"exp": "soon"}, BEARER_KEY, algorithm="HS256")
    for bad in (forged, unsigned, elsewhere, untyped):
        assert (await anonymous.get("/v1/apps", headers=bearer(bad))).status_code == 401


async def test_a_jwt_ends_after_an_hour(anonymous, world):
    text = await exchange(anonymous, world.secrets["alice"])
    world.clock.advance(timedelta(minutes=59, seconds=58))
    assert (await anonymous.get("/v1/apps", headers=bearer(text))).status_code == 200
    world.clock.advance(2)
    answer = await anonymous.get("/v1/apps", headers=bearer(text))
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]


@pytest.mark.parametrize("scheme", ["bearer", "basic"])
async def test_an_api_token_works_directly(anonymous, world, scheme):
    secret = world.secrets["alice"]
    headers = bearer(secret) if scheme == "bearer" else basic("", secret)
    assert (await anonymous.get("/v1/apps", headers=headers)).status_code == 200


async def test_tokens_are_listed_without_their_secrets(client):
    answer = await client.get("/v1/tokens")
    assert answer.status_code == 200
    assert list(answer.json()) == ["tokens"]
    [token] = answer.json()["tokens"]
    assert set(token) == {"id", "name", "scopes", "app_ids", "created_at", "last_used_at", "expires_at"}
    assert isinstance(token["id"], str)


@pytest.mark.parametrize("body", [{"token": {"name": "laptop"}}, {"name": "laptop"}, {"tokens": {"name": "laptop"}}])
async def test_a_token_is_made_from_a_wrapped_or_a_flat_body(client, anonymous, world, body):
    answer = await client.post("/v1/tokens", json=body)
    assert answer.status_code == 201
    made = answer.json()["token"]
    assert made["name"] == "laptop"
    assert made["token"].startswith("tk-us-")
    assert len(made["token"]) >= len("tk-us-") + 43
    assert (await anonymous.get("/v1/apps", headers=bearer(made["token"]))).status_code == 200
    [*_, event] = await world.events()
    assert event["type"] == "new_token"
    assert event["type_data"] == {"token_name": "laptop", "token_id": made["id"]}
    assert "app_id" not in event


async def test_a_token_without_a_name_gets_one(client):
    answer = await client.post("/v1/tokens")
    assert answer.status_code == 201
    assert answer.json()["token"]["name"]


@pytest.mark.parametrize(
    ("body", "reason"), [({"name": 5}, "must be a string"), ({"name": "x" * 201}, "must be at most 200 printable")]
)
async def test_a_token_name_that_cannot_be_is_refused(client, body, reason):
    answer = await client.post("/v1/tokens", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]["name"][0].startswith(reason)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_renewed_token_has_a_new_secret_and_the_old_one_ends_at_once(client, anonymous, world, method):
    old = world.secrets["alice"]
    old_jwt = await exchange(anonymous, old)
    assert (await anonymous.get("/v1/apps", headers=bearer(old_jwt))).status_code == 200
    [token] = (await client.get("/v1/tokens")).json()["tokens"]
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.request(method, f"/v1/tokens/{token['id']}/renew", headers=form)
    assert answer.status_code == 200
    renewed = answer.json()["token"]
    assert renewed["id"] == token["id"]
    assert renewed["token"] != old
    assert (await client.get("/v1/apps")).status_code == 401
    assert (await anonymous.get("/v1/apps", headers=bearer(old_jwt))).status_code == 401
    assert (await anonymous.get("/v1/apps", headers=bearer(renewed["token"]))).status_code == 200
    assert (await world.events())[-1]["type"] == "regenerate_token"


async def test_a_removed_token_and_its_jwt_end_at_once(client, anonymous, world):
    text = await exchange(anonymous, world.secrets["alice"])
    assert (await anonymous.get("/v1/apps", headers=bearer(text))).status_code == 200
    [token] = (await client.get("/v1/tokens")).json()["tokens"]
    answer = await client.delete(f"/v1/tokens/{token['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get("/v1/apps")).status_code == 401
    assert (await anonymous.get("/v1/apps", headers=bearer(text))).status_code == 401
    assert (await world.events())[-1]["type"] == "delete_token"


async def test_a_token_of_somebody_else_does_not_exist(client, world):
    [token] = await world.verbs.tokens.list(world.users["bob"])
    for answer in (
        await client.delete(f"/v1/tokens/{token.id}"),
        await client.patch(f"/v1/tokens/{token.id}/renew"),
    ):
        assert answer.status_code == 404
        assert answer.json() == {"resource": "token", "error": "not found"}


async def test_username_and_password_make_a_token(anonymous, world):
    await world.verbs.accounts.set_password(world.users["alice"], "correct horse")
    for name in ("alice", "alice@example.com", "ALICE@example.com"):
        answer = await anonymous.post(
            "/v1/tokens", headers=basic(name, "correct horse"), json={"token": {"name": "Scalingo CLI - laptop"}}
        )
        assert answer.status_code == 201
        assert answer.json()["token"]["name"] == "Scalingo CLI - laptop"


@pytest.mark.parametrize("name", ["alice", "bob", "nobody"])
async def test_a_wrong_password_is_refused_with_a_sentence(anonymous, world, name):
    await world.verbs.accounts.set_password(world.users["alice"], "correct horse")
    answer = await anonymous.post("/v1/tokens", headers=basic(name, "wrong horse"), json={})
    assert answer.status_code == 401
    assert answer.json() == {"error": "the username or the password is wrong"}


async def test_a_password_opens_nothing_but_the_making_of_tokens(anonymous, world):
    await world.verbs.accounts.set_password(world.users["alice"], "correct horse")
    assert (await anonymous.get("/v1/apps", headers=basic("alice", "correct horse"))).status_code == 401


async def test_the_use_of_a_token_is_noted_to_the_minute(client, world):
    async def last_used_at():
        [token] = await world.verbs.tokens.list(world.users["alice"])
        return token.last_used_at

    start = world.clock.now()
    await client.get("/v1/apps")
    await world.verbs.tokens.finish()
    assert await last_used_at() == start
    world.clock.advance(50)
    await client.get("/v1/apps")
    await world.verbs.tokens.finish()
    assert await last_used_at() == start
    world.clock.advance(11)
    await asyncio.gather(*(client.get("/v1/apps") for _ in range(5)))
    await world.verbs.tokens.finish()
    assert await last_used_at() == start + timedelta(seconds=61)


def test_only_a_hash_of_a_secret_is_made_from_it():
    assert len(hash_secret("tk-us-abc")) == 32
    assert b"tk-us-abc" not in hash_secret("tk-us-abc")


async def test_a_token_is_limited_to_scopes_apps_and_a_time(client, world):
    wish = {"name": "builds", "scopes": ["events:write"], "apps": ["my-app"], "expires_at": "2026-02-01T00:00:00Z"}
    made = (await client.post("/v1/tokens", json={"token": wish})).json()["token"]
    assert made["scopes"] == ["events:write"]
    assert made["app_ids"] == [world.app.id]
    assert made["expires_at"] == "2026-02-01T00:00:00.000Z"
    listed = (await client.get("/v1/tokens")).json()["tokens"][-1]
    assert {name: made[name] for name in listed} == listed


@pytest.mark.parametrize(
    ("wish", "field", "reason"),
    [
        ({"scopes": []}, "scopes", "must be some of apps:read,"),
        ({"scopes": ["events:write", "all"]}, "scopes", "must be some of apps:read,"),
        ({"scopes": ["account"]}, "scopes", "must be some of apps:read,"),
        ({"apps": []}, "apps", "must name an app"),
        ({"apps": ["my-app", "no-such-app"]}, "apps", "there is no app 'no-such-app'"),
        ({"expires_at": "2026-01-02T03:04:05Z"}, "expires_at", "must be in the future"),
        ({"expires_at": "soon"}, "expires_at", ""),
    ],
)
async def test_a_limit_that_cannot_be_is_refused(client, wish, field, reason):
    answer = await client.post("/v1/tokens", json={"token": wish})
    assert answer.status_code == 422
    assert answer.json()["errors"][field][0].startswith(reason)
    assert len((await client.get("/v1/tokens")).json()["tokens"]) == 1


async def test_a_token_keeps_its_limits_when_it_is_renewed(client, anonymous):
    made = (await client.post("/v1/tokens", json={"token": {"scopes": ["apps:read"]}})).json()["token"]
    renewed = (await client.patch(f"/v1/tokens/{made['id']}/renew")).json()["token"]
    assert renewed["scopes"] == ["apps:read"]
    headers = bearer(renewed["token"])
    assert (await anonymous.get("/v1/apps", headers=headers)).status_code == 200
    assert (await anonymous.get("/v1/apps/my-app/notifiers", headers=headers)).status_code == 403


async def test_a_token_and_its_bearer_end_with_its_time(client, anonymous, world):
    wish = {"expires_at": "2026-01-02T03:04:15Z"}
    secret = (await client.post("/v1/tokens", json={"token": wish})).json()["token"]["token"]
    exchanged = (await anonymous.post("/v1/tokens/exchange", headers=basic("", secret))).json()["token"]
    world.clock.advance(9.5)
    for known in (secret, exchanged):
        assert (await anonymous.get("/v1/apps", headers=bearer(known))).status_code == 200
    world.clock.advance(0.5)  # what was remembered a moment ago is not good for longer
    for known in (secret, exchanged):
        assert (await anonymous.get("/v1/apps", headers=bearer(known))).status_code == 401
    assert (await anonymous.post("/v1/tokens/exchange", headers=basic("", secret))).status_code == 401
