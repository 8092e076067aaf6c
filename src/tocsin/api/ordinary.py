"""uvicorn's HTTP protocol with the bounds it lacks: on a request's head, on its arrival, on what is pipelined.

It answers every request that is not a posted event of the plainest kind; `api.listener` stands before it.
"""

import asyncio
import sys
from typing import Any

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from tocsin.api.problems import answer
from tocsin.errors import Overloaded

MAX_HEAD_BYTES = 64 * 1024
ARRIVAL_SECONDS = 30.0
"""How long a request may take to come in: 2 MiB at 70 kB/s, and nobody holds a connection by dripping."""


class Ordinary(HttpToolsProtocol):
    """A connection for as long as it has something other than posted events to answer: while `is_busy`."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.rested_at = self.loop.time()
        self._unanswered = 0
        self._is_arriving = False
        self._is_in_head = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way or only begun: what comes next continues it or waits for it."""
        return self._is_arriving or self._unanswered > 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.connections.discard(self)  # the listener stands there for both

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
        """As uvicorn does, in the shape that clients read. Want of memory, too, ends a request here, and is ours."""
        error = sys.exc_info()[1]
        if error is not None and isinstance(error.__context__, MemoryError):
            refused = answer(Overloaded())
            self._end(
                refused.status_code, bytes(refused.body), (b"retry-after", refused.headers["retry-after"].encode())
            )
        else:
            self._end(400, msgspec.json.encode({"error": msg}))

    def _end(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Answer with JSON whatever was or was not read, and close the connection."""
        own = (
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        )
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *own, *headers)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: it is the listener that closes idle connections."""

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_arriving = self._is_in_head = True
        self._head_bytes = 0
        self._unanswered += 1

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_arriving = False
        self._forget_deadline()
        super().on_message_complete()
        self.rested_at = self.loop.time()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            # uvicorn reads on after every answer: a client that sends faster would fill the memory.
            self.flow.pause_reading()
        self.rested_at = self.loop.time()
