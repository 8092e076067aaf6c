"""A TCP proxy in front of PostgreSQL that fails on demand: at any moment, or at a chosen statement to the message."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

# https://www.postgresql.org/docs/current/protocol-message-formats.html
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


ENDINGS = (ConnectionError, asyncio.IncompleteReadError)
"""How a connection ends as one reads from it."""


class Moment(Enum):
    """When a connection drops: for the client, the first two look the same."""

    UNSENT = "the server has not seen the statement"
    UNANSWERED = "the server has carried it out, and its answer is lost"
    ANSWERED = "the answer has arrived"


@dataclass(eq=False)
class Drop:
    """One connection will drop: the one that carries out the `nth` statement like the pattern."""

    moment: Moment
    pattern: re.Pattern[str]
    nth: int
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def counts(self, statement: str) -> bool:
        """Whether it is this statement's turn."""
        if self.happened.is_set() or self.nth < 1 or not self.pattern.search(statement):
            return False
        self.nth -= 1
        return self.nth == 0


class Proxy:
    """Connections to `port` end at the server, unless told otherwise."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.statements: list[str] = []
        self.drops: list[Drop] = []
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._links: dict[Link, asyncio.Task[None]] = {}

    @classmethod
    @asynccontextmanager
    async def started(cls, server_port: int) -> AsyncIterator["Proxy"]:
        proxy = cls(server_port)
        await proxy.accept()
        try:
            yield proxy
        finally:
            proxy.refuse()
            proxy.cut()
            proxy.resume()
            await asyncio.gather(*proxy._links.values())

    @property
    def connections(self) -> int:
        return len(self._links)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tocsin@127.0.0.1:{self.port}/{database}"

    def cut(self) -> None:
        """Reset all connections, on both sides."""
        for link in self._links:
            link.reset()

    def refuse(self) -> None:
        """Refuse new connections; the open ones stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def accept(self) -> None:
        """Accept connections again, on the same port."""
        assert self._listener is None
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def stall(self) -> None:
        """Accept connections and keep them, but let nothing through."""
        self.flowing.clear()

    def resume(self) -> None:
        self.flowing.set()

    def drop(self, moment: Moment, statement: str = "", *, nth: int = 1) -> Drop:
        """Drop the connection that carries out a statement which the regular expression is found in."""
        drop = Drop(moment, re.compile(statement, re.IGNORECASE), nth)
        self.drops.append(drop)
        return drop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            _reset(writer)
            return
        link = Link(self, (reader, writer), server)
        # start_server makes a task of this call, and `_serve` is all that it does
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        try:
            await link.run()
        finally:
            del self._links[link]


class Link:
    """One connection of a client, and the one to the server that goes with it."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._prepared: dict[bytes, str] = {}
        self._asked = 1  # how many "ready for query" the server owes or has sent: the first follows the start-up
        self._ready = 0
        self._drop: Drop | None = None
        self._drop_at = 0

    def reset(self) -> None:
        _reset(self._to_client)
        _reset(self._to_server)

    async def run(self) -> None:
        try:
            await self._start()
            pumps = [asyncio.create_task(self._pump_requests()), asyncio.create_task(self._pump_answers())]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            for ended in await asyncio.gather(*pumps, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, ENDINGS):
                    raise ended
        except ENDINGS:
            pass
        finally:
            for writer in (self._to_client, self._to_server):
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def _start(self) -> None:
        """What comes before the messages that have a type. Encryption is for the server to refuse."""
        while True:
            head = await self._from_client.readexactly(8)
            length, code = struct.unpack("!II", head)
            await self._send(self._to_server, head + await self._from_client.readexactly(length - 8))
            if code not in (SSL_REQUEST, GSS_REQUEST):
                return
            await self._send(self._to_client, await self._from_server.readexactly(1))

    async def _pump_requests(self) -> None:
        while True:
            kind, message = await _message(self._from_client)
            statement = self._statement(kind, message)
            if statement is not None and self._drop is None:
                self._proxy.statements.append(statement)
                self._drop = next((drop for drop in self._proxy.drops if drop.counts(statement)), None)
                self._drop_at = self._asked + 1
            if self._drop is not None and self._drop.moment is Moment.UNSENT:
                self.reset()
                self._drop.happened.set()
                return
            self._asked += kind in b"QS"
            await self._send(self._to_server, message)

    async def _pump_answers(self) -> None:
        while True:
            kind, message = await _message(self._from_server)
            self._ready += kind == b"Z"
            is_over = self._drop is not None and self._ready == self._drop_at
            if self._drop is None or self._drop.moment is Moment.ANSWERED:
                await self._send(self._to_client, message)
            if self._drop is not None and is_over:
                if self._drop.moment is Moment.UNANSWERED:
                    self.reset()
                self._drop.happened.set()
                return

    async def _send(self, writer: asyncio.StreamWriter, message: bytes) -> None:
        await self._proxy.flowing.wait()
        writer.write(message)
        await writer.drain()

    def _statement(self, kind: bytes, message: bytes) -> str | None:
        """The statement that this message has the server carry out, if it does."""
        if kind == b"Q":
            return message[5:-1].decode()
        if kind == b"P":
            name, text, _ = message[5:].split(b"\0", 2)
            self._prepared[name] = text.decode()
        if kind == b"B":
            _, name, _ = message[5:].split(b"\0", 2)
            return self._prepared[name]
        return None


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side gets a reset, whatever was on its way."""
    connection: socket.socket = writer.get_extra_info("socket")
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
