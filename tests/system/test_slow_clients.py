"""Clients that drip, that send without end, or that are too many: others are served, and memory stays as it is."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.processes import Installation

EVENTS = "/v1/apps/my-app/events"
EVENT = {"event": {"type": "restart", "type_data": {}}}
MEBIBYTE = 1024 * 1024


@dataclass
class Server:
    installation: Installation
    token: str

    @property
    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.installation.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def head(self, path: str, framing: str, *, is_known: bool = True) -> bytes:
        known = f"Authorization: Bearer {self.token}\r\n" if is_known else ""
        return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{known}{framing}\r\n\r\n".encode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.installation.port)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.installation.url, headers=headers, timeout=30) as client:
            yield client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    installation = Installation(tmp_path_factory.mktemp("slow-clients"))
    try:
        token = installation.add_user()
        installation.run("app", "add", "my-app", "--owner", "alice")
        installation.serve()
        yield Server(installation, token)
        assert installation.stop() == 0
    finally:
        installation.end()


class Drip:
    """Connections whose requests come in byte by byte: some are in their heads, some in bodies of either framing."""

    def __init__(self, server: Server) -> None:
        self._requests = [
            (b"", server.head(EVENTS, "Content-Length: 60")),
            (server.head(EVENTS, "Content-Length: 60000"), b'{"event": {"type": "' + b"x" * 1000),
            (server.head(EVENTS, "Transfer-Encoding: chunked"), b"ff\r\n" + b"x" * 200),
            (server.head("/v1/apps", "Content-Length: 60000"), b" " * 1000),
            (server.head("/v1/apps", "Content-Length: 60000", is_known=False), b" " * 1000),
        ]
        self._server = server
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]] = []
        self._sent = 0

    @asynccontextmanager
    async def opened(self, count: int) -> AsyncIterator[Self]:
        try:
            await self._open_all(count)
            yield self
        finally:
            await self._close()

    async def _open_all(self, count: int) -> None:
        for number in range(count):
            reader, writer = await self._server.connect()
            at_once, dripped = self._requests[number % len(self._requests)]
            writer.write(at_once)
            self._open.append((reader, writer, dripped))

    async def drip(self) -> int:
        """Another byte on each connection; answers with how many the server still has open."""
        await asyncio.sleep(0)
        for _, writer, dripped in self._open:
            if not writer.is_closing():
                writer.write(dripped[self._sent : self._sent + 1])
        self._sent += 1
        return sum(not (reader.at_eof() or reader.exception()) for reader, _, _ in self._open)

    async def _close(self) -> None:
        for _, writer, _ in self._open:
            writer.close()
        for _, writer, _ in self._open:
            with suppress(ConnectionError):
                await writer.wait_closed()


async def serve_beside(server: Server, drip: Drip, rounds: int, pause_seconds: float) -> tuple[list[float], int]:
    """Drip while a healthy client posts events; answers with how long each of these took, and who is left."""
    seconds, left = [], 0
    async with server.client() as client:
        for _ in range(rounds):
            begun = time.perf_counter()
            left = await drip.drip()
            seconds += [await post(client) for _ in range(10)]
            await asyncio.sleep(max(begun + pause_seconds - time.perf_counter(), 0))  # the pace of the drip
    return sorted(seconds), left


async def post(client: httpx.AsyncClient) -> float:
    begun = time.perf_counter()
    assert (await client.post(EVENTS, json=EVENT)).status_code == 201
    return time.perf_counter() - begun


def percentile(sorted_values: list[float], part: float) -> float:
    return sorted_values[min(int(len(sorted_values) * part), len(sorted_values) - 1)]


async def test_clients_that_drip_hold_up_nobody(server: Server) -> None:
    async with server.client() as client:
        assert (await client.post(EVENTS, json=EVENT)).status_code == 201
    before = server.rss_bytes
    async with Drip(server).opened(200) as drip:
        seconds, left = await serve_beside(server, drip, rounds=10, pause_seconds=0)
        assert left >= 160, "only who sends no token has an answer"
        assert percentile(seconds, 0.5) < 0.5
        assert server.rss_bytes - before < 32 * MEBIBYTE


@pytest.mark.long
async def test_a_thousand_clients_that_drip_hold_up_nobody_and_are_given_up(server: Server) -> None:
    alone, _ = await serve_beside(server, Drip(server), rounds=25, pause_seconds=0)
    before = server.rss_bytes
    async with Drip(server).opened(1000) as drip:
        seconds, left = await serve_beside(server, drip, rounds=25, pause_seconds=1)
        grown = server.rss_bytes - before
        p50, p99, p99_alone = (percentile(*of) * 1000 for of in ((seconds, 0.5), (seconds, 0.99), (alone, 0.99)))
        print(f"1,000 dripping: {grown / MEBIBYTE:.1f} MiB more")
        print(f"healthy p50 {p50:.1f} ms, p99 {p99:.1f} ms, alone {p99_alone:.1f} ms")
        assert left >= 800
        assert grown < 64 * MEBIBYTE
        _, left = await serve_beside(server, drip, rounds=15, pause_seconds=1)
        assert left == 0, "after 30 s"
        assert p99 < p99_alone + 100, "the machine may have other work"


async def read_answer(client: socket.socket) -> tuple[int, bytes]:
    received = b""
    with suppress(ConnectionError):
        while data := await asyncio.get_running_loop().sock_recv(client, 65_536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def send_without_end(server: Server, head: bytes) -> tuple[int, int, bytes]:
    """Send a chunked body of 10 GB: the status, how much the server let come, and its answer's body."""
    loop = asyncio.get_running_loop()
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent = 0
    # No stream: one that cannot write any more gives up reading, too, and loses the answer that has come.
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", server.installation.port))
        answered = asyncio.create_task(read_answer(client))
        with suppress(ConnectionError):
            await loop.sock_sendall(client, head)
            while sent < 10 * 1024 * MEBIBYTE and not answered.done():
                await loop.sock_sendall(client, chunk)
                sent += 65_536
        status, body = await answered
    return status, sent, body


@pytest.mark.parametrize(
    ("path", "is_known", "status"), [(EVENTS, True, 413), ("/v1/apps", True, 413), (EVENTS, False, 401)]
)
async def test_a_body_without_end_is_refused_while_it_comes(
    server: Server, path: str, is_known: bool, status: int
) -> None:
    head = server.head(path, "Transfer-Encoding: chunked", is_known=is_known)
    before = server.rss_bytes
    for _ in range(3):
        answered, sent, body = await send_without_end(server, head)
        assert answered == status
        assert json.loads(body).keys() == {"error"}
        assert sent < 32 * MEBIBYTE, "what fits into sockets included"
    assert server.rss_bytes - before < 16 * MEBIBYTE
    async with server.client() as client:
        assert (await client.post(EVENTS, json=EVENT)).status_code == 201
