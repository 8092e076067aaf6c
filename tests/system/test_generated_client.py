"""A client that a public generator makes from our OpenAPI document works against a running server."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.processes import Installation

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
PACKAGE = "tocsin_generated_client"
PLATFORM_ID = "5982f145d48c3600273ef08a"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a running server and an API token."""
    folder = tmp_path / "server"
    folder.mkdir()
    installation = Installation(folder, TOCSIN_EGRESS_ALLOW="")
    token = installation.add_user()
    installation.serve()
    yield installation.url, token
    assert installation.stop() == 0


@pytest.fixture
def generated(server: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the generator said; the package can be imported meanwhile."""
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{server[0]}/openapi.json").content)
    configuration = tmp_path / "generator.yml"
    configuration.write_text(f"package_name_override: {PACKAGE}\npost_hooks: []\n")
    folder = tmp_path / "generated"
    folder.mkdir()
    done = subprocess.run(
        [GENERATOR, "generate", "--path", document, "--config", configuration, "--meta", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(folder)
    yield done.stdout + done.stderr
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def module(name: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{name}")


class Client:
    """The generated package's functions by the name of their operation."""

    def __init__(self, url: str, token: str) -> None:
        self._client = module("client").AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)

    def call(self, tag: str, operation: str, *args: Any, **kwargs: Any) -> Any:
        response = module(f"api.{tag}.{operation}").sync_detailed(*args, client=self._client, **kwargs)
        assert response.status_code < 300, response.content
        return response.parsed

    def close(self) -> None:
        self._client.get_httpx_client().close()


def model(name: str, value: dict[str, Any]) -> Any:
    return getattr(module("models"), name).from_dict(value)


@pytest.mark.slow
def test_a_generated_client_works_and_lacks_nothing(server: tuple[str, str], generated: str) -> None:
    assert "warning" not in generated.lower(), generated
    client = Client(*server)
    try:
        client.call("apps", "add_app", body=model("AddAppAppWishBody", {"app": {"name": "my-app"}}))
        notifier_id = add_notifier(client)
        report_events(client)
        check_deliveries(client, notifier_id)
        client.call("notifiers", "remove_notifier", "my-app", notifier_id)
        assert notifier_id not in ids_of(client)
    finally:
        client.close()


def add_notifier(client: Client) -> str:
    wish = {
        "platform_id": PLATFORM_ID,
        "name": "my webhook",
        "send_all_events": True,
        "type_data": {"webhook_url": "https://example.com/hook"},
    }
    body = model("AddNotifierNotifierInBody", {"notifier": wish})
    added = client.call("notifiers", "add_notifier", "my-app", body=body).notifier
    assert (added.name, added.type_, added.state) == ("my webhook", "webhook", "active")
    assert added.created_at.tzinfo is not None
    assert added.id in ids_of(client)
    notifier_id: str = added.id
    return notifier_id


def ids_of(client: Client) -> list[str]:
    return [notifier.id for notifier in client.call("notifiers", "list_notifiers", "my-app").notifiers]


def report_events(client: Client) -> None:
    event = {"type": "deployment", "type_data": {"status": "success", "duration": 40}}
    one = client.call(
        "events", "add_events", "my-app", body=model("OneEventIn", {"event": event}), idempotency_key="first"
    )
    assert one.event.type_ == "deployment"
    assert one.event.type_data.to_dict() == event["type_data"]
    many = client.call("events", "add_events", "my-app", body=model("ManyEventsIn", {"events": [event, event]}))
    assert len(many.events) == 2
    cloud_event = {
        "specversion": "1.0",
        "id": "1",
        "source": "tests",
        "type": "deployment",
        "data": {"status": "success"},
    }
    told = client.call("events", "add_events", "my-app", body=model("CloudEvent", cloud_event))
    listed = client.call("events", "list_events", "my-app").events
    assert {one.event.id, told.event.id, *(event.id for event in many.events)} <= {event.id for event in listed}
    assert client.call("events", "get_event", "my-app", one.event.id).event.to_dict() == one.event.to_dict()


def check_deliveries(client: Client, notifier_id: str) -> None:
    answer = client.call("deliveries", "list_deliveries", "my-app", notifier_id=notifier_id)
    assert [delivery.event_type for delivery in answer.deliveries] == ["deployment"] * 4 + ["new_notifier"]
    assert answer.meta.pagination.total_count == 5
    assert {delivery.platform for delivery in answer.deliveries} == {"webhook"}
