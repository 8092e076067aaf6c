"""Requests per second of the HTTP client: ours and aiohttp's, against a bare receiver in a process of its own.

`python -m benchmarks.egress` takes about 15 seconds. Client and receiver share the machine; pin them (taskset) for
figures that are to be compared.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import httptools
import uvloop

from benchmarks import procfs
from benchmarks.receivers import ADDRESSES
from benchmarks.subjects import APP_COUNT
from tocsin.egress import AddressPolicy, Egress
from tocsin.model import Request

_BODY = b"x" * 882
_HEADERS = (
    ("content-type", "application/json"),
    ("webhook-id", "0123456789abcdef01234567"),
    ("webhook-timestamp", "1767323045"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
)
_SECONDS = 2.0
_CASES = ((50, 1), (200, 20))

Send = Callable[[str], Awaitable[int]]


class _Receiver(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert hasattr(self._transport, "write")
        self._transport.write(b"HTTP/1.1 204 No Content\r\nServer: receiver\r\nX-Request-Id: 1\r\n\r\n")


async def _receive() -> None:
    """Answer 204 to every request, on every loopback address, until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Receiver, "0.0.0.0", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


async def _measure(send: Send, urls: list[str], concurrency: int, seconds: float = _SECONDS) -> tuple[float, float]:
    """Requests per second, and microseconds of this process for each."""
    count = 0

    async def repeat(url: str, until: float) -> None:
        nonlocal count
        while time.perf_counter() < until:
            assert await send(url) == 204
            count += 1

    async def run(seconds: float) -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(repeat(urls[place % len(urls)], until) for place in range(concurrency)))

    await run(0.4)
    count = 0
    started, cpu_started = time.perf_counter(), time.process_time()
    await run(seconds)
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return count / elapsed, cpu / count * 1e6


async def _ours(urls: list[str], concurrency: int, seconds: float = _SECONDS) -> tuple[float, float]:
    egress = Egress(
        policy=AddressPolicy.parse("127.0.0.0/8"),
        user_agent="Tocsin/benchmark",
        idle_per_address=concurrency,
    )

    async def send(url: str) -> int:
        return (await egress.request(Request(url=url, headers=_HEADERS, body=_BODY))).status

    try:
        return await _measure(send, urls, concurrency, seconds)
    finally:
        await egress.aclose()


async def _aiohttp(urls: list[str], concurrency: int) -> tuple[float, float]:
    headers = dict(_HEADERS)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=15), auto_decompress=False
    ) as session:

        async def send(url: str) -> int:
            async with session.post(url, data=_BODY, headers=headers, allow_redirects=False) as response:
                await response.content.read(64 * 1024)
                return response.status

        return await _measure(send, urls, concurrency)


async def _alone(port: int, seconds: float) -> None:
    """Our client alone against the load's receivers, for the table: rate, processor time and memory as JSON."""
    urls = [f"http://{address}:{port}/" for address in ADDRESSES[:APP_COUNT]]
    rate, micros = await _ours(urls, _CASES[1][0], seconds)
    print(json.dumps({"rate": rate, "cpu_us": micros, "memory_mb": procfs.memory_mb([os.getpid()])}))


def main() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.egress", "receive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as receiver:
        assert receiver.stdout is not None
        port = int(receiver.stdout.readline())
        print(f"{'client':10} {'connections':>11} {'hosts':>5} {'requests/s':>10} {'µs each':>8}")
        for concurrency, hosts in _CASES:
            urls = [f"http://127.0.0.{place + 2}:{port}/hook/{place}" for place in range(hosts)]
            for name, client in (("tocsin", _ours), ("aiohttp", _aiohttp)):
                rate, micros = uvloop.run(client(urls, concurrency))
                print(f"{name:10} {concurrency:11} {hosts:5} {rate:10,.0f} {micros:8.1f}")
        receiver.communicate()


if __name__ == "__main__":
    if sys.argv[1:] == ["receive"]:
        uvloop.run(_receive())
    elif sys.argv[1:2] == ["alone"]:
        uvloop.run(_alone(int(sys.argv[2]), float(sys.argv[3])))
    else:
        main()
