"""Who did what to an app, for its owner; and that nothing that matters is done without an entry."""

import ast
from pathlib import Path
from typing import Any

import httpx
import pytest

import tocsin
from tests.api.conftest import World
from tocsin.audit import Action
from tocsin.proxies import Proxies

URL = "https://hooks.example.com/services/s3cret-canary"


async def entries(client: httpx.AsyncClient, world: World, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/apps/my-app/audit_entries", headers=world.bearer("alice"), params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["audit_entries"]


async def add_notifier(client: httpx.AsyncClient, world: World) -> str:
    platforms = (await client.get("/v1/notification_platforms")).json()["notification_platforms"]
    platform_id = next(each["id"] for each in platforms if each["name"] == "webhook")
    given = {"platform_id": platform_id, "name": "ops", "type_data": {"webhook_url": URL}}
    answer = await client.post("/v1/apps/my-app/notifiers", json={"notifier": given}, headers=world.bearer("bob"))
    assert answer.status_code == 201, answer.text
    return answer.json()["notifier"]["id"]


async def test_an_entry_names_user_token_address_and_request(client: httpx.AsyncClient, world: World) -> None:
    headers = world.bearer("bob") | {"x-request-id": "my-request"}
    given = {"variable": {"name": "KEY", "value": "canary"}}
    answer = await client.post("/v1/apps/my-app/variables", json=given, headers=headers)
    assert answer.status_code == 201, answer.text
    (entry, *_) = await entries(client, world)
    assert entry["action"] == "variable.set"
    assert entry["actor"]["username"] == "bob"
    assert entry["actor"]["token_id"].startswith("tk-")
    assert entry["actor"]["address"] == "127.0.0.1"
    assert entry["request_id"] == "my-request"
    assert entry["details"] == {"names": ["KEY"]}


async def test_behind_a_trusted_proxy_the_address_is_the_clients(client: httpx.AsyncClient, world: World) -> None:
    given = {"variable": {"name": "KEY", "value": "canary"}}
    for proxies, address in (("", "127.0.0.1"), ("127.0.0.1", "2001:db8::7")):
        world.api.state.proxies = Proxies.parse(proxies)
        headers = {"x-forwarded-for": "203.0.113.1, 2001:db8::7"}
        assert (await client.post("/v1/apps/my-app/variables", json=given, headers=headers)).status_code == 201
        assert (await entries(client, world))[0]["actor"]["address"] == address


async def test_a_change_tells_what_changed_and_no_secret(client: httpx.AsyncClient, world: World) -> None:
    notifier_id = await add_notifier(client, world)
    path = f"/v1/apps/my-app/notifiers/{notifier_id}"
    change = {"notifier": {"name": "ops 2", "type_data": {"webhook_url": URL + "-2"}}}
    assert (await client.put(path, json=change, headers=world.bearer("alice"))).status_code == 200
    changed, added, *_ = await entries(client, world)
    assert (changed["action"], added["action"]) == ("notifier.changed", "notifier.added")
    assert changed["object"] == {"id": notifier_id, "name": "ops 2"}
    assert changed["details"]["notifier_name"] == {"from": "ops", "to": "ops 2"}
    assert changed["details"]["settings"] == ["webhook_url"]
    assert "s3cret" not in str(await entries(client, world))


async def test_reading_a_signing_secret_leaves_an_entry(client: httpx.AsyncClient, world: World) -> None:
    notifier_id = await add_notifier(client, world)
    secret = (await client.get(f"/v1/apps/my-app/notifiers/{notifier_id}/secret", headers=world.bearer("bob"))).json()
    (entry, *_) = await entries(client, world)
    assert (entry["action"], entry["actor"]["username"], entry["object"]["id"]) == ("secret.read", "bob", notifier_id)
    assert secret["secret"] not in str(entry)


async def test_pages_lead_to_the_oldest_entry(client: httpx.AsyncClient, world: World) -> None:
    for number in range(5):
        given = {"variable": {"name": f"KEY_{number}", "value": "x"}}
        await client.post("/v1/apps/my-app/variables", json=given, headers=world.bearer("alice"))
    everything = [each["number"] for each in await entries(client, world, per_page=100)]
    first = await entries(client, world, per_page=2)
    assert [each["number"] for each in first] == everything[:2]
    assert [each["number"] for each in await entries(client, world, per_page=2, page=2)] == everything[2:4]
    rest = await entries(client, world, per_page=100, before=first[-1]["number"])
    assert [each["number"] for each in rest] == everything[2:]


async def test_what_is_done_to_another_app_is_not_shown(client: httpx.AsyncClient, world: World) -> None:
    await client.post("/v1/apps", json={"app": {"name": "other-app"}}, headers=world.bearer("charlie"))
    assert "charlie" not in {each["actor"]["username"] for each in await entries(client, world)}
    answer = await client.get("/v1/apps/other-app/audit_entries", headers=world.bearer("alice"))
    assert answer.status_code == 404


async def test_what_users_do_on_their_own_account_is_recorded(client: httpx.AsyncClient, world: World) -> None:
    await client.post("/v1/tokens", json={"token": {"name": "new"}}, headers=world.bearer("alice"))
    newest, *_ = await world.verbs.audit.list_newest(limit=1)
    assert (newest.action, newest.username, newest.object_name) == ("token.added", "alice", "new")


async def test_a_wrong_before_is_refused_by_name(client: httpx.AsyncClient, world: World) -> None:
    path = "/v1/apps/my-app/audit_entries"
    answer = await client.get(path, headers=world.bearer("alice"), params={"before": "x"})
    assert answer.status_code == 422
    assert "before" in answer.json()["errors"]


@pytest.mark.parametrize("action", Action)
def test_every_action_is_recorded_somewhere(action: Action) -> None:
    """An action that no code names would promise what is not kept."""
    names = set()
    for path in Path(tocsin.__file__).parent.rglob("*.py"):
        if path.name != "audit.py" or path.parent.name == "store":
            names |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert action.name in names


NOT_RECORDED = {
    "_write_use": "when a token was used is on the token",
    "_note_use": "when a session was used is on the session",
    "ask_code": "whoever signs in with it is recorded",
    "take_code": "what is done with it is recorded",
    "resume_due": "a pause or hold that ends as was set",
    "take_link": "what is done with it is recorded",
    "_replay": "recorded before the first page",
    "leave": "the store is given the note, and writes it when somebody left",
}
"""Writes of these functions leave no entry, and why."""


@pytest.mark.parametrize(
    "module", ["accounts", "tokens", "apps", "notifiers", "alerts", "history", "keys", "unsubscribe", "sessions"]
)
def test_nothing_is_written_for_a_user_without_an_entry(module: str) -> None:
    source = (Path(tocsin.__file__).parent / f"{module}.py").read_text()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name in NOT_RECORDED:
            continue
        text = ast.get_source_segment(source, function) or ""
        if "_store.write(" in text:  # `Ingest.write` takes no change without a note
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            assert names & {"with_note", "add_note"}, f"{module}.{function.name} writes and records nothing"
