"""One connection: plain posted events are answered here, by callbacks alone; whatever else comes is uvicorn's.

Plain is what every ordinary client sends, and what can be read in one way only: a narrow grammar says so, over a whole
head at once. Measured, that costs as much as a parser with its callbacks, and tells where a request ends, so that what
is not plain goes on byte by byte as it came (`api.ordinary`), there to be read by the rules or refused.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from tocsin.api import ordinary
from tocsin.api.ordinary import Ordinary
from tocsin.errors import Overloaded

Answer = tuple[int, bytes, bytes]
"""Status, the lines of its headers (with lower-case names, each with its CRLF), body."""

PLAIN_BODY_BYTES = 64 * 1024
"""Longer bodies go uvicorn's way, which reads them only when their sender is known."""

MAX_CONNECTIONS = 4096
"""Clients that are connected at once: each may make the process hold 64 KiB, and some kilobytes for itself."""

PLAIN_HEAD_BYTES = 8 * 1024
"""Longer heads, too: uvicorn's way has their bound."""

# No list that is folded, no space before a colon, no lone CR or LF: nothing that another reader could see otherwise.
_HEAD = re.compile(
    rb"POST /v1/apps/([A-Za-z0-9-]++)/events HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]++: [\x21-\x7e][\x20-\x7e]*+(?<! )\r\n)++)\r\n"
)
_NEGOTIATED = frozenset((b"transfer-encoding", b"expect", b"upgrade"))
_KEPT_ALIVE = {b"keep-alive": True, b"close": False}


@runtime_checkable
class AnswersEvents(Protocol):
    """An ASGI application that also answers posted events without ASGI."""

    def begin(self, ref: str, headers: Mapping[bytes, bytes], body: bytes, answer: Callable[[Answer], None]) -> bool:
        """Begin to answer `POST /v1/apps/REF/events`; False when that takes `handle`. Never raises.

        `answer` is told once, and never before this returns.
        """
        ...

    async def handle(self, ref: str, headers: Mapping[bytes, bytes], body: bytes, peer: str) -> Answer:
        """Answer `POST /v1/apps/REF/events` to whoever is connected from the address `peer`; never raises."""
        ...


class _Head(msgspec.Struct, frozen=True, gc=False):
    """The head of a plain request, with where its body starts and ends."""

    ref: str
    headers: Mapping[bytes, bytes]
    start: int
    end: int
    is_kept_alive: bool


def _read_head(data: bytes) -> _Head | None:
    """None for whatever is not plain."""
    match = _HEAD.match(data)
    if match is None:
        return None
    lines = match[2].split(b"\r\n")
    lines.pop()
    headers = {}
    for line in lines:
        name, _, value = line.partition(b": ")
        headers[name.lower()] = value
    length = headers.get(b"content-length", b"")
    # Seven digits: enough to be too long, and few enough to be read at no cost.
    if not length.isdigit() or len(length) > 7 or int(length) > PLAIN_BODY_BYTES or len(headers) < len(lines):
        return None
    is_kept_alive = _KEPT_ALIVE.get(headers.get(b"connection", b"keep-alive").lower())
    if is_kept_alive is None or not _NEGOTIATED.isdisjoint(headers):
        return None
    start = match.end()
    if start > PLAIN_HEAD_BYTES:
        return None
    return _Head(str(match[1], "ascii"), headers, start, start + int(length), is_kept_alive)


class _Turn:
    """A request that waits for its answer. It stands among uvicorn's tasks, which a stop waits for, or cancels."""

    __slots__ = ("_is_kept_alive", "_listener", "task")

    def __init__(self, listener: "Listener", *, is_kept_alive: bool) -> None:
        self._listener = listener
        self._is_kept_alive = is_kept_alive
        self.task: asyncio.Task[Answer] | None = None

    def answer(self, answer: Answer) -> None:
        self._listener.answer(self, answer, is_kept_alive=self._is_kept_alive)

    def take(self, task: asyncio.Task[Answer]) -> None:
        if task.cancelled() or task.exception() is not None:
            self.cancel()
        if not task.cancelled():
            self.answer(task.result())  # or raise a bug, for the loop to report

    def cancel(self, msg: str = "") -> None:  # noqa: ARG002 - as tasks have it
        if self.task is not None:
            self.task.cancel()
        self._listener.give_up(self)


class Listener(asyncio.Protocol):
    """One request at a time; what comes meanwhile waits, and more than that is not read.

    Plain events are answered here when the application itself, not one around it, answers events.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._max_connections = max_connections
        self._loop = _loop or asyncio.get_running_loop()
        self._state = server_state
        self._make_ordinary = partial(Ordinary, config, server_state, app_state)
        self._keep_alive_seconds = config.timeout_keep_alive
        app = config.loaded_app
        self._events = app if isinstance(app, AnswersEvents) and config.limit_concurrency is None else None
        self._ordinary: Ordinary | None = None
        self._unread = b""
        self._awaited: _Head | None = None
        self._under_way: _Turn | None = None
        self._is_stopping = False
        self._is_write_paused = False
        self._is_read_paused = False
        self._rested_at = self._loop.time()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn calls nothing of it but `shutdown`
        self._idleness = self._loop.call_later(self._keep_alive_seconds, self._look)
        if len(self._state.connections) > self._max_connections:
            status, lines, body = ordinary.refusal(Overloaded("too many connections; try again in a moment"))
            self._write((status, b"".join(lines), body), is_kept_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._idleness.cancel()
        self._forget_deadline()
        self._unread = b""
        if self._ordinary is not None:
            self._ordinary.connection_lost(exc)

    def shutdown(self) -> None:
        """Close when nothing is under way, else after its answer; uvicorn calls this at the start of its shutdown."""
        self._is_stopping = True
        if self._ordinary is not None and self._ordinary.is_busy:
            self._ordinary.shutdown()
        elif self._under_way is None and not self._unread:
            self.transport.close()

    def _look(self) -> None:
        """Close the connection when it was idle for long. One timer looks now and then; no request sets another."""
        now = self._loop.time()
        rested_at = self._rested_at
        if self._ordinary is not None:
            rested_at = now if self._ordinary.is_busy else max(rested_at, self._ordinary.rested_at)
        if self._under_way is not None or self._unread:
            rested_at = now
        rest_seconds = rested_at + self._keep_alive_seconds - now
        if rest_seconds > 0:
            self._idleness = self._loop.call_later(rest_seconds, self._look)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._ordinary is not None and self._ordinary.is_busy:
            self._ordinary.data_received(data)
            return
        self._unread = self._unread + data if self._unread else data
        if self._under_way is None and not self._is_write_paused:
            self._read()
        elif not self._is_read_paused:
            self._is_read_paused = True
            self.transport.pause_reading()

    def _read(self) -> None:
        """Begin with the next request of what has come."""
        data = self._unread
        head = self._awaited
        if head is None and self._events is not None:
            head = _read_head(data)
        if head is None:
            self._hand_over()
        elif head.end > len(data):
            self._awaited = head  # read once, in however many pieces its body comes
            self._expect_rest()
        else:
            self._awaited = None
            self._forget_deadline()
            self._unread = data[head.end :]
            self._begin(head, data[head.start : head.end])

    def _hand_over(self) -> None:
        self._resume_reading()  # from here on it is uvicorn that pauses it
        if self._ordinary is None:
            self._ordinary = self._make_ordinary()
            self._ordinary.connection_made(self.transport)
        data, self._unread = self._unread, b""
        self._ordinary.data_received(data)

    def _expect_rest(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(ordinary.ARRIVAL_SECONDS, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _begin(self, head: _Head, body: bytes) -> None:
        assert self._events is not None  # noqa: S101 - else no head is read
        turn = self._under_way = _Turn(self, is_kept_alive=head.is_kept_alive)
        self._state.tasks.add(turn)  # type: ignore[arg-type]  # uvicorn waits for the last of them, or cancels it
        if not self._events.begin(head.ref, head.headers, body, turn.answer):
            handling = self._events.handle(head.ref, head.headers, body, self._peer())
            turn.task = self._loop.create_task(handling)
            turn.task.add_done_callback(turn.take)

    def _peer(self) -> str:
        name = self.transport.get_extra_info("peername")
        return name[0] if isinstance(name, tuple | list) and name else ""

    def answer(self, turn: _Turn, answer: Answer, *, is_kept_alive: bool) -> None:
        """Write the answer to the request under way, and go on with the next; nothing for one that was given up."""
        if self._under_way is not turn:
            return
        self._state.tasks.discard(turn)
        self._under_way = None
        self._write(answer, is_kept_alive=is_kept_alive and not self._is_stopping)
        self._rested_at = self._loop.time()
        self._read_on()

    def give_up(self, turn: _Turn) -> None:
        """Close without an answer: a stop takes too long, or there is a bug."""
        self._loop.call_soon(self._state.tasks.discard, turn)  # uvicorn is going through them
        if self._under_way is turn:
            self._under_way = None
            self.transport.close()

    def _write(self, answer: Answer, *, is_kept_alive: bool) -> None:
        status, lines, body = answer
        transport = self.transport
        if transport.is_closing():
            return
        date = [b"%b: %b\r\n" % header for header in self._state.default_headers]
        end = b"\r\n" if is_kept_alive else b"connection: close\r\n\r\n"
        transport.write(b"".join((STATUS_LINE[status], *date, lines, end, body)))
        if not is_kept_alive:
            transport.close()

    def _read_on(self) -> None:
        if self._under_way is not None or self._is_write_paused or self.transport.is_closing():
            return
        if self._unread:
            self._read()
        if self._under_way is None:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._is_read_paused:
            self._is_read_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Whoever does not read its answers gets no more of them."""
        self._is_write_paused = True
        if self._ordinary is not None:
            self._ordinary.pause_writing()

    def resume_writing(self) -> None:
        self._is_write_paused = False
        if self._ordinary is not None:
            self._ordinary.resume_writing()
        self._read_on()
