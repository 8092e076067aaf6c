"""uvicorn's HTTP protocol with the bounds it lacks: on a request's head, on its arrival, on what is pipelined.

It answers every request that is not a posted event of the plainest kind; `api.listener` stands before it.
"""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from tocsin.api.problems import answer
from tocsin.errors import Overloaded, RequestError, TocsinError

MAX_HEAD_BYTES = 64 * 1024
ARRIVAL_SECONDS = 30.0
"""How long a request may take to come in: 2 MiB at 70 kB/s, and nobody holds a connection by dripping."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 4 * 1024 * 1024
"""What is still read of a request that was refused while it came in: whoever sends it may look for an answer late."""


def refusal(error: TocsinError) -> tuple[int, list[bytes], bytes]:
    """Status, header lines and body of the answer to what no route sees."""
    refused = answer(error)
    return refused.status_code, [b"%b: %b\r\n" % header for header in refused.raw_headers], bytes(refused.body)


class Ordinary(HttpToolsProtocol):
    """A connection for as long as it has something other than posted events to answer: while `is_busy`."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.rested_at = self.loop.time()
        self._unanswered = 0
        self._is_arriving = False
        self._is_in_head = False
        self._is_lingering = False
        self._unwanted_bytes = 0
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
        if self._is_lingering:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > LINGER_BYTES:
                self.transport.close()
                return
        super().data_received(data)
        if self._is_arriving:
            self._expect_rest(len(data) if was_in_head and self._is_in_head else 0)

    def _expect_rest(self, head_bytes: int) -> None:
        self._head_bytes += head_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(ARRIVAL_SECONDS, self._give_up_arrival)

    def _linger(self) -> None:
        """Its request was answered before it was there: let the client read that before the connection ends."""
        self._is_lingering = True
        self._unwanted_bytes = 0
        self._forget_deadline()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

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
            self._end(*refusal(Overloaded()))
        else:
            self._end(*refusal(RequestError(msg)))

    def _end(self, status: int, lines: Iterable[bytes], body: bytes) -> None:
        """Answer whatever was or was not read, and close the connection."""
        date = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self.transport.write(b"".join((STATUS_LINE[status], *date, *lines, b"connection: close\r\n\r\n", body)))
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
        self._is_arriving = self._is_lingering = False
        self._forget_deadline()
        super().on_message_complete()
        self.rested_at = self.loop.time()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self._is_arriving and not self._unanswered and not self.transport.is_closing():
            self._linger()
        if self.pipeline and not self.transport.is_closing():
            # uvicorn reads on after every answer: a client that sends faster would fill the memory.
            self.flow.pause_reading()
        self.rested_at = self.loop.time()
