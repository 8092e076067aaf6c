import inspect

import httpx
import pytest
from fastapi import FastAPI

from tocsin import errors
from tocsin.api.problems import STATUS_OF, answer
from tocsin.errors import (
    Conflict,
    InvalidInput,
    Malformed,
    NoRoom,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Overloaded,
    RequestError,
    StoreError,
    TocsinError,
    TooLarge,
    TooMany,
)


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (Malformed("m"), 400, b'{"error":"m"}'),
        (RequestError("m"), 400, b'{"error":"m"}'),
        (NotAuthenticated("m"), 401, b'{"error":"m"}'),
        (NotAllowed("m"), 403, b'{"error":"m"}'),
        (NotFound("app"), 404, b'{"resource":"app","error":"not found"}'),
        (Conflict("m"), 409, b'{"error":"m"}'),
        (TooLarge("m"), 413, b'{"error":"m"}'),
        (InvalidInput({"name": ["is required"]}), 422, b'{"errors":{"name":["is required"]}}'),
        (TooMany("m", 1.2), 429, b'{"error":"m: try again in 2 s"}'),
        (TocsinError("secret"), 500, b'{"error":"something went wrong on the server"}'),
    ],
)
def test_an_error_has_one_answer(error, status, body):
    answered = answer(error)
    assert (answered.status_code, answered.body) == (status, body)


def test_an_unavailable_database_is_worth_a_second_try():
    answered = answer(StoreError("/var/lib/tocsin.db is locked"))
    assert answered.status_code == 503
    assert answered.headers["retry-after"] == "1"
    assert b"/var/lib" not in answered.body


def test_a_server_that_is_short_of_memory_asks_to_come_back():
    answered = answer(Overloaded())
    assert answered.status_code == 503
    assert answered.headers["retry-after"] == "1"


def test_a_full_disk_is_told_as_what_it_is():
    answered = answer(NoRoom())
    assert answered.status_code == 503
    assert answered.headers["retry-after"] == "5"
    assert b"disk" in answered.body


def test_every_error_of_a_request_has_a_status():
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, RequestError):
            assert kind in STATUS_OF


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/nope", "/v1/apps/my-app/nope/deeper"])
async def test_an_unknown_path_is_answered_in_json(client, path):
    answered = await client.get(path)
    assert answered.status_code == 404
    assert path in answered.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/apps", "GET, HEAD, POST"),
        ("POST", "/v1/apps/my-app", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", "/v1/apps/my-app/rename", "POST"),
        ("TRACE", "/v1/regions", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_take_gets_405_with_those_it_does(client, method, path, allowed):
    answered = await client.request(method, path)
    assert answered.status_code == 405
    assert answered.headers["allow"] == allowed
    assert allowed in answered.json()["error"]


@pytest.mark.parametrize("path", ["/v1/apps?", "/v1/apps/", "//v1/apps", "/v1/apps/?", "/v1/apps?unknown=1"])
async def test_addresses_may_have_a_slash_or_a_question_mark_too_many(client, path):
    answered = await client.get(httpx.URL(scheme="http", host="x", raw_path=path.encode()))
    assert answered.status_code == 200
    assert list(answered.json()) == ["apps"]


async def test_nul_characters_in_an_address_are_refused(client):
    assert (await client.get("/v1/apps/a%00b")).status_code == 404
    answered = await client.get("/v1/apps/my-app/deliveries?notifier_id=%00")
    assert (answered.status_code, answered.json()) == (422, {"errors": {"query": ["must not hold NUL characters"]}})


async def test_head_answers_like_get_without_a_body(client):
    full = await client.get("/v1/apps")
    head = await client.head("/v1/apps")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == full.headers["content-length"]
    assert (await client.head("/v1/nope")).status_code == 404


async def test_a_request_id_is_echoed_or_made(client):
    given = await client.get("/v1/apps", headers={"x-request-id": "deploy-42"})
    assert given.headers["x-request-id"] == "deploy-42"
    made = [(await client.get("/v1/nope")).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    odd = await client.get("/v1/apps", headers={"x-request-id": "a b\x7f" * 100})
    assert len(odd.headers["x-request-id"]) == 36


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/apps", "/v1/nope", "/livez"])
async def test_every_answer_has_safe_headers(client, path):
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"


async def test_a_bug_is_answered_in_json_without_its_words(client, world):
    async def broken():
        raise ZeroDivisionError("the innards")

    api: FastAPI = world.api
    readiness, api.state.readiness = api.state.readiness, broken
    try:
        answered = await client.get("/readyz")
    finally:
        api.state.readiness = readiness
    assert answered.status_code == 500
    assert list(answered.json()) == ["error"]
    assert "innards" not in answered.text
    assert answered.headers["x-request-id"]


async def test_a_client_that_goes_away_is_not_answered(world):
    sent = []
    left = {"type": "http.disconnect"}

    async def receive():
        return left

    async def send(message):
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in world.bearer("alice").items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/apps",
        "raw_path": b"/v1/apps",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("y", 1),
    }
    await world.api(scope, receive, send)
    assert sent == []


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("page=x", {"page": ["must be a whole number"]}),
        ("per_page=1.5", {"per_page": ["must be a whole number"]}),
        ("page=-1", {"page": ["must be at least 1"]}),
        ("per_page=-1", {"per_page": ["must be at least 1"]}),
    ],
)
async def test_a_wrong_page_is_refused_by_name(client, query, errors):
    answered = await client.get(f"/v1/apps/my-app/events?{query}")
    assert (answered.status_code, answered.json()) == (422, {"errors": errors})


@pytest.mark.parametrize("body", [b"{", b"[]", b"nope"])
async def test_a_malformed_body_gets_400(client, body):
    answered = await client.post("/v1/apps", content=body)
    assert answered.status_code == 400
    assert answered.json()["error"].startswith("the body ")


async def test_a_body_too_large_gets_413(client):
    answered = await client.post("/v1/apps", content=b" " * (2 * 1024 * 1024 + 1))
    assert answered.status_code == 413
    assert "2048 KiB" in answered.json()["error"]


async def test_json_is_read_whatever_the_content_type_says(client):
    form = {"content-type": "application/x-www-form-urlencoded"}
    answered = await client.post("/v1/apps", content=b'{"app": {"name": "shop"}}', headers=form)
    assert answered.status_code == 201


async def test_zero_stands_for_the_usual_page(client):
    # The Go client sends its zero values for paging that was not given.
    usual = await client.get("/v1/apps/my-app/events")
    answered = await client.get("/v1/apps/my-app/events?page=0&per_page=0")
    assert (answered.status_code, answered.json()) == (200, usual.json())
