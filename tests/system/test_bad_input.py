"""What the API refuses: with which status, naming what, and storing nothing. Events stand in a file of their own."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.system.refusals import EMAIL, TYPE_DATA, WEBHOOK, World, check_refusal, open_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTIFIERS = "/v1/apps/my-app/notifiers"
NOTIFIER = f"{NOTIFIERS}/{{notifier}}"
ALERTS = "/v1/apps/my-app/alerts"
ALERT = f"{ALERTS}/{{alert}}"
ALERT_WISH = {"container_type": "web", "metric": "cpu", "limit": 0.5}
UNKNOWN_IDS = ("nope", "no-00000000-0000-7000-8000-000000000000", "%ff", "%C3%A9", "x" * 3000, "'; drop table users")

Case = tuple[str, str, Any, int, tuple[str, ...]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(tmp_path_factory.mktemp("bad-input")) as world:
        yield world


async def refused(world: World, case: Case) -> None:
    method, path, body, status, names = case
    before = await world.stored()
    check_refusal(await world.ask(method, path, body), status, names)
    assert await world.stored() == before


def notifier(**fields: Any) -> dict[str, Any]:
    return {"notifier": {"platform_id": WEBHOOK, "name": "n", "type_data": TYPE_DATA} | fields}


def of_url(url: Any) -> dict[str, Any]:
    return notifier(type_data={"webhook_url": url})


def of_mail(**type_data: Any) -> dict[str, Any]:
    return notifier(platform_id=EMAIL, type_data=type_data)


def alert(**fields: Any) -> dict[str, Any]:
    return {"alert": ALERT_WISH | fields}


BODIES = [
    ("{", 400, ("valid JSON",)),
    ('{"name": NaN}', 400, ("valid JSON",)),
    ('{"name": "\\ud800"}', 400, ("valid JSON",)),
    (b'{"name": "\xff"}', 400, ("valid JSON",)),
    ('{"name": "n"', 400, ("valid JSON",)),
    ('{"name": "n"}}', 400, ("valid JSON",)),
    ("name=n&active=true", 400, ("valid JSON",)),
    ("[]", 400, ("object",)),
    ("null", 400, ("object",)),
    ('"text"', 400, ("object",)),
    ("[" * 10_000, 400, ("nested",)),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, 400, ("nested",)),
    (b" " * (2 * 1024 * 1024 + 1), 413, ("larger than",)),
]
TAKING_BODIES = [
    ("POST", NOTIFIERS),
    ("PATCH", NOTIFIER),
    ("PUT", NOTIFIER),
    ("POST", f"{NOTIFIER}/pause"),
    ("POST", f"{NOTIFIER}/recover"),
    ("POST", "/v1/apps/my-app/deliveries/replay"),
    ("POST", ALERTS),
    ("PATCH", ALERT),
    ("PUT", ALERT),
    ("POST", "/v1/apps"),
    ("PATCH", "/v1/apps/my-app"),
    ("POST", "/v1/apps/my-app/rename"),
    ("POST", "/v1/apps/my-app/collaborators"),
    ("PUT", "/v1/apps/my-app/variables"),
    ("POST", "/v1/apps/my-app/variables"),
    ("POST", "/v1/tokens"),
]


@pytest.mark.parametrize(("method", "path"), TAKING_BODIES)
async def test_a_body_that_cannot_be_read_is_refused_everywhere(world: World, method: str, path: str) -> None:
    for body, status, words in BODIES:
        await refused(world, (method, path, body, status, words))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ("name", "platform_id")),
        ({"notifier": {}}, ("name", "platform_id")),
        ({"notifier": []}, ("notifier",)),
        ({"notifier": None}, ("notifier",)),
        ({"notifier": "text"}, ("notifier",)),
        (notifier(name=None), ("name",)),
        (notifier(name=""), ("name",)),
        (notifier(name=5), ("name",)),
        (notifier(name="a\nb"), ("name",)),
        (notifier(name=" "), ("name",)),
        (notifier(name="n" * 256), ("name",)),
        (notifier(name="a\0b"), ("notifier.name",)),
        (notifier(platform_id=None), ("platform_id",)),
        (notifier(platform_id=""), ("platform_id",)),
        (notifier(platform_id="webhook"), ("platform_id",)),
        (notifier(platform_id=5), ("platform_id",)),
        (notifier(active="perhaps"), ("active",)),
        (notifier(active=2), ("active",)),
        (notifier(active=[]), ("active",)),
        (notifier(send_all_events="perhaps"), ("send_all_events",)),
        (notifier(send_all_alerts={}), ("send_all_alerts",)),
        (notifier(selected_event_ids="app_deployed"), ("selected_event_ids",)),
        (notifier(selected_event_ids=["nope"]), ("selected_event_ids",)),
        (notifier(selected_event_ids=[1]), ("selected_event_ids[0]",)),
        (notifier(selected_event_ids={}), ("selected_event_ids",)),
        (notifier(selected_events=["nope"]), ("selected_events",)),
        (notifier(type_data=None), ("type_data.webhook_url",)),
        (notifier(type_data={}), ("type_data.webhook_url",)),
        (notifier(type_data=[]), ("type_data",)),
        (notifier(type_data="text"), ("type_data",)),
        (of_url(5), ("type_data.webhook_url",)),
        (of_url([]), ("type_data.webhook_url",)),
        (of_url("text"), ("type_data.webhook_url",)),
        (of_url("ftp://example.com/"), ("type_data.webhook_url",)),
        (of_url("file:///etc/passwd"), ("type_data.webhook_url",)),
        (of_url("https://"), ("type_data.webhook_url",)),
        (of_url("https://user:password@example.com/"), ("type_data.webhook_url",)),
        (of_url("https://exa mple.com/"), ("type_data.webhook_url",)),
        (of_url("https://example.com/\r\nhost: x"), ("type_data.webhook_url",)),
        (of_url("http://169.254.169.254/latest"), ("type_data.webhook_url",)),
        (of_url("http://[::1]/"), ("type_data.webhook_url",)),
        (of_url("http://0x7f000002/"), ("type_data.webhook_url",)),
        (of_url("https://example.com:22/"), ("type_data.webhook_url",)),
        (of_url("https://example.com/" + "x" * 2048), ("type_data.webhook_url",)),
        (of_mail(), ("type_data.emails",)),
        (of_mail(emails=[], user_ids=[]), ("type_data.emails",)),
        (of_mail(emails="ada@example.com"), ("type_data.emails",)),
        (of_mail(emails=["ada"]), ("type_data.emails",)),
        (of_mail(emails=["ada@example.com\r\nBcc: x@example.com"]), ("type_data.emails",)),
        (of_mail(emails=[5]), ("type_data.emails",)),
        (of_mail(emails=["ada@example.com"] * 51), ("type_data.emails",)),
        (of_mail(user_ids=["us-nobody"]), ("type_data.user_ids",)),
        (of_mail(user_ids="us-nobody"), ("type_data.user_ids",)),
        (notifier(name=5, active="perhaps"), ("name", "active")),
    ],
)
async def test_a_bad_notifier_is_not_added(world: World, body: Any, field: tuple[str, ...]) -> None:
    await refused(world, ("POST", NOTIFIERS, body, 422, field))


@pytest.mark.parametrize(
    ("path", "body", "status", "names"),
    [
        ("", {"notifier": {"platform_id": EMAIL}}, 422, ("platform_id",)),
        ("", {"notifier": {"type": "slack"}}, 422, ("type",)),
        ("", {"notifier": {"name": []}}, 422, ("name",)),
        ("", {"notifier": {"type_data": {"webhook_url": "text"}}}, 422, ("type_data.webhook_url",)),
        ("", {"notifier": {"type_data": {"emails": ["ada@example.com"]}}}, 422, ("type_data.webhook_url",)),
        ("", {"notifier": {"selected_event_ids": ["nope"]}}, 422, ("selected_event_ids",)),
        ("/pause", {"pause": {"until": "soon"}}, 422, ("until",)),
        ("/pause", {"pause": {"until": 5}}, 422, ("until",)),
        ("/pause", {"pause": {"until": "2001-01-01T00:00:00Z"}}, 422, ("until",)),
        ("/pause", {"pause": []}, 422, ("pause",)),
        ("/pause", {}, 409, ("off",)),
        ("/recover", {}, 422, ("since",)),
        ("/recover", {"recover": {"since": "soon"}}, 422, ("since",)),
        ("/recover", {"recover": {"since": "2026-01-02T00:00:00"}}, 422, ("since",)),
        (
            "/recover",
            {"recover": {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}},
            422,
            ("until",),
        ),
        ("/recover", {"recover": {"since": "2026-01-02T00:00:00Z", "dry_run": "perhaps"}}, 422, ("dry_run",)),
        ("/recover", {"recover": {"since": "2026-01-02T00:00:00Z", "to": "no-nope"}}, 422, ("to",)),
        ("/recover", {"recover": {"since": "2026-01-02T00:00:00Z", "to": "a\0b"}}, 422, ("recover.to",)),
        ("/recover", {"recover": {"since": "2026-01-02T00:00:00Z", "states": ["sent"]}}, 422, ("states[0]",)),
        (
            "/recover",
            {"recover": {"since": "2026-01-02T00:00:00Z", "rate_per_second": 1e308}},
            422,
            ("rate_per_second",),
        ),
        ("/recover", {"recover": {"since": "2026-01-02T00:00:00Z"}}, 409, ("off",)),
    ],
)
async def test_a_bad_change_of_a_notifier_is_not_made(
    world: World, path: str, body: Any, status: int, names: tuple[str, ...]
) -> None:
    for method in ("POST",) if path else ("PATCH", "PUT"):
        await refused(world, (method, NOTIFIER + path, body, status, names))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ("container_type", "metric", "limit")),
        ({"alert": []}, ("alert",)),
        (alert(metric="nope"), ("metric",)),
        (alert(metric=5), ("metric",)),
        (alert(limit=None), ("limit",)),
        (alert(limit="much"), ("limit",)),
        (alert(limit=True), ("limit",)),
        ('{"alert": {"container_type": "web", "metric": "cpu", "limit": 1e999}}', ("limit",)),
        (alert(container_type=""), ("container_type",)),
        (alert(container_type="a\nb"), ("container_type",)),
        (alert(container_type="w" * 256), ("container_type",)),
        (alert(remind_every="soon"), ("remind_every",)),
        (alert(remind_every=-5), ("remind_every",)),
        (alert(duration_before_trigger="-3m"), ("duration_before_trigger",)),
        (alert(duration_before_trigger=1.5), ("duration_before_trigger",)),
        (alert(duration_before_trigger=2**63), ("duration_before_trigger",)),
        (alert(duration_before_trigger=True), ("duration_before_trigger",)),
        (alert(notifiers=["no-nope"]), ("notifiers",)),
        (alert(notifiers="no-nope"), ("notifiers",)),
        (alert(notifiers=[1]), ("notifiers[0]",)),
        (alert(metadata=[]), ("metadata",)),
        (alert(metadata={"a": "x" * 17_000}), ("metadata",)),
        (alert(disabled="perhaps"), ("disabled",)),
        (alert(metric="nope", limit=True), ("limit",)),
    ],
)
async def test_a_bad_alert_is_not_added(world: World, body: Any, field: tuple[str, ...]) -> None:
    await refused(world, ("POST", ALERTS, body, 422, field))


@pytest.mark.parametrize("body", [{"metric": "nope"}, {"alert": {"metric": "nope"}}])
async def test_a_bad_change_of_an_alert_is_not_made(world: World, body: Any) -> None:
    for method in ("PATCH", "PUT"):
        await refused(world, (method, ALERT, body, 422, ("metric",)))


@pytest.mark.parametrize(
    "case",
    [
        ("POST", "/v1/apps", {}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": "text"}, 422, ("app",)),
        ("POST", "/v1/apps", {"app": {"name": 5}}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": {"name": "x"}}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": {"name": "a" * 49}}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": {"name": "My App"}}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": {"name": "my-app\n"}}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": {"name": "a" * 24}}, 422, ("name",)),
        ("POST", "/v1/apps", {"app": {"name": "my-app"}}, 422, ("name",)),
        ("PATCH", "/v1/apps/my-app", {"app": {"name": "No"}}, 422, ("name",)),
        ("PATCH", "/v1/apps/my-app", {"app": {"owner": "us-nobody"}}, 422, ("owner",)),
        ("POST", "/v1/apps/my-app/rename", {}, 422, ("new_name",)),
        ("POST", "/v1/apps/my-app/rename", {"new_name": "No"}, 422, ("new_name",)),
        ("POST", "/v1/apps/my-app/rename", {"new_name": "new", "current_name": "wrong"}, 422, ("current_name",)),
        ("DELETE", "/v1/apps/my-app?current_name=wrong", None, 422, ("current_name",)),
        ("POST", "/v1/apps/my-app/collaborators", {}, 422, ("email",)),
        ("POST", "/v1/apps/my-app/collaborators", {"collaborator": {"email": 5}}, 422, ("email",)),
        ("POST", "/v1/apps/my-app/collaborators", {"collaborator": {"email": "bob"}}, 422, ("email",)),
        ("POST", "/v1/apps/my-app/collaborators", {"collaborator": {"email": "alice@example.com"}}, 422, ("email",)),
        (
            "POST",
            "/v1/apps/my-app/collaborators",
            {"collaborator": {"email": "bob@example.com", "is_limited": "perhaps"}},
            422,
            ("is_limited",),
        ),
        ("PUT", "/v1/apps/my-app/variables", {"variables": 5}, 422, ("variables",)),
        ("PUT", "/v1/apps/my-app/variables", {"variables": [{"name": "A"}]}, 422, ("variables[0].value",)),
        ("PUT", "/v1/apps/my-app/variables", {"variables": [{"name": "A", "value": 5}]}, 422, ("variables[0].value",)),
        ("PUT", "/v1/apps/my-app/variables", {"variables": [{"name": "1A", "value": "b"}]}, 422, ("name",)),
        ("POST", "/v1/apps/my-app/variables", {"variable": {"name": "A B", "value": "b"}}, 422, ("name",)),
        ("POST", "/v1/apps/my-app/variables", {"variable": {"name": "A", "value": "b" * 65_537}}, 422, ("value",)),
        ("POST", "/v1/apps/my-app/deliveries/replay", {}, 422, ("notifier_id", "since")),
        ("POST", "/v1/apps/my-app/deliveries/replay", {"replay": []}, 422, ("replay",)),
        ("POST", "/v1/tokens", {"token": {"name": 5}}, 422, ("name",)),
        ("POST", "/v1/tokens", {"token": {"name": "n" * 201}}, 422, ("name",)),
        ("POST", "/v1/tokens", {"name": "a\nb"}, 422, ("name",)),
    ],
)
async def test_a_bad_app_collaborator_variable_or_token_is_refused(world: World, case: Case) -> None:
    await refused(world, case)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("events?page=-1", "page"),
        ("events?page=x", "page"),
        ("events?page=1.5", "page"),
        ("events?page=", "page"),
        ("events?page=%00", "query"),
        ("events?per_page=-1", "per_page"),
        ("events?from=0", "from"),
        ("events?from=73", "from"),
        ("events?from=x", "from"),
        ("deliveries?page=-1", "page"),
        ("deliveries?per_page=x", "per_page"),
        ("deliveries?state=nope", "state"),
    ],
)
async def test_a_bad_parameter_is_named(world: World, query: str, field: str) -> None:
    await refused(world, ("GET", f"/v1/apps/my-app/{query}", None, 422, (field,)))


async def test_a_page_beyond_every_end_is_empty(world: World) -> None:
    for number in (2, 10**9, 10**30):
        for kind in ("events", "deliveries"):
            response = await world.ask("GET", f"/v1/apps/my-app/{kind}?page={number}")
            assert (response.status_code, response.json()[kind]) == (200, [])


BELOW_A_NOTIFIER = [
    ("GET", "", None),
    ("PATCH", "", {"notifier": {"name": "n"}}),
    ("PUT", "", {"notifier": {"name": "n"}}),
    ("DELETE", "", None),
    ("POST", "/test", None),
    ("POST", "/pause", None),
    ("POST", "/resume", None),
    ("GET", "/secret", None),
    ("POST", "/secret/rotate", None),
    ("DELETE", "/secret/previous", None),
    ("POST", "/recover", {"recover": {"since": "2026-01-01T00:00:00Z"}}),
]


@pytest.mark.parametrize(("method", "path", "body"), BELOW_A_NOTIFIER)
async def test_an_unknown_notifier_is_not_found(world: World, method: str, path: str, body: Any) -> None:
    for unknown in UNKNOWN_IDS:
        await refused(world, (method, f"{NOTIFIERS}/{unknown}{path}", body, 404, ("notifier",)))


@pytest.mark.parametrize(
    ("method", "path", "body", "resource"),
    [
        ("GET", f"{ALERTS}/UNKNOWN", None, "alert"),
        ("PATCH", f"{ALERTS}/UNKNOWN", {"alert": {}}, "alert"),
        ("PUT", f"{ALERTS}/UNKNOWN", {"alert": {}}, "alert"),
        ("DELETE", f"{ALERTS}/UNKNOWN", None, "alert"),
        ("GET", "/v1/apps/my-app/events/UNKNOWN", None, "event"),
        ("GET", "/v1/apps/my-app/events/UNKNOWN/explain", None, "event"),
        ("GET", "/v1/apps/my-app/deliveries/UNKNOWN", None, "delivery"),
        ("POST", "/v1/apps/my-app/deliveries/UNKNOWN/replay", None, "delivery"),
        ("PATCH", "/v1/apps/my-app/collaborators/UNKNOWN", {"collaborator": {"is_limited": True}}, "collaborator"),
        ("DELETE", "/v1/apps/my-app/collaborators/UNKNOWN", None, "collaborator"),
        ("PATCH", "/v1/apps/my-app/variables/UNKNOWN", {"variable": {"value": "b"}}, "variable"),
        ("DELETE", "/v1/apps/my-app/variables/UNKNOWN", None, "variable"),
        ("PATCH", "/v1/tokens/UNKNOWN/renew", None, "token"),
        ("DELETE", "/v1/tokens/UNKNOWN", None, "token"),
        ("GET", "/v1/notification_platforms/UNKNOWN", None, "notification_platform"),
        ("GET", "/v1/apps/UNKNOWN", None, "app"),
        ("PATCH", "/v1/apps/UNKNOWN", {"app": {"name": "new"}}, "app"),
        ("DELETE", "/v1/apps/UNKNOWN", None, "app"),
        ("GET", "/v1/apps/UNKNOWN/notifiers", None, "app"),
        ("POST", "/v1/apps/UNKNOWN/notifiers", notifier(), "app"),
        ("GET", "/v1/apps/UNKNOWN/alerts", None, "app"),
        ("GET", "/v1/apps/UNKNOWN/events", None, "app"),
        ("GET", "/v1/apps/UNKNOWN/deliveries", None, "app"),
        ("PUT", "/v1/apps/UNKNOWN/variables", {"variables": []}, "app"),
    ],
)
async def test_what_does_not_exist_is_not_found(world: World, method: str, path: str, body: Any, resource: str) -> None:
    for unknown in UNKNOWN_IDS:
        await refused(world, (method, path.replace("UNKNOWN", unknown), body, 404, (resource,)))


@pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/v1/apps/my-app/nothing", "/nothing", "/v2/apps"])
async def test_an_unknown_path_says_where_to_look(world: World, path: str) -> None:
    response = await world.ask("GET", path)
    assert response.status_code == 404
    assert response.json().keys() == {"error"}
    assert "/docs" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/users/self", "GET, HEAD"),
        ("DELETE", "/v1/apps", "GET, HEAD, POST"),
        ("PUT", NOTIFIERS, "GET, HEAD, POST"),
        ("POST", NOTIFIER, "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", f"{NOTIFIER}/test", "POST"),
        ("POST", ALERT, "DELETE, GET, HEAD, PATCH, PUT"),
        ("PATCH", "/v1/event_types", "GET, HEAD"),
        ("DELETE", "/v1/apps/my-app/events", "GET, HEAD, POST"),
        ("POST", "/v1/apps/my-app/deliveries", "GET, HEAD"),
        ("GET", "/v1/apps/my-app/explain", "POST"),
        ("OPTIONS", "/v1/apps", "GET, HEAD, POST"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(world: World, method: str, path: str, allowed: str) -> None:
    before = await world.stored()
    response = await world.ask(method, path)
    check_refusal(response, 405, (method,))
    assert response.headers["allow"] == allowed
    assert await world.stored() == before


WRONG_CREDENTIALS = [
    "Bearer",
    "Bearer text",
    "Bearer a.b.c",
    "Bearer tk-us-" + "x" * 43,
    "Bearer " + "x" * 10_000,
    "Basic",
    "Basic !!",
    "Basic Og==",
    "Basic YWxpY2U6d3Jvbmc=",
    "Token text",
    "\xff",
]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/apps", None),
        ("GET", "/v1/users/self", None),
        ("GET", "/v1/tokens", None),
        ("POST", "/v1/tokens", {"name": "t"}),
        ("POST", "/v1/tokens/exchange", {}),
        ("POST", NOTIFIERS, notifier()),
        ("DELETE", NOTIFIER, None),
        ("POST", f"{NOTIFIER}/test", None),
        ("GET", "/v1/apps/my-app/events", None),
        ("POST", "/v1/apps/my-app/events", {"event": {"type": "restart", "type_data": {}}}),
        ("POST", "/v1/apps/my-app/events", "{"),
        ("GET", "/v1/apps/my-app/deliveries", None),
    ],
)
async def test_nobody_gets_in_without_a_valid_token(world: World, method: str, path: str, body: Any) -> None:
    before = await world.stored()
    async with httpx.AsyncClient(base_url=world.client.base_url) as stranger:
        for wrong in (None, *WRONG_CREDENTIALS):
            headers = {} if wrong is None else {"authorization": wrong.encode("latin-1")}
            sent = {"content": body.encode()} if isinstance(body, str) else {"json": body}
            response = await stranger.request(method, path.format(**world.ids), headers=headers, **sent)
            check_refusal(response, 401, ())
            assert response.headers["www-authenticate"].startswith("Bearer ")
            assert "tk-us-x" not in response.text
    assert await world.stored() == before
