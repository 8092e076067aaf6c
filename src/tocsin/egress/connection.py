"""One HTTP/1.1 connection: writes a request, reads one answer within the caps, and knows whether it can be used again.

It opens nothing and decides nothing about addresses; `dial.py` hands it a checked, connected socket.
"""

import asyncio
import socket
from collections.abc import Callable
from math import inf
from typing import cast

import httptools

from tocsin.errors import PlatformError, TemporaryFailure
from tocsin.model import Reason, Response

MAX_HEAD_BYTES = 32 * 1024
MAX_HEAD_LINES = 100
MAX_BODY_BYTES = 64 * 1024
# Everything received for one answer: chunks of a single byte cost six, and chunk extensions are read and forgotten.
MAX_RAW_BYTES = 1024 * 1024
WRITE_BYTES = 64 * 1024

Ended = Callable[[Response | PlatformError], None]
"""Gets the answer to a request, or why there is none: once."""


class _Stop(Exception):
    """Ends the parser's run over what was received; no error in itself."""


class Connection(asyncio.Protocol):
    __slots__ = (
        "_body",
        "_body_size",
        "_can_write",
        "_head_bytes",
        "_head_lines",
        "_headers",
        "_is_complete",
        "_is_head_complete",
        "_is_head_request",
        "_is_reused",
        "_is_whole",
        "_keeps_alive",
        "_loop",
        "_on_end",
        "_on_free",
        "_on_lost",
        "_outcome",
        "_parser",
        "_raw_bytes",
        "_socket",
        "_status",
        "_transport",
        "due_at_seconds",
        "idle_since_seconds",
        "is_open",
        "key",
        "was_dropped",
    )

    def __init__(
        self,
        *,
        key: object,
        opened_socket: socket.socket,
        on_free: Callable[["Connection"], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        """`on_free` is told when a request has ended, `on_lost` when the connection has."""
        self.key = key
        self.is_open = False
        self.was_dropped = False
        self.due_at_seconds = inf
        self.idle_since_seconds = 0.0
        self._socket = opened_socket
        self._on_free = on_free
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        # What hand-written receivers get wrong and cannot be misread: folded lines, which a client has to accept
        # (RFC 9112 5.2), odd characters in values, bare line feeds, spaces after a chunk's size.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._transport: asyncio.Transport
        self._on_end: Ended | None = None
        self._outcome: Response | PlatformError | None = None
        self._can_write: asyncio.Future[None] | None = None
        self._status = 0
        self._head_bytes = 0
        self._head_lines = 0
        self._raw_bytes = 0
        self._body_size = 0
        self._is_head_complete = False
        self._is_complete = False
        self._is_head_request = False
        self._is_reused = False
        self._is_whole = False
        self._keeps_alive = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    # What egress calls

    def send(
        self,
        data: bytes,
        on_end: Ended,
        *,
        due_at_seconds: float = inf,
        is_head_request: bool = False,
        is_whole: bool = True,
    ) -> None:
        """Write a request, or its first part. `on_end` gets the answer, never before this returns.

        `due_at_seconds` is for whoever calls `expire`.
        """
        self.due_at_seconds = due_at_seconds
        self._is_reused = self._is_complete
        self._is_head_request = is_head_request
        self._is_whole = is_whole
        self._is_head_complete = self._is_complete = self._keeps_alive = False
        self._status = self._head_bytes = self._head_lines = self._raw_bytes = self._body_size = 0
        self._headers = []
        self._body = []
        self._outcome = None
        self._on_end = on_end
        self._transport.write(data)

    async def send_more(self, data: bytes | memoryview, *, is_last: bool) -> bool:
        """Write more of a request's body, at the receiver's pace; False once the answer is there already."""
        if self._on_end is None or not self.is_open:
            return False
        self._transport.write(data)
        self._is_whole = is_last
        if self._can_write is not None:
            await self._can_write
        return self._on_end is not None

    @property
    def is_reusable(self) -> bool:
        """Whether both sides have said all they had to, and neither has closed."""
        return (
            self.is_open
            and self._keeps_alive
            and self._is_complete
            and self._is_whole
            and not self._transport.get_write_buffer_size()
        )

    def is_still_quiet(self) -> bool:
        """Ask the kernel whether an idle connection was closed, or written to, since the loop last looked."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def expire(self, timeout_seconds: float) -> None:
        self._fail(Reason.TIMEOUT, f"the host gave no complete answer within {timeout_seconds:g} s")
        self._report()

    def close(self, why: str) -> None:
        self._fail(Reason.UNREACHABLE, why)
        self._report()

    def partial_answer(self) -> Response | None:
        """What of an answer is there, once its head is."""
        return self._answer() if self._is_head_complete else None

    def cancel(self, on_end: Ended) -> None:
        """Nobody waits for the answer any more. Changes nothing once `on_end` was told: others may use this then."""
        if self._on_end is on_end:
            self._on_end = None
            self.due_at_seconds = inf
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever is still to be written or read."""
        self.is_open = False
        self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._on_end is None:  # nothing was asked: whatever this answers, it is no request of ours
            self.abort()
            return
        self._raw_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keeps_alive = False
            if self._outcome is None:
                self._fail(Reason.BAD_RESPONSE, f"the answer is not valid HTTP: {error}")
        if self._outcome is None:
            if not self._is_head_complete and self._raw_bytes > MAX_HEAD_BYTES:
                self._fail_head()
            elif self._raw_bytes > MAX_RAW_BYTES:
                self._cut()
        if self._outcome is not None:
            # Not from within the parser: whoever is told may write the next request at once.
            self._report()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(is_reset=exc is not None)
        self.resume_writing()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._can_write = self._loop.create_future()

    def resume_writing(self) -> None:
        can_write, self._can_write = self._can_write, None
        if can_write is not None and not can_write.done():
            can_write.set_result(None)

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._is_complete:  # bytes after the answer
            self._keeps_alive = False
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        self._head_lines += 1
        if not self._is_head_complete:
            self._headers.append((name, value.replace(b"\0", b" ")))  # RFC 9110 5.5
        if self._head_bytes > MAX_HEAD_BYTES or self._head_lines > MAX_HEAD_LINES:
            if self._is_head_complete:  # endless trailers: the status is known
                self._cut()
            else:
                self._fail_head()
            raise _Stop

    def on_headers_complete(self) -> None:
        status = self._status = self._parser.get_status_code()
        if status < 200:
            self._headers = []  # of an interim answer; its size counts on
            return
        self._is_head_complete = True
        self._keeps_alive = self._parser.should_keep_alive()
        if self._is_head_request:
            self._keeps_alive = False  # the parser expects the body that the headers speak of
            self._complete()
            raise _Stop

    def on_body(self, data: bytes) -> None:
        room = MAX_BODY_BYTES - self._body_size
        if len(data) > room:
            self._body.append(data[:room])
            self._cut()
            raise _Stop
        self._body_size += len(data)
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._complete()
        elif self._status <= 101 and self._status != 100:
            self._fail(Reason.BAD_RESPONSE, "the answer has a status that nothing asked for")
            raise _Stop

    # How an answer ends

    def _answer(self) -> Response:
        headers = tuple(
            [(name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in self._headers]
        )
        return Response(status=self._status, headers=headers, body=b"".join(self._body))

    def _complete(self) -> None:
        self._is_complete = True
        if self._outcome is None:
            self._outcome = self._answer()
        if self._can_write is not None:
            self.resume_writing()

    def _cut(self) -> None:
        """Enough was read: the status decides, and the rest is not wanted."""
        self._complete()
        self._keeps_alive = False
        self.abort()

    def _end(self, *, is_reset: bool = False) -> None:
        self.is_open = False
        if self._on_end is None:
            return
        if not self._is_head_complete:
            self.was_dropped = self._is_reused and not self._raw_bytes
            what = "in the midst of an answer" if self._raw_bytes else "without an answer"
            self._fail(Reason.BAD_RESPONSE, f"the connection was closed {what}")
        elif is_reset or self._has_length():
            self._fail(Reason.BAD_RESPONSE, "the connection was closed in the midst of an answer")
        else:
            self._cut()
        self._report()

    def _has_length(self) -> bool:
        """Did the headers say where the body ends? Without, it ends with the connection (RFC 9112 6.3)."""
        names = {name.lower(): value.lower() for name, value in self._headers}
        coding = names.get(b"transfer-encoding")
        if coding is not None:
            return coding.rpartition(b",")[2].strip() == b"chunked"
        return b"content-length" in names

    def _fail_head(self) -> None:
        self._fail(
            Reason.TOO_LARGE,
            f"the answer's headers are over {MAX_HEAD_BYTES // 1024} KiB or {MAX_HEAD_LINES} lines",
        )

    def _fail(self, reason: Reason, message: str) -> None:
        if self._outcome is None:
            self._outcome = TemporaryFailure(reason, message, response=self.partial_answer())
        self._keeps_alive = False
        self.resume_writing()
        self.abort()

    def _report(self) -> None:
        """Tell the outcome, once there is one, to whoever waits for it."""
        on_end, outcome = self._on_end, self._outcome
        if on_end is not None and outcome is not None:
            self._on_end = None
            self.due_at_seconds = inf
            self._on_free(self)
            on_end(outcome)
