"""What our OpenAPI document says is what a running server does, for requests that Schemathesis makes up."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.processes import Installation
from tocsin.api.application import build_api
from tocsin.api.events_document import EVENTS_PATHS, EVENTS_SCHEMAS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    ignored_auth,
]
PLATFORM_ID = "5982f145d48c3600273ef08a"

LENGTH = 250
"""Requests to each operation at length; those with little to choose get fewer."""

# What is removed or changed along the way is not what the others look at.
APPS = ("kept-app", "edited-app", "emptied-app", "removed-app")

relaxed = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@dataclass
class Server:
    """A running server, a token, and by app the ids of what it has."""

    url: str
    token: str
    ids: dict[str, dict[str, str]]

    def known_id(self, operation_id: str, name: str, made_up: str) -> str:
        """Something that is there in place of what was made up, three times out of four."""
        if crc32(made_up.encode("utf-8", "replace")) % 4 == 0:
            return made_up
        return self.ids[app_of(operation_id)].get(name, made_up)


def app_of(operation_id: str) -> str:
    match operation_id.split("_"):
        case ["remove", "app"]:
            return "removed-app"
        case ["remove" | "renew", *_]:
            return "emptied-app"
        case ["edit" | "rename", *_]:
            return "edited-app"
        case _:
            return "kept-app"


def furnish(client: httpx.Client, name: str) -> dict[str, str]:
    """Make an app with one resource of each kind, and say their ids by the names of the path parameters."""

    def add(path: str, root: str, body: dict[str, Any]) -> str:
        response = client.post(f"/v1/{path}", json={root: body})
        assert response.status_code == 201, response.text
        found: str = response.json()[root]["id"]
        return found

    app = add("apps", "app", {"name": name})
    webhook = {"webhook_url": "https://example.com/hook"}
    notifier = {"platform_id": PLATFORM_ID, "name": "n", "send_all_events": True, "type_data": webhook}
    alert = {"container_type": "web", "metric": "cpu", "limit": 0.5}
    ids = {
        "app": app,
        "notifier": add(f"apps/{app}/notifiers", "notifier", notifier),
        "alert": add(f"apps/{app}/alerts", "alert", alert),
        "collaborator_id": add(f"apps/{app}/collaborators", "collaborator", {"email": "bob@example.com"}),
        "variable_id": add(f"apps/{app}/variables", "variable", {"name": "A", "value": "b"}),
        "event": add(f"apps/{app}/events", "event", {"type": "deployment", "type_data": {}}),
        "token_id": add("tokens", "token", {"name": "another"}),
        "platform_id": PLATFORM_ID,
    }
    deliveries = client.get(f"/v1/apps/{app}/deliveries").json()["deliveries"]
    return ids | {"delivery": deliveries[0]["id"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("schemathesis")
    installation = Installation(folder, TOCSIN_EGRESS_ALLOW="", TOCSIN_DELIVERY_TIMEOUT="1")
    try:
        token = installation.add_user()
        installation.serve()
        with httpx.Client(base_url=installation.url, headers={"authorization": f"Bearer {token}"}) as client:
            yield Server(installation.url, token, {name: furnish(client, name) for name in APPS})
        assert installation.stop() == 0
    finally:
        installation.end()


def describe() -> schemathesis.BaseSchema:
    """The document as the server shows it; it needs none to be made."""
    no_verbs: Any = None
    api = build_api(
        no_verbs,
        public_url="http://127.0.0.1",
        region="osc-fr1",
        extra_paths=EVENTS_PATHS,
        extra_schemas=EVENTS_SCHEMAS,
    )
    config = SchemathesisConfig.from_dict({"cache": {"enabled": False}})
    return schemathesis.openapi.from_dict(api.state.describe(), config=config)


document = describe()


def check(case: schemathesis.Case, server: Server) -> None:
    operation_id = case.operation.definition.raw["operationId"]
    case.path_parameters = {
        name: server.known_id(operation_id, name, str(made_up)) for name, made_up in case.path_parameters.items()
    }
    headers = {"Authorization": f"Bearer {server.token}"}
    case.call_and_validate(base_url=server.url, headers=headers, checks=CHECKS)


@pytest.mark.slow
@pytest.mark.xdist_group("schemathesis")
@document.parametrize()
@settings(relaxed, max_examples=15)
def test_the_server_keeps_to_its_document(case: schemathesis.Case, server: Server) -> None:
    check(case, server)


@pytest.mark.long
@pytest.mark.xdist_group("schemathesis")
def test_ten_thousand_requests_find_the_server_as_its_document_says(server: Server) -> None:
    counts: Counter[str] = Counter()
    for found in document.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(relaxed, derandomize=False, max_examples=LENGTH)
        def ask(case: schemathesis.Case) -> None:
            counts[case.operation.label] += 1
            check(case, server)

        ask()
        print(f"{operation.label}: {counts[operation.label]}")
    print(f"{counts.total()} requests to {len(counts)} operations")
    assert counts.total() >= 10_000
