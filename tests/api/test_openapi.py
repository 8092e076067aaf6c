import json
from typing import Any

import httpx

from tocsin.api.application import build_api

OPEN = {"/livez", "/readyz", "/v1/regions", "/v1/notification_platforms", "/v1/event_types", "/v1/event_categories"}
OPEN_PREFIXES = ("/v1/notification_platforms", "/logos", "/unsubscribe")


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


async def test_every_operation_says_what_it_does_and_what_it_can_answer(api):
    document = api.state.describe()
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["tags"], where
        assert operation["summary"], where
        assert operation["operationId"].islower(), where
        if path not in OPEN and not path.startswith(OPEN_PREFIXES):
            assert operation["security"], where
            assert {"401", "503"} <= set(operation["responses"]), where
        if "{app}" in path:
            assert "404" in operation["responses"], where


async def test_a_body_is_described_with_an_example_and_its_errors(api):
    for path, method, operation in operations(api.state.describe()):
        if "requestBody" in operation:
            where = f"{method} {path}"
            assert {"400", "413", "422"} <= set(operation["responses"]), where
            assert "schema" in operation["requestBody"]["content"]["application/json"], where


async def test_every_reference_has_its_schema(api):
    document = api.state.describe()
    text = json.dumps(document)
    names = set(document["components"]["schemas"])
    assert "HTTPValidationError" not in text
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in names


def test_paths_that_are_answered_in_front_are_described_beside_the_others():
    no_verbs: Any = None
    posted = {
        "post": {"operationId": "add_events", "tags": ["Events"], "responses": {"201": {"description": "Stored"}}}
    }
    path = "/v1/apps/{app}/events"
    api = build_api(no_verbs, public_url="http://x/", region="r", extra_paths={path: posted})
    document = api.state.describe()
    assert document["paths"][path]["post"] == posted["post"]
    assert "get" in document["paths"][path]
    assert document["servers"] == [{"url": "http://x"}]


async def test_paths_that_are_answered_in_front_are_named_among_the_allowed():
    no_verbs: Any = None
    path = "/v1/apps/{app}/events"
    api = build_api(no_verbs, public_url="http://x", region="r", extra_paths={path: {"post": {}}})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://x") as client:
        assert (await client.delete("/v1/apps/my-app/events")).headers["allow"] == "GET, HEAD, POST"
