"""A secret in every field that takes one, on a served Tocsin that logs everything: none comes out where none belongs.

What each other test leaves behind is searched as well (`tests.canaries`); here the answers are, too.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.canaries import found_in, look_through
from tests.processes import Installation
from tests.programs import free_port

PASSWORD = "s3cret-canary-password"
PATH = "/s3cret-canary-path"
VALUE = "s3cret-canary-value"
PAYLOAD = "canary of an event"
"""Whoever may read events sees it; logs and metrics do not."""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    port = free_port()
    made = Installation(
        tmp_path,
        TOCSIN_SMTP_URL=f"smtp://ops:{PASSWORD}@127.0.0.1:{free_port()}",
        TOCSIN_METRICS_LISTEN=f"127.0.0.1:{port}",
        TOCSIN_RETRY_SCHEDULE="0,1",
    )
    yield made
    made.end()


def add_all(client: httpx.Client, bob_email: str) -> list[str]:
    """An app with secrets everywhere, shared with Bob, who may only read it; answers with its notifiers' ids."""
    client.post("/v1/apps", json={"app": {"name": "shop"}}).raise_for_status()
    client.post("/v1/apps/shop/variables", json={"variable": {"name": "KEY", "value": VALUE}}).raise_for_status()
    sharing = {"collaborator": {"email": bob_email, "is_limited": True}}
    client.post("/v1/apps/shop/collaborators", json=sharing).raise_for_status()
    ids = []
    for platform in client.get("/v1/notification_platforms").json()["notification_platforms"]:
        type_data = {"webhook_url": f"http://127.0.0.1:{free_port()}{PATH}", "emails": ["ops@example.com"]}
        given = {"platform_id": platform["id"], "name": platform["name"], "type_data": type_data}
        added = client.post("/v1/apps/shop/notifiers", json={"notifier": given | {"send_all_events": True}})
        assert added.status_code == 201, added.text
        ids.append(added.json()["notifier"]["id"])
    return ids


def use_all(client: httpx.Client, ids: list[str]) -> None:
    """Everything that writes records, tells of notifiers, or fails with their settings at hand."""
    event = {"event": {"type": "deployment", "type_data": {"git_ref": PAYLOAD}}}
    client.post("/v1/apps/shop/events", json=event).raise_for_status()
    for notifier_id in ids:
        path = f"/v1/apps/shop/notifiers/{notifier_id}"
        client.post(f"{path}/test").raise_for_status()
        client.put(path, json={"notifier": {"name": "another"}}).raise_for_status()
        client.get(f"{path}/secret")
        client.post(f"{path}/secret/rotate")
        client.put(path, content=f'{{"notifier": {{"type_data": {{"webhook_url": "{PATH}"')


def look_everywhere(client: httpx.Client, ids: list[str]) -> Iterator[str]:
    """What somebody sees who may read and no more."""
    lists = ("", "/events", "/deliveries", "/notifiers", "/alerts", "/collaborators", "/variables", "/audit_entries")
    paths = [f"/v1/apps/shop{each}" for each in lists]
    paths += [f"/v1/apps/shop/notifiers/{notifier_id}{more}" for notifier_id in ids for more in ("", "/secret")]
    paths += ["/v1/apps", "/v1/events", "/v1/users/self", "/readyz", "/", "/docs", "/openapi.json"]
    for path in paths:
        yield client.get(path).text
    for event in client.get("/v1/apps/shop/events").json()["events"]:
        yield client.get(f"/v1/apps/shop/events/{event['id']}/explain").text
    for delivery in client.get("/v1/apps/shop/deliveries").json()["deliveries"]:
        yield client.get(f"/v1/apps/shop/deliveries/{delivery['id']}").text
    for notifier_id in ids:
        yield client.post(f"/v1/apps/shop/notifiers/{notifier_id}/test").text


def test_no_secret_comes_out_of_a_whole_tocsin(installation: Installation, tmp_path: Path) -> None:
    alice, bob = installation.add_user("alice"), installation.add_user("bob")
    installation.run("user", "password", "alice", "--password-stdin", given=PASSWORD)
    installation.serve()
    link = installation.run("user", "link", "alice").rpartition("/")[2]
    bearer = httpx.post(f"{installation.url}/v1/tokens/exchange", auth=("", alice)).json()["token"]
    with httpx.Client(base_url=installation.url, headers={"authorization": f"Bearer {bearer}"}, timeout=30) as client:
        ids = add_all(client, "bob@example.com")
        use_all(client, ids)
        audit = client.get("/v1/apps/shop/audit_entries", params={"per_page": 100}).text
    httpx.post(f"{installation.url}/v1/tokens", auth=("alice", PASSWORD + "-wrong"))
    httpx.get(f"{installation.url}/v1/apps", headers={"authorization": f"Bearer {alice}x"})
    httpx.get(f"{installation.url}/login/{link}")
    with httpx.Client(base_url=installation.url, headers={"authorization": f"Bearer {bob}"}, timeout=30) as client:
        seen = list(look_everywhere(client, ids))
    metrics = httpx.get(f"http://{installation.environment['TOCSIN_METRICS_LISTEN']}/metrics").text
    assert "tocsin_" in metrics
    assert any(PAYLOAD in text for text in seen)  # Bob does see what he may
    assert "secret.rotated" in audit  # Bob may not see it
    for text in (*seen, audit, metrics):
        assert found_in(text.encode(), [alice, bearer, link, PASSWORD]) is None
    log = installation.log.read_text()
    assert '"level":"debug"' in log
    assert PAYLOAD not in log + metrics
    installation.stop()
    assert list(look_through(tmp_path, [alice, bearer, link, PASSWORD])) == []
    with closing(sqlite3.connect(tmp_path / "tocsin.db")) as database:
        dump = "\n".join(database.iterdump())
    assert "shop" in dump
    assert found_in(dump.encode(), [alice, bearer, link, PASSWORD]) is None
