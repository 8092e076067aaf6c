"""How often a token may ask, and how often somebody may fail to get in, as clients are told."""

import httpx
import pytest

from tests.api.conftest import PER_MINUTE, PUBLIC_URL, World, basic
from tests.api.listening import EVENTS, post, serving
from tocsin.api.events import EventsEndpoint
from tocsin.limits import BAD_TOKENS, PASSWORDS_BY_ADDRESS_AND_NAME
from tocsin.metrics import Metrics
from tocsin.proxies import Proxies

EVENT = {"event": {"type": "restart", "type_data": {}}}
FAR = "203.0.113."


def asking(world: World, peer: str = "192.0.2.1", **headers: str) -> httpx.AsyncClient:
    """A client of the whole API, events included, that is connected from `peer`."""
    endpoint = EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics(), proxies=world.api.state.proxies)
    transport = httpx.ASGITransport(endpoint, client=(peer, 4711))
    return httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=headers)


def check_refusal(answer: httpx.Response, wait_seconds: float) -> None:
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == str(int(wait_seconds))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert f"try again in {int(wait_seconds)} s" in answer.json()["error"]


async def spend(world: World, count: int) -> None:
    [token] = await world.verbs.tokens.list(world.users["alice"])
    for _ in range(count):
        world.verbs.tokens._allowances.of(token.id).spend()


async def test_a_token_that_asks_too_often_is_told_when_to_come_again(world: World) -> None:
    await spend(world, PER_MINUTE - 3)
    async with asking(world, **world.bearer("alice")) as client:
        for left in (2, 1, 0):
            answer = await client.get("/v1/apps/my-app/notifiers")
            assert answer.status_code == 200
            assert answer.headers["ratelimit-policy"] == f'"token";q={PER_MINUTE};w=60'
            assert answer.headers["ratelimit"] == f'"token";r={left};t=60'
        for answer in (await client.get("/v1/apps"), await client.post(EVENTS, json=EVENT)):
            check_refusal(answer, 1)
            assert answer.headers["ratelimit"] == '"token";r=0;t=60'
        world.clock.advance(1)
        assert (await client.post(EVENTS, json=EVENT)).status_code == 201
        assert (await client.get("/v1/apps/nope")).headers["ratelimit"] == '"token";r=8;t=60'


async def test_a_token_and_the_bearers_given_for_it_are_counted_together(world: World) -> None:
    await spend(world, PER_MINUTE - 2)
    async with asking(world) as client:
        exchanged = await client.post("/v1/tokens/exchange", headers=basic("", world.secrets["alice"]))
        assert exchanged.headers["ratelimit"] == '"token";r=1;t=60'
        bearer = {"authorization": f"Bearer {exchanged.json()['token']}"}
        assert (await client.get("/v1/users/self", headers=bearer)).status_code == 200
        check_refusal(await client.get("/v1/users/self", headers=world.bearer("alice")), 1)
        check_refusal(await client.post("/v1/tokens/exchange", headers=basic("", world.secrets["alice"])), 1)
        assert (await client.get("/v1/users/self", headers=world.bearer("bob"))).status_code == 200


async def test_a_request_is_counted_once_on_every_way(world: World) -> None:
    """Also one that the short cut gives back to be refused, and one for which it is looked at twice who asks."""
    endpoint = EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics())
    bearer = f"Authorization: Bearer {world.secrets['alice']}"
    good, bad = '{"event": {"type": "restart", "type_data": {}}}', '{"event": {"type": "restart"}}'
    worse = '{"event": {"type": "", "type_data": {}}}'
    asked = [post(good, EVENTS, bearer), post(bad, EVENTS, bearer), post(worse, EVENTS, bearer)]
    asked += [post(good, "/" + EVENTS, bearer), post("{}", "/v1/apps/my-app/collaborators", bearer)]
    async with serving(endpoint) as served:
        client = await served.connect()
        for count, request in enumerate([*asked, *asked], 1):
            client.write(request)
            _, headers, _ = await client.read()
            assert headers["ratelimit"].startswith(f'"token";r={PER_MINUTE - count};')
        await spend(world, PER_MINUTE - 2 * len(asked))
        for request in asked:
            client.write(request)
            status, headers, body = await client.read()
            assert (status, headers["retry-after"]) == (429, "1")
            assert "try again in 1 s" in body


async def test_who_sends_bad_tokens_is_refused_and_keeps_out_nobody_else(world: World) -> None:
    bad = [{"authorization": f"Bearer tk-us-{'x' * 43}"}, basic("", "tk-us-nope"), {"authorization": "nonsense"}]
    ways = [("GET", "/v1/apps"), ("POST", EVENTS), ("POST", "/v1/tokens/exchange"), ("POST", "/v1/tokens")]
    async with asking(world) as client, asking(world, "192.0.2.2") as elsewhere:
        for number in range(BAD_TOKENS.burst):
            method, path = ways[number % len(ways)]
            answer = await client.request(method, path, headers=bad[number % len(bad)])
            assert answer.status_code == 401
            assert "ratelimit" not in answer.headers
        for method, path in ways:
            check_refusal(await client.request(method, path, headers=bad[0]), 2)
            assert (await elsewhere.request(method, path, headers=bad[0])).status_code == 401
        assert (await client.get("/v1/apps", headers=world.bearer("alice"))).status_code == 200
        assert (await client.get("/v1/apps")).status_code == 401, "nothing was guessed"
        world.clock.advance(2)
        assert (await client.get("/v1/apps", headers=bad[0])).status_code == 401


async def test_who_guesses_passwords_is_refused_before_they_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = world.verbs.accounts
    await accounts.set_password(world.users["alice"], "a good password")
    looked_at = []
    verify = accounts._hasher.verify
    monkeypatch.setattr(accounts, "_hasher", type("Watched", (), {"hash": accounts._hasher.hash, "verify": None})())
    accounts._hasher.verify = lambda *given: looked_at.append(given) or verify(*given)
    async with asking(world) as client, asking(world, "2001:db8::1") as elsewhere:
        for _ in range(PASSWORDS_BY_ADDRESS_AND_NAME.burst):
            assert (await client.post("/v1/tokens", headers=basic("alice", "wrong"))).status_code == 401
        before = len(looked_at)
        assert before == PASSWORDS_BY_ADDRESS_AND_NAME.burst
        check_refusal(await client.post("/v1/tokens", headers=basic("Alice", "a good password")), 30)
        assert len(looked_at) == before
        answer = await elsewhere.post("/v1/tokens", headers=basic("alice", "a good password"))
        assert answer.status_code == 201, "from elsewhere she gets in"
        world.clock.advance(30)
        assert (await client.post("/v1/tokens", headers=basic("alice", "a good password"))).status_code == 201


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_behind_a_proxy_that_is_trusted_each_client_counts_for_itself(world: World, is_trusted: bool) -> None:
    world.api.state.proxies = Proxies.parse("192.0.2.1" if is_trusted else "")
    bad = {"authorization": "Bearer nope"}
    async with asking(world) as client:
        statuses = {
            (await client.post(path, headers=bad | {"x-forwarded-for": f"{FAR}{number}"})).status_code
            for number in range(BAD_TOKENS.burst)
            for path in (EVENTS, "/v1/apps")
        }
        assert statuses == ({401} if is_trusted else {401, 429})
        for _ in range(BAD_TOKENS.burst):
            await client.get("/v1/apps", headers=bad | {"x-forwarded-for": f"made-up, {FAR}77"})
        made_up = bad | {"x-forwarded-for": f"{FAR}78, {FAR}77"}
        assert (await client.get("/v1/apps", headers=made_up)).status_code == 429, "nobody chooses an address"


async def test_an_event_over_a_socket_is_counted_for_who_is_connected(world: World) -> None:
    endpoint = EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics(), proxies=Proxies.parse("127.0.0.1"))
    bad = "Authorization: Bearer nope"
    async with serving(endpoint) as served:
        client = await served.connect()
        for count in range(2 * BAD_TOKENS.burst):
            client.write(post("{}", EVENTS, bad, f"X-Forwarded-For: {FAR}{count % 2}"))
            assert (await client.read())[0] == 401
        for path in (EVENTS, "/" + EVENTS):
            client.write(post("{}", path, bad, f"X-Forwarded-For: {FAR}1"))
            assert (await client.read())[0] == 429
