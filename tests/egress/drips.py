"""Receivers that hold on to a connection: they do not read, do not answer, or answer in drops without an end."""

import asyncio
from collections.abc import Mapping

from tests.egress.receiver import Peer, Script

_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"transfer-encoding: chunked\r\n\r\n"


async def accept_and_wait(peer: Peer) -> None:
    await peer.wait_closed_by_client()


async def accept_and_read_nothing(peer: Peer) -> None:
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads as well
    await asyncio.Future()


def drips(pace_seconds: float) -> Mapping[str, Script]:
    """By name: a drop at each pace, of whatever part of an answer."""

    def dripping(head: bytes, drop: bytes) -> Script:
        async def script(peer: Peer) -> None:
            await peer.read_request()
            await peer.write(head)
            while True:
                await peer.write(drop)
                await asyncio.sleep(pace_seconds)

        return script

    return {
        "no answer": accept_and_wait,
        "headers": dripping(_OK + b"x-long: ", b"a"),
        "status line": dripping(b"HTTP/1.1 200 ", b"O"),
        "body": dripping(_OK + b"content-length: 1000\r\n\r\n", b"a"),
        "body until close": dripping(_OK + b"\r\n", b"a"),
        "chunks": dripping(_CHUNKED, b"1\r\na\r\n"),
        "chunk extension": dripping(_CHUNKED + b"1;", b"e"),
        "trailers": dripping(_CHUNKED + b"0\r\nx: ", b"a"),
        "interim answers": dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        "line ends": dripping(b"", b"\r\n"),
    }
