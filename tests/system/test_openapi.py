"""The OpenAPI document of a running server: valid, complete, and shown whole at /docs."""

import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from tests.line import PUBLIC_URL, Line, straight_line

# What clients and the black-box checks rely on. A colon stands for the name of any path parameter.
OPERATIONS = """
POST /v1/tokens/exchange
GET POST /v1/tokens
PATCH PUT /v1/tokens/:/renew
DELETE /v1/tokens/:
GET /v1/users/self
GET /v1/regions
GET /v1/features/stacks
GET /v1/notification_platforms
GET /v1/notification_platforms/search
GET /v1/notification_platforms/:
GET /v1/event_types
GET /v1/event_categories
GET POST /v1/apps
GET DELETE /v1/apps/:
GET PUT /v1/apps/:/variables
GET /v1/apps/:/collaborators
GET POST /v1/apps/:/notifiers
GET PATCH PUT DELETE /v1/apps/:/notifiers/:
POST /v1/apps/:/notifiers/:/test
POST /v1/apps/:/notifiers/:/pause
POST /v1/apps/:/notifiers/:/resume
POST /v1/apps/:/notifiers/:/recover
GET /v1/apps/:/notifiers/:/secret
POST /v1/apps/:/notifiers/:/secret/rotate
DELETE /v1/apps/:/notifiers/:/secret/previous
GET POST /v1/apps/:/alerts
GET PATCH PUT DELETE /v1/apps/:/alerts/:
GET POST /v1/apps/:/events
GET /v1/apps/:/events/:
GET /v1/apps/:/events/:/explain
POST /v1/apps/:/explain
GET /v1/events
GET /v1/apps/:/deliveries
GET /v1/apps/:/deliveries/:
POST /v1/apps/:/deliveries/:/replay
POST /v1/apps/:/deliveries/replay
GET /livez
GET /readyz
"""
PARAMETERS = {
    ("get", "/v1/apps/{}/events"): {"page", "per_page", "from", "before"},
    ("get", "/v1/events"): {"page", "per_page", "before"},
    ("get", "/v1/apps/{}/deliveries"): {"notifier_id", "event_id", "state", "before", "page", "per_page"},
    ("get", "/v1/apps/{}/events/{}/explain"): {"notifier_id", "page", "per_page"},
    ("get", "/v1/notification_platforms/search"): {"name"},
    ("delete", "/v1/apps/{}"): {"current_name"},
    ("post", "/v1/apps/{}/events"): {"Idempotency-Key"},
}
CREATES = {"add_", "replay_"}


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    async with straight_line(tmp_path) as line:
        yield line


@pytest.fixture
async def document(line: Line) -> dict[str, Any]:
    response = await line.client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def anonymous(path: str) -> str:
    """The path without the names of its parameters."""
    return re.sub(r"{[^}]*}", "{}", path)


async def test_the_document_is_valid_and_says_where_the_server_is(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"].startswith("3.1.")
    assert document["servers"] == [{"url": PUBLIC_URL}]
    assert document["info"]["title"] == "Tocsin"


async def test_everything_that_clients_rely_on_is_there(document: dict[str, Any]) -> None:
    found = {(method, anonymous(path)) for method, path, _ in operations(document)}
    for line in OPERATIONS.split("\n"):
        *methods, path = line.split() or [""]
        for method in methods:
            assert (method.lower(), path.replace(":", "{}")) in found, line


async def test_parameters_are_described_as_they_are_called(document: dict[str, Any]) -> None:
    described = {(method, anonymous(path)): operation for method, path, operation in operations(document)}
    for place, names in PARAMETERS.items():
        parameters = described[place]["parameters"]
        optional = {parameter["name"] for parameter in parameters if parameter["in"] != "path"}
        assert optional == names
    for operation in described.values():
        assert all(
            parameter.get("description") for parameter in operation.get("parameters", ()) if parameter["in"] != "path"
        )


async def test_every_operation_is_named_and_says_what_it_answers(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for method, path, operation in operations(document):
        assert re.fullmatch("[a-z][a-z_]+", operation["operationId"])
        assert operation["summary"]
        assert len(operation["tags"]) == 1
        assert operation["tags"][0][0].isupper()
        statuses = set(operation["responses"])
        assert len([status for status in statuses if status.startswith("2")]) == 1, path
        if method == "delete":
            assert "204" in statuses
        if any(operation["operationId"].startswith(prefix) for prefix in CREATES):
            assert "201" in statuses
        if operation.get("security"):
            assert {"401", "429", "503"} <= statuses, path
            for status, answer in operation["responses"].items():
                told = {"RateLimit", "RateLimit-Policy"} if status not in {"401", "503"} else set()
                told |= {"Retry-After"} if status in {"429", "503"} else set()
                assert told <= answer.get("headers", {}).keys(), path
        if "{" in path:
            assert "404" in statuses, path
        if "requestBody" in operation:
            assert {"400", "413", "422"} <= statuses, path


async def test_every_answer_has_a_schema(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], path
            assert ("content" in answer) == (status != "204"), path
            for media, content in answer.get("content", {}).items():
                assert media == "application/json"
                assert content["schema"], path


async def test_a_route_is_not_forgotten(line: Line, document: dict[str, Any]) -> None:
    """Every method of every path below /v1 that answers is in the document."""
    described = {(method, anonymous(path)) for method, path, _ in operations(document)}
    for path in document["paths"]:
        if not path.startswith("/v1"):
            continue
        concrete = re.sub(r"{[^}]*}", "nope", path)
        for method in ("get", "post", "put", "patch", "delete"):
            response = await line.client.request(method, concrete)
            answers = response.status_code != 405
            assert answers == ((method, anonymous(path)) in described) or is_another(concrete, method, described)


def is_another(concrete: str, method: str, described: set[tuple[str, str]]) -> bool:
    """Whether a path with a parameter in that place answers it: `tokens/exchange` is also the id of a token."""
    patterns = (anonymous(path).replace("{}", "[^/]+") for known, path in described if known == method)
    return any(re.fullmatch(pattern, concrete) for pattern in patterns)


class Page(HTMLParser):
    """The addresses that a page loads or leads to, its elements' names and its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.elements: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            if name in {"href", "src", "action", "srcset", "data"}:
                self.addresses.append(value or "")
            if name == "id":
                self.ids.add(value or "")


async def test_the_reference_shows_every_operation_and_loads_nothing_from_elsewhere(
    line: Line, document: dict[str, Any]
) -> None:
    response = await line.client.get("/docs")
    assert response.status_code == 200
    page = Page(response.text)
    assert page.elements.isdisjoint({"script", "iframe", "object", "embed"})
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in page.addresses)
    assert "default-src 'none'" in response.headers["content-security-policy"]
    for _, path, operation in operations(document):
        assert operation["operationId"] in page.ids
        assert path in response.text
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        else:
            assert (await line.client.get(address)).status_code == 200


async def test_the_reference_shows_what_an_event_is_made_of(line: Line) -> None:
    text = (await line.client.get("/docs")).text
    article = text.partition('<article id="add_events">')[2].partition("</article>")[0]
    assert "<code>event</code>" in article
    assert "list of EventIn" in article
    assert 'id="schema-EventIn"' in text
