"""A server on a real socket for tests of the listener: an application that can be held, and clients by the byte."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tocsin.api.listener import Listener

EVENTS = "/v1/apps/my-app/events"


@dataclass
class Application:
    """Answers events with their body and everything else with its method, path and body; can be held at any name."""

    answer_body: bytes | None = None
    is_forgetful: bool = False
    events: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    def begin(self, ref, headers, body, answer):
        if self.is_forgetful:
            return False
        task = asyncio.get_running_loop().create_task(self.handle(ref, headers, body, ""))
        task.add_done_callback(lambda done: answer(done.result()))
        return True

    async def handle(self, ref, headers, body, peer):
        text = body.decode()
        self.events.append(text)
        self.headers = headers
        await self._held(text)
        if text == "bug":
            raise RuntimeError(text)
        shown = self.answer_body or b"event %b of %b" % (body, ref.encode())
        return 201, b"content-length: %d\r\nx-request-id: r-1\r\n" % len(shown), shown

    async def _held(self, name: str) -> None:
        if name in self.held:
            await self.held[name].wait()

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        await self._held(f"{scope['method']} {scope['path']}")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        shown = f"{scope['method']} {scope['path']} {len(body)}".encode()
        self.others.append(shown.decode())
        await self._held(shown.decode())
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

    @property
    def ordinary(self) -> Any:
        return self.connection._ordinary


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
