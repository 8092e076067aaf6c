"""The demo's own webhook receiver: a small HTTP server on this machine that keeps what arrives for whoever looks."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import httptools
import msgspec

MAX_BODY_BYTES = 1 << 20
MAX_KEPT = 1000
HOST = "127.0.0.1"

_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_BAD = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Arrival(msgspec.Struct, frozen=True):
    """A request as it came: headers by their lower-case names, and the body."""

    headers: dict[str, str]
    body: bytes


class Receiver:
    """Listens on a loopback port from its making; answers 204 once `start` was called."""

    def __init__(self, port: int) -> None:
        """Port 0, and one that is taken, becomes any that is free."""
        self._listening = _bind(port)
        self.port: int = self._listening.getsockname()[1]
        self.arrivals: asyncio.Queue[Arrival] = asyncio.Queue(MAX_KEPT)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Conversation(self._keep), sock=self._listening)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._listening.close()

    def _keep(self, arrival: Arrival) -> None:
        if self.arrivals.full():
            self.arrivals.get_nowait()  # a flood: the latest say most
        self.arrivals.put_nowait(arrival)


class _Conversation(asyncio.Protocol):
    """One connection. The methods named on_… are the parser's calls."""

    def __init__(self, keep: Callable[[Arrival], None]) -> None:
        self._keep = keep
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(_BAD)

    def on_message_begin(self) -> None:
        self._headers = {}
        self._body = bytearray()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > MAX_BODY_BYTES:
            self._end(_TOO_LARGE)

    def on_message_complete(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._keep(Arrival(self._headers, bytes(self._body)))
        self._transport.write(_TAKEN)
        if not self._parser.should_keep_alive():
            self._transport.close()

    def _end(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)
            self._transport.close()


def _bind(port: int) -> socket.socket:
    for wanted in (port, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, wanted))
            listening.listen()
        except OSError:
            listening.close()
            if wanted == 0:
                raise
        else:
            return listening
    raise RuntimeError("the loop above returns or raises")
