"""uvicorn's HTTP protocol with a short cut for posted events: no scope, no receive and send, one write.

Only what every ordinary client sends takes it. Whatever is unusual, in one header even, goes uvicorn's way, where
`api.events` answers it all the same; `tests/api/test_listener.py` tells what is relied on inside uvicorn.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

Answer = tuple[int, Sequence[tuple[bytes, bytes]], bytes]
"""Status, headers with lower-case names, body."""

SHORT_BODY_BYTES = 64 * 1024
"""Longer bodies go uvicorn's way, which reads them only when their sender is known."""

MAX_HEAD_BYTES = 64 * 1024
ARRIVAL_SECONDS = 30.0
"""How long a request may take to come in: 2 MiB at 70 kB/s, and nobody holds a connection by dripping."""

_ROUTE = re.compile(rb"/v1/apps/([A-Za-z0-9-]+)/events")


@runtime_checkable
class AnswersEvents(Protocol):
    """An ASGI application that also answers posted events without ASGI."""

    async def handle(self, ref: str, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        """Answer `POST /v1/apps/REF/events`; never raises."""
        ...


class _Exchange(RequestResponseCycle):
    """One posted event and its answer, to uvicorn's protocol a cycle like any other.

    It has only those of a cycle's parts that the protocol touches.
    """

    def __init__(
        self, ref: str, headers: Mapping[bytes, bytes], *, keep_alive: bool, message_event: asyncio.Event
    ) -> None:
        self.ref = ref
        self.request_headers = headers
        self.chunks: list[bytes] = []
        self.has_turn = False
        self.keep_alive = keep_alive
        self.message_event = message_event
        self.more_body = True
        self.disconnected = False
        self.response_complete = False


class Listener(HttpToolsProtocol):
    """One connection. The short cut is open when the application itself, not one around it, answers events."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._events = self.app if isinstance(self.app, AnswersEvents) else None
        self._unheard = asyncio.Event()  # uvicorn sets it to wake whoever waits for a body; here nobody does
        self._is_arriving = False
        self._is_in_head = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._is_in_head
        super().data_received(data)
        if self._is_arriving:
            self._expect_rest(len(data) if was_in_head and self._is_in_head else 0)

    def _expect_rest(self, head_bytes: int) -> None:
        self._head_bytes += head_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVAL_SECONDS, self._give_up_arrival)

    def _give_up_arrival(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is this side that makes it wait
            self._expect_rest(0)
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn does, in the shape that clients read."""
        body = msgspec.json.encode({"error": msg})
        own = (
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        )
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *own)]
        self.transport.write(b"".join((STATUS_LINE[400], *lines, b"\r\n", body)))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._is_arriving = self._is_in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        exchange = self._exchange()
        if exchange is None:
            self._go_ordinary_way()
            return
        is_busy = self.cycle is not None and not self.cycle.response_complete
        self.cycle = exchange
        if is_busy:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))
        else:
            exchange.has_turn = True

    def _exchange(self) -> _Exchange | None:
        """What has come so far as a request for the short cut; None when it must go uvicorn's way."""
        route = _ROUTE.fullmatch(self.url)
        parser = self.parser
        if route is None or self._events is None or parser.get_method() != b"POST":
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        # Seven digits: enough to be too long, and few enough to be read at no cost.
        if not length.isdigit() or len(length) > 7 or int(length) > SHORT_BODY_BYTES:
            return None
        is_plain = parser.get_http_version() == "1.1" and not (b"expect" in headers or b"upgrade" in headers)
        if not is_plain or self.limit_concurrency is not None:
            return None
        keep_alive = parser.should_keep_alive()
        return _Exchange(str(route[1], "ascii"), headers, keep_alive=keep_alive, message_event=self._unheard)

    def _go_ordinary_way(self) -> None:
        # Only now is a scope needed. uvicorn makes it with an empty list of headers, which the scope holds too.
        url, headers, expect_100_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect_100_continue
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, _Exchange):
            self.cycle.chunks.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_arriving = False
        self._forget_deadline()
        exchange = self.cycle
        if not isinstance(exchange, _Exchange):
            super().on_message_complete()
            return
        exchange.more_body = False
        if exchange.has_turn:
            self._start(exchange)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """The turn of a pipelined request has come, or of an ordinary one that waited for nothing."""
        if not isinstance(cycle, _Exchange):
            super()._start_asgi_task(cycle, app)
            return
        cycle.has_turn = True
        if not cycle.more_body:
            self._start(cycle)

    def _start(self, exchange: _Exchange) -> None:
        task = self.loop.create_task(self._answer(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, exchange: _Exchange) -> None:
        assert self._events is not None  # noqa: S101 - else there is no exchange
        is_answered = False
        try:
            chunks = exchange.chunks
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            answer = await self._events.handle(exchange.ref, exchange.request_headers, body)
            if self.flow.write_paused:
                await self.flow.drain()
            is_answered = True
        finally:
            if not is_answered:
                # Cancelled at the end of a shutdown's patience, or a bug that the loop reports.
                self.transport.close()
        self._write(exchange, *answer)

    def _write(self, exchange: _Exchange, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        exchange.response_complete = True
        if not self.transport.is_closing():
            lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
            if not exchange.keep_alive:
                lines.append(b"connection: close\r\n")
            self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
            if not exchange.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            # uvicorn reads on after every answer: a client that sends faster would fill the memory.
            self.flow.pause_reading()
