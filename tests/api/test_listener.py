"""The short cut of posted events, on real sockets and the server's loop, and what it relies on inside uvicorn."""

import asyncio
import hashlib
import inspect
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.line import straight_line
from tocsin.api import listener
from tocsin.api.events import EventsEndpoint
from tocsin.api.listener import AnswersEvents, Listener
from tocsin.metrics import Metrics

EVENTS = "/v1/apps/my-app/events"


@dataclass
class Application:
    """Answers events with their body and everything else with its method, path and body; can be held at any name."""

    answer_body: bytes | None = None
    events: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    async def handle(self, ref, headers, body):
        text = body.decode()
        self.events.append(text)
        self.headers = headers
        if text in self.held:
            await self.held[text].wait()
        if text == "bug":
            raise RuntimeError(text)
        shown = self.answer_body or b"event %b of %b" % (body, ref.encode())
        return 201, [(b"content-length", str(len(shown)).encode()), (b"x-request-id", b"r-1")], shown

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        shown = f"{scope['method']} {scope['path']} {len(body)}".encode()
        self.others.append(shown.decode())
        headers = [(b"content-length", str(len(shown)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": shown})


class Client:
    """One connection, written and read by the byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, *requests: bytes) -> None:
        self.writer.write(b"".join(requests))

    async def read(self) -> tuple[int, dict[str, str], str]:
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split(" ")[1]), headers, body.decode()

    async def bodies(self, count: int) -> list[str]:
        return [(await self.read())[2] for _ in range(count)]

    async def is_closed(self) -> bool:
        """Wait for the end, and say whether it came without another byte."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


@dataclass
class Served:
    server: uvicorn.Server
    port: int
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    @property
    def connection(self) -> Any:
        (connection,) = self.server.server_state.connections
        return connection


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[Served]:
    """A uvicorn server as `tocsin.server` sets it up, without its signals."""
    chosen = {"loop": "none", "http": Listener, "ws": "none", "lifespan": "off", "log_config": None}
    quiet = {"access_log": False, "server_header": False, "proxy_headers": False, "timeout_keep_alive": 60}
    config = uvicorn.Config(app, **(chosen | quiet | options))
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listening = socket.create_server(("127.0.0.1", 0))
    await server.startup([listening])
    await server.on_tick(0)  # makes the date
    served = Served(server, listening.getsockname()[1])
    try:
        yield served
    finally:
        for accepting in server.servers:
            accepting.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        for client in served.clients:
            client.writer.close()
        listening.close()
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def post(body: str, path: str = EVENTS, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: tocsin.example.com", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


GET = b"GET /v1/apps HTTP/1.1\r\nHost: tocsin.example.com\r\n\r\n"


async def test_a_posted_event_takes_the_short_cut() -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a", EVENTS, "Authorization: Bearer X"))
        status, headers, body = await client.read()
        assert (status, body) == (201, "event a of my-app")
        assert headers["x-request-id"] == "r-1"
        assert headers["date"].endswith("GMT")
        assert "connection" not in headers
        assert app.headers[b"authorization"] == b"Bearer X"
        assert not app.others
        assert served.server.server_state.total_requests == 1


async def test_the_whole_of_tocsin_takes_the_short_cut(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line:
        assert isinstance(line.running.api, AnswersEvents)


async def test_a_connection_carries_event_after_event() -> None:
    async with serving(Application()) as served:
        client = await served.connect()
        for name in "abc":
            client.write(post(name))
            assert (await client.read())[2] == f"event {name} of my-app"
        assert len(served.server.server_state.connections) == 1
        await until(lambda: not served.server.server_state.tasks)


async def test_pipelined_requests_of_every_kind_are_answered_in_order() -> None:
    app = Application(held={"a": asyncio.Event()})
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), GET, post("b"), post("c"), post("12345", "/v1/tokens"), GET, post("d"))
        await until(lambda: app.events == ["a"])
        assert not app.others
        app.held["a"].set()
        shown = await client.bodies(7)
    assert shown[0] == "event a of my-app"
    assert shown[1] == "GET /v1/apps 0"
    assert shown[2:4] == ["event b of my-app", "event c of my-app"]
    assert shown[4:] == ["POST /v1/tokens 5", "GET /v1/apps 0", "event d of my-app"]


async def test_a_pipelined_event_whose_body_is_late_waits_for_both() -> None:
    app = Application(held={"a": asyncio.Event()})
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), post("late")[:-2])
        await until(lambda: app.events == ["a"])
        app.held["a"].set()
        assert await client.bodies(1) == ["event a of my-app"]
        assert app.events == ["a"]
        client.write(b"te")
        assert await client.bodies(1) == ["event late of my-app"]


async def test_a_body_in_pieces_is_put_together() -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        request = post("pieces")
        client.write(request[:30])
        await until(lambda: bool(served.server.server_state.connections) and served.connection._is_in_head)
        client.write(request[30:-5])
        await until(lambda: not served.connection._is_in_head)
        client.write(request[-5:])
        assert (await client.read())[2] == "event pieces of my-app"
        assert app.events == ["pieces"]


async def test_a_client_that_asks_for_it_is_disconnected_after_the_answer() -> None:
    async with serving(Application()) as served:
        client = await served.connect()
        client.write(post("a", EVENTS, "Connection: close"))
        status, headers, _ = await client.read()
        assert (status, headers["connection"]) == (201, "close")
        assert await client.is_closed()


@pytest.mark.parametrize(
    ("request_bytes", "shown"),
    [
        (post("a", version="1.0"), f"POST {EVENTS} 1"),
        (post("a", EVENTS + "?x=1"), f"POST {EVENTS} 1"),
        (post("a", "/" + EVENTS), f"POST /{EVENTS} 1"),
        (post("a", EVENTS + "/"), f"POST {EVENTS}/ 1"),
        (post("a", "/v1/apps/a%2Fb/events"), "POST /v1/apps/a/b/events 1"),
        (post("a", "/v1/apps/a/b/events"), "POST /v1/apps/a/b/events 1"),
        (post("a" * 70_000), f"POST {EVENTS} 70000"),
        (post("a").replace(b"POST", b"PUT"), f"PUT {EVENTS} 1"),
        (post("a", EVENTS, "X: 1").replace(b"Content-Length: 1\r\n", b"")[:-1], f"POST {EVENTS} 0"),
        (
            post("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").replace(b"Content-Length: 20", b"Transfer-Encoding: chunked"),
            f"POST {EVENTS} 5",
        ),
    ],
)
async def test_what_is_unusual_goes_the_ordinary_way(request_bytes: bytes, shown: str) -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(request_bytes)
        status, headers, body = await client.read()
        assert (status, body, app.events) == (200, shown, [])
        assert headers.get("connection") == ("close" if b"HTTP/1.0" in request_bytes else None)


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    async with serving(Application()) as served:
        client = await served.connect()
        client.write(post("a", EVENTS, "Expect: 100-continue")[:-1])
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.write(b"a")
        assert (await client.read())[2] == f"POST {EVENTS} 1"


async def test_an_application_around_the_endpoint_is_not_passed_by() -> None:
    app = Application()

    async def around(scope, receive, send):
        await app(scope, receive, send)

    async with serving(around) as served:
        client = await served.connect()
        client.write(post("a"))
        assert (await client.read())[2] == f"POST {EVENTS} 1"


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
        await until(lambda: bool(served.server.server_state.connections) and served.connection._is_in_head)
        client.write(b"x" * (listener.MAX_HEAD_BYTES + 1))
        status, headers, body = await client.read()
        assert (status, headers["connection"]) == (400, "close")
        assert json.loads(body) == {"error": "The request's head is too large."}


@pytest.mark.parametrize("part", [post("slow")[:40], post("slow")[:-1], GET[:-2], post("abc", "/v1/tokens")[:-1]])
async def test_a_request_that_drips_is_given_up(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "ARRIVAL_SECONDS", 0.02)
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(part)
        assert await client.is_closed()
        await until(lambda: not served.server.server_state.connections)
        assert not app.events + app.others


async def test_a_request_is_not_given_up_while_the_server_makes_it_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "ARRIVAL_SECONDS", 0.005)
    app = Application(held={"a": asyncio.Event()})
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), post("late")[:-2])
        await until(lambda: served.server.server_state.connections != set() and served.connection._deadline is not None)
        first = served.connection._deadline
        await until(lambda: served.connection._deadline is not first)  # it has come, and another begun
        monkeypatch.setattr(listener, "ARRIVAL_SECONDS", 30)
        client.write(b"te")
        app.held["a"].set()
        assert await client.bodies(1) == ["event a of my-app"]


@pytest.mark.parametrize("before", [b"", post("a"), GET])
async def test_an_idle_connection_is_closed(before: bytes) -> None:
    async with serving(Application(), timeout_keep_alive=0.1) as served:
        client = await served.connect()
        client.write(before)
        if before:
            await client.read()
        assert await client.is_closed()


async def test_whoever_pipelines_without_end_is_not_read_on() -> None:
    app = Application(held={"a": asyncio.Event()})
    count = 20_000  # more than the sockets' buffers hold
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), *[post("b" * 900)] * count)
        await until(lambda: len(app.events) == 1 and served.connection.flow.read_paused)
        queued = len(served.connection.pipeline)
        assert 0 < queued < count
        app.held["a"].set()
        for _ in range(200):
            await client.read()
            assert len(served.connection.pipeline) <= queued + 1000
        client.writer.transport.abort()


async def test_whoever_does_not_read_its_answers_gets_no_more_of_them() -> None:
    app = Application(answer_body=b"x" * 1_000_000)
    async with serving(app) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()
        client.write(*[post("a")] * 50)
        await until(lambda: bool(served.server.server_state.connections) and served.connection.flow.write_paused)
        await until(lambda: len(served.connection.pipeline) + len(app.events) == 50)
        assert len(app.events) < 50
        client.writer.transport.resume_reading()
        assert await client.bodies(50) == ["x" * 1_000_000] * 50


async def test_a_client_that_leaves_in_its_body_has_posted_nothing() -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("gone")[:-1])
        await until(lambda: bool(served.server.server_state.connections) and served.connection._is_arriving)
        client.writer.transport.abort()
        await until(lambda: not served.server.server_state.connections)
        assert not app.events


async def test_a_client_that_leaves_before_its_answer_disturbs_nobody() -> None:
    app = Application(held={"a": asyncio.Event()})
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"))
        await until(lambda: app.events == ["a"])
        client.writer.transport.abort()
        state = served.server.server_state
        await until(lambda: not state.connections)
        assert len(state.tasks) == 1
        app.held["a"].set()
        await until(lambda: not state.tasks)
        assert app.events == ["a"]
        another = await served.connect()
        another.write(post("c"))
        assert (await another.read())[0] == 201


async def test_a_bug_closes_the_connection() -> None:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    async with serving(Application()) as served:
        client = await served.connect()
        client.write(post("bug"))
        assert await client.is_closed()
        await until(lambda: not served.server.server_state.tasks and bool(seen))
    assert isinstance(seen[0]["exception"], RuntimeError)


async def test_a_shutdown_lets_events_under_way_be_answered() -> None:
    app = Application(held={"a": asyncio.Event()})
    async with serving(app) as served:
        idle, client, dripping = [await served.connect() for _ in range(3)]
        idle.write(post("b"))
        await idle.read()
        client.write(post("a"))
        dripping.write(post("drip")[:-1])
        await until(lambda: "a" in app.events and len(served.server.server_state.connections) == 3)
        shutdown = asyncio.create_task(served.server.shutdown())
        assert await idle.is_closed()
        assert not shutdown.done()
        dripping.write(b"p")
        assert (await dripping.read())[1]["connection"] == "close"
        app.held["a"].set()
        status, headers, body = await client.read()
        assert (status, headers["connection"], body) == (201, "close", "event a of my-app")
        await shutdown
        assert not served.server.server_state.connections


async def test_a_shutdown_ends_when_its_patience_does() -> None:
    app = Application(held={"a": asyncio.Event()})
    async with serving(app, timeout_graceful_shutdown=0) as served:
        client = await served.connect()
        client.write(post("a"))
        await until(lambda: app.events == ["a"])
        await served.server.shutdown()
        assert await client.is_closed()


SAME_EITHER_WAY = [
    (201, '{"event": {"type": "restart", "type_data": {}}}', ["Idempotency-Key: k-1"]),
    (201, '{"events": [{"type": "restart", "type_data": {}}]}', ["X-Request-Id: deploy-42"]),
    (400, "{", []),
    (422, '{"event": {"type": "", "type_data": {}}}', []),
    (409, '{"event": {"type": "stop", "type_data": {}}}', ["Idempotency-Key: k-1"]),
]


async def test_answers_are_the_same_on_either_way(world) -> None:
    endpoint = EventsEndpoint(world.api, verbs=world.verbs, metrics=Metrics())
    bearer = f"Authorization: Bearer {world.secrets['alice']}"
    requests = [(status, body, [bearer, *headers], EVENTS) for status, body, headers in SAME_EITHER_WAY]
    requests += [(401, "{}", [], EVENTS), (404, "{}", [bearer], "/v1/apps/nobodys/events")]
    async with serving(endpoint) as served:
        client = await served.connect()
        client.write(post(SAME_EITHER_WAY[0][1], EVENTS, bearer, "Idempotency-Key: k-1"))
        assert (await client.read())[0] == 201
        for status, body, headers, path in requests:
            client.write(post(body, path, *headers), post(body, "/" + path, *headers))
            short, ordinary = [
                (found[0], _without_ids(found[1])) for found in (await client.read(), await client.read())
            ]
            assert short == ordinary
            assert short[0] == status
            assert ("idempotent-replayed" in short[1]) == (
                headers[-1].endswith("k-1") and status == 201 if headers else False
            )
            assert ("www-authenticate" in short[1]) == (status == 401)


def _without_ids(headers: dict[str, str]) -> dict[str, str]:
    given = headers["x-request-id"]
    return headers | {"x-request-id": given if given == "deploy-42" else str(len(given))}


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
    "_unset_keepalive_if_required": "df160182c46a",
    "send_400_response": "3057fb5eed9b",
    "on_message_begin": "c456bff183cd",
    "on_url": "5ffd0eec34d7",
    "on_header": "b89cbbc6db2a",
    "on_headers_complete": "8dfdf4fc3b4f",
    "on_body": "a02fa52bdf33",
    "on_message_complete": "87e5be1faf50",
    "_start_asgi_task": "c8c773c7e2d0",
    "on_response_complete": "bf257afb094e",
    "shutdown": "3fc90dd3d36a",
    "timeout_keep_alive_handler": "16ae57aa33cd",
    "FlowControl": "9e84e1d3268e",
    "ServerState": "f938d5827b92",
}


def test_uvicorn_is_inside_as_the_listener_knows_it() -> None:
    """When this fails: read what changed there, see that `listener.py` still fits, and note the new digest."""
    parts = {"FlowControl": FlowControl, "ServerState": ServerState} | vars(HttpToolsProtocol)
    found = {name: _digest(parts[name]) for name in RELIED_ON}
    changed = sorted(name for name in RELIED_ON if found[name] != RELIED_ON[name])
    assert not changed, f"uvicorn {uvicorn.__version__}: {found}"


def _digest(part: Any) -> str:
    """What a part does: comments and layout do not count."""
    code = re.sub(r"#.*|\s+", "", inspect.getsource(part))
    return hashlib.sha256(code.encode()).hexdigest()[:12]
