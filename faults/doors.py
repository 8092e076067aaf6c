"""Ports that break off before a request can be read: TCP that fails, TLS that must not be trusted, and a canary."""

import asyncio
import datetime as dt
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trustme

from faults.behaviours import answer_bytes
from tests.programs import free_port

_AT_ONCE = struct.pack("ii", 1, 0)
_LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


class Canary:
    """A port that nobody may ever connect to."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0

    def serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        writer.close()


@asynccontextmanager
async def canary() -> AsyncIterator[Canary]:
    bird = Canary()
    server = await asyncio.start_server(bird.serve, "127.0.0.1", 0)
    async with server:
        bird.port = server.sockets[0].getsockname()[1]
        yield bird


def write_authority(folder: Path) -> tuple[trustme.CA, Path]:
    """An authority for certificates, and the file by which it can be trusted (`SSL_CERT_FILE`)."""
    authority = trustme.CA()
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


@asynccontextmanager
async def doors(authority: trustme.CA) -> AsyncIterator[dict[str, str]]:
    """URLs by what is wrong with them."""
    trusted, expired = _context(authority, "127.0.0.1"), _context(authority, "127.0.0.1", not_after=_LONG_AGO)
    unknown, other = _context(trustme.CA(), "127.0.0.1"), _context(authority, "other.example.com")
    async with AsyncExitStack() as stack:

        async def listen(script: Script, scheme: str, tls: ssl.SSLContext | None = None) -> str:
            server = await asyncio.start_server(script, "127.0.0.1", 0, ssl=tls)
            await stack.enter_async_context(server)
            return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

        yield {
            "closed port": f"http://127.0.0.1:{free_port()}/",
            "reset at once": await listen(_reset, "http"),
            "closed at once": await listen(_close, "http"),
            "tls": await listen(answer_once, "https", trusted),
            "tls, expired": await listen(answer_once, "https", expired),
            "tls, unknown authority": await listen(answer_once, "https", unknown),
            "tls, another name": await listen(answer_once, "https", other),
            "tls, no handshake": await listen(_ignore, "https"),
            "tls, plain http": await listen(_refuse, "https"),
            "tls behind http": await listen(answer_once, "http", trusted),
        }


def _context(authority: trustme.CA, name: str, not_after: dt.datetime | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=not_after).configure_cert(context)
    return context


def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    opened: socket.socket = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


def _close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.transport.abort()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """400 to whatever comes, as servers do that get TLS and expect HTTP."""
    if await reader.read(1):
        writer.write(answer_bytes(400, {"connection": "close"}))
    writer.close()


class Everywhere:
    """A port that answers 204 on every address of this machine, and counts who was called by which."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls[writer.get_extra_info("sockname")[0]] += 1
        await answer_once(reader, writer)


@asynccontextmanager
async def everywhere() -> AsyncIterator[Everywhere]:
    place = Everywhere()
    server = await asyncio.start_server(place.serve, "0.0.0.0", 0)
    async with server:
        place.port = server.sockets[0].getsockname()[1]
        yield place


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request whole, and 204."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        writer.write(answer_bytes(204, {"connection": "close"}))
        await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass  # it was no request
    finally:
        writer.close()
