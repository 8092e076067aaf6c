"""`python -m faults.receiver`: a process that receives on some ports and any path, and writes down what arrives.

It stands outside of whatever fails. Its first line on standard output names its ports. A line of JSON on its standard
input is a command and is answered by one on standard output; when the input ends, so does it.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from faults.behaviours import BEHAVIOURS, Connection, Request
from faults.misbehaviours import MISBEHAVIOURS
from faults.records import NOT_OURS, Arrival, number_in, sha
from tocsin.platforms.verification import verify

ENDINGS = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError)
HEAD_LIMIT = 64 * 1024
KNOWN = BEHAVIOURS | MISBEHAVIOURS


class Started(msgspec.Struct, frozen=True):
    """Its first line."""

    ports: list[int]


class Command(msgspec.Struct, kw_only=True):
    """Exactly one thing that is asked of it; each is answered by an Answer of the same id, in any order."""

    id: int = 0
    behave: str = ""
    """A path, which is to behave as `behaviour` with `options`; `*` for every path without one of its own."""

    behaviour: str = ""
    options: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    """Signing secrets by path."""

    await_numbers: dict[str, list[int]] = {}
    """Numbers by path: answered once each was taken there (2xx), or `within_seconds` are over."""

    await_next: bool = False
    """Answered once a producer's message is taken from now on, or `within_seconds` are over."""

    within_seconds: float = 0


class Answer(msgspec.Struct, kw_only=True):
    id: int = 0
    missing: dict[str, list[int]] = {}
    """What did not arrive in time."""

    at_ns: int = 0
    """When what was waited for arrived; 0 when it did not."""


class Receiver:
    """Everything that arrives, and who waits for it."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._encoder = msgspec.json.Encoder()
        self._behaviours: dict[str, tuple[str, dict[str, Any]]] = {}
        self._secrets: dict[str, str] = {}
        self._taken: dict[str, set[int]] = {}
        self._changed = asyncio.Event()
        self._last_taken_ns = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        port: int = writer.get_extra_info("sockname")[1]
        try:
            while connection.is_kept:
                request = await _read(reader)
                if request is None:
                    break
                await self._behave(request, connection, port)
                await writer.drain()
        except ENDINGS:
            pass
        finally:
            writer.close()
            with suppress(*ENDINGS):
                await writer.wait_closed()

    async def _behave(self, request: Request, connection: Connection, port: int) -> None:
        at_ns = time.monotonic_ns()
        name, options = self._behaviours.get(request.path) or self._behaviours.get("*", ("answer", {}))

        def note(status: int, retry_after_seconds: float) -> None:
            self._write_down(request, at_ns, port, status, retry_after_seconds)

        await KNOWN[name](request, connection, options, note)

    def _write_down(self, request: Request, at_ns: int, port: int, status: int, retry_after_seconds: float) -> None:
        headers = request.headers
        arrival = Arrival(
            at_ns=at_ns,
            port=port,
            path=request.path,
            message_id=headers.get("webhook-id", ""),
            delivery_id=headers.get("tocsin-delivery-id", ""),
            attempt=int(headers.get("tocsin-attempt", "0")),
            number=number_in(request.body),
            body_sha=sha(request.body),
            is_signed=self._is_signed(request),
            status=status,
            retry_after_seconds=retry_after_seconds,
        )
        os.write(self._log, self._encoder.encode(arrival) + b"\n")
        if 200 <= status < 300 and arrival.number != NOT_OURS:
            self._taken.setdefault(request.path, set()).add(arrival.number)
            self._last_taken_ns = at_ns
            self._changed.set()

    def _is_signed(self, request: Request) -> bool:
        """Whether its signature is right; where no secret is known, whether it has one."""
        signature = request.headers.get("webhook-signature", "")
        secret = self._secrets.get(request.path)
        if secret is None:
            return bool(signature)
        timestamp = request.headers.get("webhook-timestamp", "")
        return verify(secret, request.headers.get("webhook-id", ""), timestamp, request.body, signature)

    async def obey(self, command: Command) -> None:
        answer = await self._carry_out(command)
        answer.id = command.id
        _say(answer)

    async def _carry_out(self, command: Command) -> Answer:
        self._secrets |= command.secrets
        if command.behave:
            if command.behaviour not in KNOWN:
                raise ValueError(f"there is no behaviour {command.behaviour}")
            self._behaviours[command.behave] = (command.behaviour, command.options)
        if command.await_numbers:
            return await self._await_numbers(command)
        if command.await_next:
            return await self._await_next(command)
        return Answer()

    async def _await_numbers(self, command: Command) -> Answer:
        wanted = {path: set(numbers) for path, numbers in command.await_numbers.items()}

        def missing() -> dict[str, list[int]]:
            left = {path: sorted(numbers - self._taken.get(path, set())) for path, numbers in wanted.items()}
            return {path: numbers for path, numbers in left.items() if numbers}

        await self._wait(lambda: not missing(), command.within_seconds)
        left = missing()
        return Answer(missing=left, at_ns=0 if left else self._last_taken_ns)

    async def _await_next(self, command: Command) -> Answer:
        before = self._last_taken_ns
        await self._wait(lambda: self._last_taken_ns != before, command.within_seconds)
        return Answer(at_ns=self._last_taken_ns if self._last_taken_ns != before else 0)

    async def _wait(self, is_over: Callable[[], bool], within_seconds: float) -> None:
        try:
            async with asyncio.timeout(within_seconds):
                while not is_over():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request whole, or None when the connection ends before one."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(path=first.split(" ")[1], headers=headers, body=body)


async def main(log: Path, ports: int) -> None:
    receiver = Receiver(log)
    servers = [
        await asyncio.start_server(receiver.serve, "127.0.0.1", 0, limit=HEAD_LIMIT, backlog=1024) for _ in range(ports)
    ]
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    _say(Started([server.sockets[0].getsockname()[1] for server in servers]))
    async with asyncio.TaskGroup() as obeying:
        while line := await commands.readline():
            obeying.create_task(receiver.obey(msgspec.json.decode(line, type=Command)))


def _say(answer: Started | Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
