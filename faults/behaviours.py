"""How a receiver's path behaves: each behaviour is a function, found by its name.

A behaviour gets the request, its connection and its options, and decides what is answered. What it is about to answer
is written down by `note` before the first byte of the answer, exactly once a request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from faults.records import number_in


class Request(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""

    body: bytes


class Connection:
    """A sender's connection to the receiver, after a whole request was read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.is_kept = True
        """Whether another request may follow."""


Note = Callable[[int, float], None]
"""Told the status that is about to be answered (0 for none), and the Retry-After in it (0 for none)."""

Behaviour = Callable[[Request, Connection, Mapping[str, Any], Note], Awaitable[None]]


async def answer(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Answer with `status` (204), `headers` and `body`, after `after_seconds`."""
    headers: Mapping[str, str] = options.get("headers", {})
    status = int(options.get("status", 204))
    if after_seconds := options.get("after_seconds", 0):
        await asyncio.sleep(after_seconds)
    note(status, _seconds(headers.get("retry-after", "")))
    connection.writer.write(answer_bytes(status, headers, str(options.get("body", "")).encode()))


async def hang(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:  # noqa: ARG001
    """Take the request and never answer it."""
    note(0, 0)
    await connection.reader.read()  # until the sender gives up
    connection.is_kept = False


async def fail_first(request: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Refuse the first `attempts` (1) of one message in `every` (1) with `status` (503), and take it from then on."""
    is_meant = number_in(request.body) % int(options.get("every", 1)) == 0
    is_refused = is_meant and int(request.headers.get("tocsin-attempt", "1")) <= int(options.get("attempts", 1))
    given = {"status": options.get("status", 503)} if is_refused else {}
    await answer(request, connection, given, note)


BEHAVIOURS: dict[str, Behaviour] = {"answer": answer, "hang": hang, "fail_first": fail_first}


def answer_bytes(status: int, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    if status != 204:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0
