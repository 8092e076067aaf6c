"""Behaviours of receivers that are broken, hostile or busy; they go by the rules of `faults.behaviours`."""

import asyncio
import gzip
import socket
import struct
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import cache
from typing import Any

from faults.behaviours import Behaviour, Connection, Note, Request, answer_bytes

_MEBIBYTE = bytes(1024 * 1024)
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing resets the connection
_TO_BE_READ_SECONDS = 0.05
_PARTS = {
    "request": b"",
    "headers": b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n",
    "half": b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf",
}
"""What of an answer is sent before it breaks off, by what the sender has seen then."""


async def hang_after(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Send the part of an answer up to `after` (`headers`, `half`), and never the rest."""
    note(0, 0)
    connection.writer.write(_PARTS[options["after"]])
    await connection.reader.read()  # until the sender gives up
    connection.is_kept = False


async def drip(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Answer octet by octet, each `pause_seconds` (1) after the other, for as long as anyone listens."""
    note(0, 0)
    for octet in answer_bytes(200, {}, b"drop by drop, " * 100):
        connection.writer.write(bytes([octet]))
        await connection.writer.drain()
        await asyncio.sleep(options.get("pause_seconds", 1))


async def octets(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Send the octets of `sent` (ISO 8859-1), which mean `status` (0: no answer), and close unless `is_kept`."""
    note(int(options.get("status", 0)), 0)
    connection.writer.write(options["sent"].encode("latin-1"))
    connection.is_kept = bool(options.get("is_kept"))


async def flood(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Answer 200 with `mebibytes` (1024) of zeros; with `is_compressed` each is a kibibyte of gzip."""
    note(200, 0)
    mebibytes = int(options.get("mebibytes", 1024))
    piece, coding = (_bomb(), {"content-encoding": "gzip"}) if options.get("is_compressed") else (_MEBIBYTE, {})
    lines = [f"{name}: {value}" for name, value in {**coding, "content-length": len(piece) * mebibytes}.items()]
    connection.writer.write("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode())
    for _piece in range(mebibytes):
        connection.writer.write(piece)
        await connection.writer.drain()


async def reset(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Reset the connection (RST) when the answer is there up to `after` (`request`, `headers`, `half`)."""
    note(0, 0)
    if part := _PARTS[options.get("after", "request")]:
        connection.writer.write(part)
        await asyncio.sleep(_TO_BE_READ_SECONDS)  # a reset takes with it what has not been read
    opened: socket.socket = connection.writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    connection.writer.transport.abort()
    connection.is_kept = False


async def hold(_: Request, connection: Connection, options: Mapping[str, Any], note: Note) -> None:
    """Ask to be left alone for `seconds`, with `status` (429), in the words of `text` if there are any.

    With `is_date` the header is a date, by a clock that is `skew_seconds` (0) ahead and stands in the Date header.
    """
    seconds, status = options["seconds"], int(options.get("status", 429))
    note(status, max(0, seconds))
    if options.get("is_date"):
        clock = time.time() + options.get("skew_seconds", 0)
        headers = {"date": formatdate(clock, usegmt=True), "retry-after": formatdate(clock + seconds, usegmt=True)}
    else:
        headers = {"retry-after": options.get("text", str(seconds))}
    connection.writer.write(answer_bytes(status, headers))


MISBEHAVIOURS: dict[str, Behaviour] = {
    "hang_after": hang_after,
    "drip": drip,
    "octets": octets,
    "flood": flood,
    "reset": reset,
    "hold": hold,
}


@cache
def _bomb() -> bytes:
    return gzip.compress(_MEBIBYTE)
