"""Who may do what: every route that the API's description names, tried by everybody who could ask."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.api.conftest import PUBLIC_URL, World, basic
from tocsin.access import SCOPES
from tocsin.api.application import build_api
from tocsin.api.events import EventsEndpoint
from tocsin.api.events_document import EVENTS_PATHS, EVENTS_SCHEMAS
from tocsin.metrics import Metrics
from tocsin.tokens import TokenWish

OWNER, COLLABORATOR, LIMITED = "owner", "collaborator", "limited"
ALL = {OWNER, COLLABORATOR, LIMITED}

MAY = {
    "apps:read": ALL,
    "apps:write": {OWNER},
    "variables:read": {OWNER, COLLABORATOR},
    "variables:write": {OWNER, COLLABORATOR},
    "notifiers:read": ALL,
    "notifiers:test": ALL,
    "notifiers:write": {OWNER, COLLABORATOR},
    "secrets:read": {OWNER, COLLABORATOR},
    "events:read": ALL,
    "events:write": {OWNER, COLLABORATOR},
    "deliveries:read": ALL,
    "deliveries:write": {OWNER, COLLABORATOR},
    "audit:read": {OWNER},
}
"""What each right on an app is for whom, as docs/security.md says it."""

ABOUT_NO_APP = {"list_apps", "add_app", "list_events_of_user"}
"""Routes that take one of those rights and no app."""

OF_ACCOUNT = {"list_tokens", "add_token", "renew_token", "renew_token_by_put", "remove_token"}
OF_ANY_TOKEN = {"get_self", "list_stacks"}
OF_ANY_SECRET = {"exchange_token"}
HARMLESS: Mapping[str, dict[str, str]] = {"remove_app": {"current_name": "not-this"}}
"""Parameters with which an owner does no harm."""


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    rights: tuple[str, ...] | None

    def at(self, app: str) -> str:
        words = [
            (app if word == "{app}" else "no-such-thing") if "{" in word else word for word in self.path.split("/")
        ]
        return "/".join(words)


def operations() -> Iterator[Operation]:
    no_verbs: Any = None
    api = build_api(no_verbs, public_url=PUBLIC_URL, region="r", extra_paths=EVENTS_PATHS, extra_schemas=EVENTS_SCHEMAS)
    for path, item in api.state.describe()["paths"].items():
        for method, operation in item.items():
            security = operation.get("security")
            rights = None if security is None else tuple(security[0].get("bearer", ()))
            yield Operation(operation["operationId"], method, path, rights)


OPERATIONS = list(operations())
IN_APP = [each for each in OPERATIONS if "{app}" in each.path]


def named(those: list[Operation]) -> list[Any]:
    return [pytest.param(each, id=each.id) for each in those]


@asynccontextmanager
async def asking(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with the endpoint of events before it, as a server has it."""
    endpoint = EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url=PUBLIC_URL) as client:
        yield client


async def ask(
    client: httpx.AsyncClient, operation: Operation, secret: str | None, app: str = "my-app"
) -> httpx.Response:
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    body = {"json": {}} if operation.method in {"post", "put", "patch"} else {}
    parameters = HARMLESS.get(operation.id)
    answer = await client.request(operation.method, operation.at(app), headers=headers, params=parameters, **body)
    assert answer.status_code < 500, answer.text
    return answer


def is_let_in(answer: httpx.Response) -> bool:
    """Whether more was looked at than who asks."""
    return answer.status_code not in {401, 403} and not is_unknown_app(answer)


def is_unknown_app(answer: httpx.Response) -> bool:
    return answer.status_code == 404 and answer.json() == {"resource": "app", "error": "not found"}


def told(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All that an answer says, but for the request's own id and how many may follow it."""
    own = {"x-request-id", "ratelimit"}
    headers = [(name, value) for name, value in answer.headers.items() if name not in own]
    return answer.status_code, answer.content, headers


async def token(world: World, user: str = "alice", **limits: Any) -> str:
    return (await world.verbs.tokens.add(world.users[user], TokenWish(name="limited", **limits))).secret


async def share(world: World) -> None:
    """Charlie is a limited collaborator from here on."""
    await world.verbs.apps.add_collaborator(world.users["alice"], world.app, "charlie@example.com", is_limited=True)


def test_every_route_says_what_it_takes() -> None:
    for operation in OPERATIONS:
        if "{app}" in operation.path or operation.id in ABOUT_NO_APP:
            assert operation.rights is not None, operation
            assert len(operation.rights) == 1, operation
            assert operation.rights[0] in MAY, operation
        elif operation.rights is not None:
            assert operation.id in OF_ACCOUNT | OF_ANY_TOKEN | OF_ANY_SECRET, operation
            assert operation.rights == (("account",) if operation.id in OF_ACCOUNT - {"add_token"} else ()), operation
        else:
            assert operation.method == "get" or operation.path.startswith("/unsubscribe"), operation
    assert set(MAY) == set(SCOPES)


@pytest.mark.parametrize("operation", named(IN_APP))
async def test_each_role_may_what_it_may_and_nothing_else(world: World, operation: Operation) -> None:
    await share(world)
    assert operation.rights is not None
    async with asking(world) as client:
        for role, name in ((LIMITED, "charlie"), (COLLABORATOR, "bob"), (OWNER, "alice"), (OWNER, "admin")):
            answer = await ask(client, operation, world.secrets[name])
            assert is_let_in(answer) is (role in MAY[operation.rights[0]]), (role, answer.text)
            if not is_let_in(answer):
                assert answer.status_code == 403


@pytest.mark.parametrize("operation", named(IN_APP))
async def test_the_app_of_somebody_else_is_as_one_that_is_not_there(world: World, operation: Operation) -> None:
    await world.verbs.apps.add_app(world.users["charlie"], "other-app")
    elsewhere = await token(world, app_ids=[(await world.verbs.apps.add_app(world.users["alice"], "second")).id])
    async with asking(world) as client:
        for secret in (world.secrets["charlie"], elsewhere):
            for _ in range(2):  # the second time, what was found the first time is remembered
                foreign = await ask(client, operation, secret)
                assert is_unknown_app(foreign)
                by_id = await ask(client, operation, secret, app=world.app.id)
                missing = await ask(client, operation, secret, app="no-such-app")
                assert told(foreign) == told(by_id) == told(missing)


@pytest.mark.parametrize("operation", named([each for each in OPERATIONS if each.rights is not None]))
async def test_nobody_gets_in_without_a_valid_token(world: World, operation: Operation) -> None:
    expired = await token(world, expires_at=world.clock.now() + timedelta(hours=1))
    revoked = await token(world)
    exchanged = {
        name: (await world.verbs.tokens.exchange(basic("", secret)["authorization"], address="")).bearer
        for name, secret in (("expired", expired), ("revoked", revoked))
    }
    [_, _, gone] = await world.verbs.tokens.list(world.users["alice"])
    await world.verbs.tokens.remove(world.users["alice"], gone.id)
    world.clock.advance(timedelta(hours=1))
    async with asking(world) as client:
        for secret in (None, "tk-us-" + "x" * 43, "", expired, revoked, *exchanged.values()):
            answer = await ask(client, operation, secret)
            assert answer.status_code == 401, secret
            assert answer.headers["www-authenticate"]


@pytest.mark.parametrize("operation", named([each for each in OPERATIONS if each.rights]))
async def test_a_token_carries_its_scopes_alone(world: World, operation: Operation) -> None:
    assert operation.rights is not None
    [right] = operation.rights
    async with asking(world) as client:
        lacking = await token(world, scopes=[each for each in SCOPES if each != right])
        refused = await ask(client, operation, lacking)
        assert refused.status_code == 403
        if right == "account":
            assert refused.json() == {"error": "this takes an API token that is not limited to scopes"}
            return
        assert refused.json() == {"error": f"this API token lacks the scope {right}"}
        assert is_let_in(await ask(client, operation, await token(world, scopes=[right])))


@pytest.mark.parametrize("operation", named([each for each in OPERATIONS if each.id in OF_ACCOUNT | {"add_app"}]))
async def test_a_token_for_some_apps_is_for_nothing_else(world: World, operation: Operation) -> None:
    async with asking(world) as client:
        answer = await ask(client, operation, await token(world, app_ids=[world.app.id]))
        assert answer.status_code == 403
        assert "for some apps alone" in answer.json()["error"]


async def test_a_token_for_some_apps_shows_no_others(world: World) -> None:
    await world.verbs.apps.add_app(world.users["alice"], "second")
    async with asking(world) as client:
        headers = {"authorization": f"Bearer {await token(world, app_ids=[world.app.id])}"}
        assert [app["name"] for app in (await client.get("/v1/apps", headers=headers)).json()["apps"]] == ["my-app"]
        refused = await client.get("/v1/events", headers=headers)
        assert refused.status_code == 403


async def test_a_limited_token_makes_no_others(world: World) -> None:
    async with asking(world) as client:
        for limits in ({"scopes": list(SCOPES)}, {"app_ids": [world.app.id]}):
            secret = await token(world, **limits)
            for headers in ({"authorization": f"Bearer {secret}"}, basic("", secret)):
                assert (await client.post("/v1/tokens", json={}, headers=headers)).status_code == 403
