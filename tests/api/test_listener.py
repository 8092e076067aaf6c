"""The short cut of posted events, on real sockets and the server's loop."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api.listening import EVENTS, GET, Application, post, serving, until
from tests.line import straight_line
from tocsin.api import ordinary
from tocsin.api.events import EventsEndpoint
from tocsin.api.listener import AnswersEvents
from tocsin.metrics import Metrics


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
    assert shown[2:4] == [f"POST {EVENTS} 1"] * 2
    assert shown[4:] == ["POST /v1/tokens 5", "GET /v1/apps 0", f"POST {EVENTS} 1"]


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
        client.write(request[:-5])
        await until(lambda: bool(served.server.server_state.connections) and served.connection._unread != b"")
        client.write(request[-5:-2])
        await until(lambda: served.connection._unread == request[:-2])
        client.write(request[-2:])
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


@pytest.mark.parametrize("part", [post("slow")[:40], post("slow")[:-1], GET[:-2], post("abc", "/v1/tokens")[:-1]])
async def test_a_request_that_drips_is_given_up(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "ARRIVAL_SECONDS", 0.02)
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(part)
        assert await client.is_closed()
        await until(lambda: not served.server.server_state.connections)
        assert not app.events + app.others


async def test_an_event_is_not_given_up_while_the_server_makes_it_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordinary, "ARRIVAL_SECONDS", 0.005)
    app = Application(held={"a": asyncio.Event()})
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), post("late")[:-2])
        await until(lambda: app.events == ["a"])
        is_past = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, is_past.set)
        await is_past.wait()
        monkeypatch.setattr(ordinary, "ARRIVAL_SECONDS", 30)
        app.held["a"].set()
        assert await client.bodies(1) == ["event a of my-app"]
        client.write(b"te")
        assert await client.bodies(1) == ["event late of my-app"]


async def test_an_event_after_another_request_takes_the_short_cut_again() -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        upgrade = GET.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        for other in (GET, post("abc", "/v1/tokens"), upgrade):
            client.write(other)
            assert (await client.read())[0] == 200
            client.write(post("a"))
            assert (await client.read())[2] == "event a of my-app"
        assert len(app.others) == 3


async def test_an_event_whose_head_comes_in_pieces_goes_the_ordinary_way() -> None:
    async with serving(Application()) as served:
        client = await served.connect()
        client.write(post("a")[:30])
        await until(lambda: bool(served.server.server_state.connections) and served.ordinary is not None)
        client.write(post("a")[30:])
        assert (await client.read())[2] == f"POST {EVENTS} 1"
        client.write(post("b"))
        assert (await client.read())[2] == "event b of my-app"


async def test_an_event_that_needs_a_look_at_the_database_is_answered_in_its_turn() -> None:
    app = Application(is_forgetful=True)
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), post("b"))
        assert await client.bodies(2) == ["event a of my-app", "event b of my-app"]
        assert not app.others


@pytest.mark.parametrize("before", [b"", post("a"), GET])
async def test_an_idle_connection_is_closed(before: bytes) -> None:
    async with serving(Application(), timeout_keep_alive=0.1) as served:
        client = await served.connect()
        client.write(before)
        if before:
            await client.read()
        assert await client.is_closed()


async def test_whoever_pipelines_events_without_end_is_not_read_on() -> None:
    app = Application(held={"a": asyncio.Event()})
    count, event = 20_000, post("b" * 900)  # more than the sockets' buffers hold
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("a"), *[event] * count)
        await until(lambda: len(app.events) == 1 and served.connection._is_read_paused)
        queued = len(served.connection._unread)
        assert 0 < queued < count * len(event)
        app.held["a"].set()
        for _ in range(2000):
            await client.read()
            assert len(served.connection._unread) <= queued + 1_000_000
        client.writer.transport.abort()


async def test_whoever_does_not_read_its_answers_gets_no_more_of_them() -> None:
    app = Application(answer_body=b"x" * 1_000_000)
    async with serving(app) as served:
        client = await served.connect()
        client.writer.transport.pause_reading()
        client.write(*[post("a")] * 50)
        await until(lambda: bool(served.server.server_state.connections) and served.connection._is_write_paused)
        assert len(app.events) < 50
        client.writer.transport.resume_reading()
        assert await client.bodies(50) == ["x" * 1_000_000] * 50


async def test_a_client_that_leaves_in_its_body_has_posted_nothing() -> None:
    app = Application()
    async with serving(app) as served:
        client = await served.connect()
        client.write(post("gone")[:-1])
        await until(lambda: bool(served.server.server_state.connections) and served.connection._unread != b"")
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
    async with serving(Application(is_forgetful=True)) as served:
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
    shown = {"x-request-id": given if given == "deploy-42" else str(len(given))}
    left = {"ratelimit": headers["ratelimit"].partition(";")[0]} if "ratelimit" in headers else {}
    return headers | shown | left
