"""A raw HTTP receiver on loopback: hands each connection to a script which writes whatever bytes it likes."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from tocsin.egress import AddressPolicy, Egress
from tocsin.model import Request, Response

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_request(self) -> bytes:
        """One request, head and body as they came."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = [line.partition(b": ") for line in head.lower().split(b"\r\n")[1:]]
        fields = {name: value for name, _, value in lines}
        if fields.get(b"transfer-encoding") == b"chunked":
            return head + await self.reader.readuntil(b"0\r\n\r\n")
        return head + await self.reader.readexactly(int(fields.get(b"content-length", b"0")))

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def wait_closed_by_client(self) -> None:
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Receiver:
    """Counts what it accepts; use as an async context manager."""

    def __init__(self, script: Script, *, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._host = host
        self._context = context
        self._open: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.port = 0
        self.all_closed = asyncio.Event()

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}/hook?key=secret-key"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, ssl=self._context, limit=1024 * 1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.all_closed.clear()
        self.accepted += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._script(Peer(reader, writer))
        finally:
            writer.transport.abort()
            self._open.discard(task)
            if not self._open:
                self.all_closed.set()


def answering(data: bytes) -> Script:
    """Answers every request on a connection with these bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.read_request()
            await peer.write(data)

    return script


def answering_once(data: bytes) -> Script:
    """Answers one request with these bytes and closes."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(data)
        peer.writer.write_eof() if peer.writer.can_write_eof() else peer.writer.close()
        await peer.wait_closed_by_client()

    return script


class FakeResolver:
    """Answers from a list, one after the other, and remembers nothing."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def cached(self, host: str) -> tuple[str, ...] | None:
        return None

    async def resolve(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        answer = self.answers.pop(0)
        self.answers.append(answer)
        return answer

    def close(self) -> None:
        pass


def make_egress(allow: str = "127.0.0.1", **options: object) -> Egress:
    settings: dict[str, object] = {"policy": AddressPolicy.parse(allow), "user_agent": "Tocsin/test"}
    return Egress(**(settings | options))  # type: ignore[arg-type]


async def ask(script: Script, request: Request | None = None, **options: object) -> Response:
    """Send one request to a receiver with this script."""
    egress = make_egress(**options)
    try:
        async with Receiver(script) as receiver:
            return await egress.request(request or Request(url=receiver.url, body=b"{}"))
    finally:
        await egress.aclose()
