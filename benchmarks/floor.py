"""The floor: accept, commit, answer, sign, send and settle, with no feature at all around it.

What Tocsin costs beyond this is the price of its features; what this costs is the price of the work.
One asyncio loop parses and sends; one thread owns the SQLite connection, or two connections lead to PostgreSQL.
"""

import argparse
import asyncio
import signal
import time
from binascii import b2a_base64
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from hmac import digest
from pathlib import Path
from typing import cast

import httptools
import msgspec
import uvloop

from benchmarks.floor_postgres import PostgresWriter
from benchmarks.floor_store import Accepted, Attempted, Batch, SqliteWriter, Store

CONNECTIONS_A_HOST = 16
LINGER_SECONDS = 0.002  # long enough to gather a batch, short beside the fsync it saves
LINGER_ITEMS = 64
DRAIN_SECONDS = 10
SECRET = bytes(range(32))


class _Reported(msgspec.Struct):
    type: str
    type_data: msgspec.Raw


class _Ingest(msgspec.Struct):
    event: _Reported


_DECODER = msgspec.json.Decoder(_Ingest)


class Gathering:
    """Gathers items into batches, one of which is being written at a time."""

    def __init__(self, store: Store, committed: Callable[[Batch], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._hand_on = committed
        self._batch = Batch()
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False

    def add_event(self, event: Accepted) -> None:
        self._batch.events.append(event)
        self._added()

    def add_attempt(self, attempt: Attempted) -> None:
        self._batch.attempts.append(attempt)
        self._added()

    def _added(self) -> None:
        if self._is_writing:
            return
        if len(self._batch.events) + len(self._batch.attempts) >= LINGER_ITEMS:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(LINGER_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch = self._batch, Batch()
        self._is_writing = True
        self._store.write(batch, self._committed)

    def _committed(self, batch: Batch) -> None:
        self._is_writing = False
        self._hand_on(batch)
        if self._batch.events or self._batch.attempts:
            self._added()


class Floor:
    """Accepts events, hands on what a commit made durable, and settles what was sent."""

    def __init__(self, store: Store, hosts: "list[Host]") -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._hosts = hosts
        self._open_count = 0
        self._last_number = 0
        self._events = Gathering(store, self._committed)
        self._attempts = Gathering(store, self._committed) if store.writes_two_at_once else self._events

    def accept(self, connection: "Inlet", app: str, body: bytes) -> bool:
        """Queue one event for the next commit; False when there is no such app."""
        kind, _, tail = app.partition("-")
        if kind not in {"bench", "quiet"} or not tail.isdigit():
            return False
        reported = _DECODER.decode(body).event
        type_data = bytes(reported.type_data)
        if not type_data.startswith(b"{"):
            raise msgspec.ValidationError("type_data is not an object")
        now = time.time()
        self._last_number = number = max(self._last_number + 1, int(now * 1000) << 20)
        created_at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        event = (
            f'{{"id":"{number:024x}","created_at":"{created_at}",'
            f'"user":{{"username":"bench","email":"bench@example.com","id":"us-bench"}},'
            f'"app_id":"{int(tail):024x}","app_name":"{app}","type":"{reported.type}","type_data":'
        ).encode() + type_data
        host = int(tail) % len(self._hosts) if kind == "bench" and self._hosts else None
        accepted = Accepted(connection, number, int(tail), now, reported.type, type_data, event + b"}", host)
        self._open_count += 1
        self._events.add_event(accepted)
        return True

    def settle(self, accepted: Accepted, status: int, started_at: float) -> None:
        self._attempts.add_attempt(Attempted(accepted.number, started_at, time.time(), status))

    def _committed(self, batch: Batch) -> None:
        self._open_count -= len(batch.attempts)
        for accepted in batch.events:
            accepted.connection.answer(b"201 Created", b'{"event":' + accepted.body + b"}")
            if accepted.host is None:
                self._open_count -= 1
            else:
                self._hosts[accepted.host].send(accepted)

    async def drain(self) -> None:
        give_up_at = self._loop.time() + DRAIN_SECONDS
        while self._open_count and self._loop.time() < give_up_at:
            await asyncio.sleep(0.01)
        await self._store.close()


class Inlet(asyncio.Protocol):
    """One connection of somebody who reports events."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        url, body, self._url, self._body = self._url, self._body, b"", b""
        if self._parser.get_method() == b"GET":
            return self.answer(b"200 OK", b"{}")
        parts = url.decode("ascii", "replace").split("/")
        try:
            is_known = parts[:3] == ["", "v1", "apps"] and self._floor.accept(self, parts[3], body)
        except msgspec.MsgspecError:
            return self.answer(b"422 Unprocessable Entity", b'{"errors":{}}')
        return None if is_known else self.answer(b"404 Not Found", b'{"error":"not found"}')

    def answer(self, status: bytes, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
        )


class Host:
    """The kept connections to one receiver, and what waits for one of them."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._head = (
            f"POST / HTTP/1.1\r\nhost: {address}:{port}\r\ncontent-type: application/json\r\n"
            "user-agent: Tocsin-floor\r\n"
        ).encode()
        self._waiting: deque[Accepted] = deque()
        self._dialling: set[asyncio.Task[None]] = set()
        self._count = 0
        self.idle: list[Outlet] = []
        self.floor: Floor | None = None

    def send(self, accepted: Accepted) -> None:
        if self.idle:
            self.idle.pop().post(accepted)
            return
        self._waiting.append(accepted)
        if self._count < CONNECTIONS_A_HOST:
            self._count += 1
            task = asyncio.create_task(self._dial())
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

    async def _dial(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, outlet = await loop.create_connection(lambda: Outlet(self), self._address, self._port)
        except OSError:
            self._count -= 1
            if self._waiting:
                self.settle(self._waiting.popleft(), 0, time.time())
        else:
            self.release(outlet)

    def release(self, outlet: "Outlet") -> None:
        if self._waiting:
            outlet.post(self._waiting.popleft())
        else:
            self.idle.append(outlet)

    def forget(self, outlet: "Outlet") -> None:
        self._count -= 1
        if outlet in self.idle:
            self.idle.remove(outlet)

    def settle(self, accepted: Accepted, status: int, started_at: float) -> None:
        assert self.floor is not None
        self.floor.settle(accepted, status, started_at)

    def request(self, accepted: Accepted, started_at: float) -> bytes:
        """The signed request, as the Standard Webhooks specification has it."""
        trio = b"%024x.%d." % (accepted.number, int(started_at))
        signature = b2a_base64(digest(SECRET, trio + accepted.body, "sha256"), newline=False)
        return (
            b"%bwebhook-id: %024x\r\nwebhook-timestamp: %d\r\nwebhook-signature: v1,%b\r\n"
            b"tocsin-delivery-id: de-%x\r\ntocsin-attempt: 1\r\ncontent-length: %d\r\n\r\n%b"
        ) % (
            self._head,
            accepted.number,
            int(started_at),
            signature,
            accepted.number,
            len(accepted.body),
            accepted.body,
        )


class Outlet(asyncio.Protocol):
    """One kept connection to a receiver, with at most one request on it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._parser = httptools.HttpResponseParser(self)
        self._sending: Accepted | None = None
        self._started_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def post(self, accepted: Accepted) -> None:
        self._sending, self._started_at = accepted, time.time()
        self._transport.write(self._host.request(accepted, self._started_at))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_complete(self) -> None:
        accepted, self._sending = self._sending, None
        if accepted is None:
            return
        self._host.settle(accepted, self._parser.get_status_code(), self._started_at)
        self._host.release(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - named by the protocol it implements
        self._host.forget(self)
        if self._sending is not None:
            self._host.settle(self._sending, 0, self._started_at)


async def serve(port: int, database: str, receivers: list[tuple[str, int]]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    hosts = [Host(address, at) for address, at in receivers]
    store: Store
    if database.startswith("postgresql:"):
        store = await PostgresWriter.connected(database)
    else:
        store = SqliteWriter(Path(database))
    floor = Floor(store, hosts)
    for host in hosts:
        host.floor = floor
    server = await loop.create_server(lambda: Inlet(floor), "127.0.0.1", port, backlog=1024)
    await stopping.wait()
    server.close()
    await floor.drain()


def parse_receivers(text: str) -> list[tuple[str, int]]:
    """`127.0.0.2..21:9000` as twenty addresses with that port; an empty text as none."""
    if not text:
        return []
    span, _, port = text.rpartition(":")
    first, _, last = span.partition("..")
    network, _, start = first.rpartition(".")
    return [(f"{network}.{number}", int(port)) for number in range(int(start), int(last or start) + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True, help="a file for SQLite, or a postgresql: URL")
    parser.add_argument("--receivers", type=parse_receivers, default=[])
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.database, options.receivers))


if __name__ == "__main__":
    main()
