"""Requests that are no plain events, on real sockets and the server's loop, and what is relied on inside uvicorn."""

import asyncio
import hashlib
import inspect
import json
import re
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.api.listening import EVENTS, Application, post, serving, until
from tocsin.api import ordinary
from tocsin.api.events import EventsEndpoint
from tocsin.api.listener import Listener
from tocsin.metrics import Metrics


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        post("0\r\n\r\n", EVENTS, "Transfer-Encoding: chunked"),
        post("a", EVENTS, "Content-Length: 2"),
        post("a").replace(b"Length: 1", b"Length: -1"),
    ],
)
async def test_a_request_that_could_be_read_in_two_ways_is_refused(request_bytes: bytes) -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(request_bytes)
        status, headers, body = await client.read()
        assert (status, headers["connection"], headers["content-type"]) == (400, "close", "application/json")
        assert json.loads(body) == {"error": "Invalid HTTP request received."}
        assert await client.is_closed()
        assert not app.events


async def test_a_head_without_end_is_refused() -> None:
    async with serving(Application()) as served:
        client = await served.connect()
        client.write(b"POST " + EVENTS.encode() + b" HTTP/1.1\r\nX: ")
        await until(lambda: bool(served.server.server_state.connections) and served.ordinary is not None)
        client.write(b"x" * (ordinary.MAX_HEAD_BYTES + 1))
        status, headers, body = await client.read()
        assert (status, headers["connection"]) == (400, "close")
        assert json.loads(body) == {"error": "The request's head is too large."}


async def test_who_never_ends_a_request_that_was_refused_is_left(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "LINGER_SECONDS", 0.02)
    async with serving(EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics())) as served:
        for path in ("/v1/apps", "/" + EVENTS):
            client = await served.connect()
            client.write(post("x" * 1000, path)[:-1])
            assert (await client.read())[0] == 401
            assert await client.is_closed()


async def test_who_ends_a_request_that_was_refused_keeps_its_connection(world) -> None:
    async with serving(EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics())) as served:
        client = await served.connect()
        for _ in range(3):
            request = post("x" * 1000, "/v1/apps")
            client.write(request[:-1])
            assert (await client.read())[0] == 401
            client.write(request[-1:])


async def test_who_is_too_many_is_turned_away_with_a_word() -> None:
    async with serving(Application(), http=partial(Listener, max_connections=2)) as served:
        first, second = await served.connect(), await served.connect()
        for client in (first, second):
            client.write(post("a"))
            assert (await client.read())[0] == 201
        third = await served.connect()
        status, headers, body = await third.read()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert "too many connections" in json.loads(body)["error"]
        assert await third.is_closed()
        first.writer.close()
        await until(lambda: len(served.server.server_state.connections) == 1)
        fourth = await served.connect()
        fourth.write(post("b"))
        assert (await fourth.read())[0] == 201


async def test_a_request_for_which_memory_is_short_may_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_body(_: HttpToolsProtocol, body: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(HttpToolsProtocol, "on_body", on_body)
    async with serving(Application()) as served:
        client = await served.connect()
        client.write(post("x" * 100, "/v1/tokens"))
        status, headers, body = await client.read()
        assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
        assert "memory" in json.loads(body)["error"]
        assert await client.is_closed()


async def test_a_request_is_not_given_up_while_the_server_makes_it_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "ARRIVAL_SECONDS", 0.005)
    app = Application(held={"POST /v1/tokens": asyncio.Event()})
    async with serving(app) as served:
        client = await served.connect()
        request = post("x" * 200_000, "/v1/tokens")
        client.write(request[:100_000])
        await until(lambda: bool(served.server.server_state.connections) and served.ordinary is not None)
        await until(lambda: served.ordinary.flow.read_paused)
        begun = served.ordinary._deadline
        await until(lambda: served.ordinary._deadline is not begun)
        monkeypatch.setattr(ordinary, "ARRIVAL_SECONDS", 30)
        app.held["POST /v1/tokens"].set()
        client.write(request[100_000:])
        assert await client.bodies(1) == ["POST /v1/tokens 200000"]


async def test_whoever_pipelines_without_end_is_not_read_on() -> None:
    first = "POST /v1/tokens 1"
    app = Application(held={first: asyncio.Event()})
    count = 20_000
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a", "/v1/tokens"), *[post("b" * 900, "/v1/tokens")] * count)
        await until(lambda: len(app.others) == 1 and served.ordinary.flow.read_paused)
        queued = len(served.ordinary.pipeline)
        assert 0 < queued < count
        app.held[first].set()
        for _ in range(200):
            await client.read()
            assert len(served.ordinary.pipeline) <= queued + 1000
        client.writer.transport.abort()


@pytest.mark.parametrize("is_declared", [True, False])
async def test_more_than_two_mebibytes_are_refused(world, is_declared: bool) -> None:
    endpoint = EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics())
    bearer = f"Authorization: Bearer {world.secrets['alice']}"
    async with serving(endpoint) as served:
        client = await served.connect()
        size = 2 * 1024 * 1024 + 1
        if is_declared:
            client.write(post("", EVENTS, bearer).replace(b"Length: 0", b"Length: %d" % size))
        else:
            head = post("", EVENTS, bearer).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            client.write(head, b"%x\r\n" % size, b"x" * size, b"\r\n0\r\n\r\n")
        assert (await client.read())[0] == 413


RELIED_ON = {
    "__init__": "c0420ad3043a",
    "connection_made": "8c1d055fd33a",
    "connection_lost": "25fdeb43f2df",
    "data_received": "e74b210e3c04",
    "send_400_response": "3057fb5eed9b",
    "on_message_begin": "c456bff183cd",
    "on_headers_complete": "8dfdf4fc3b4f",
    "on_message_complete": "87e5be1faf50",
    "on_response_complete": "bf257afb094e",
    "shutdown": "3fc90dd3d36a",
    "timeout_keep_alive_handler": "16ae57aa33cd",
    "FlowControl": "9e84e1d3268e",
    "ServerState": "f938d5827b92",
}


def test_uvicorn_is_inside_as_it_is_known() -> None:
    """When this fails: read what changed there, see that `ordinary.py` still fits, and note the new digest."""
    parts = {"FlowControl": FlowControl, "ServerState": ServerState} | vars(HttpToolsProtocol)
    found = {name: _digest(parts[name]) for name in RELIED_ON}
    changed = sorted(name for name in RELIED_ON if found[name] != RELIED_ON[name])
    assert not changed, f"uvicorn {uvicorn.__version__}: {found}"


def _digest(part: Any) -> str:
    """What a part does: comments and layout do not count."""
    code = re.sub(r"#.*|\s+", "", inspect.getsource(part))
    return hashlib.sha256(code.encode()).hexdigest()[:12]
