"""Connections that are read message by message: as much HTTP as load and receivers need, for little CPU."""

import asyncio
from typing import cast


def frame_end(data: bytes | bytearray) -> int:
    """Where the first HTTP message with a content-length ends; 0 while it is incomplete."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    head = bytes(data[:head_end]).lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        if b"\r\ntransfer-encoding:" in head:
            raise ValueError("chunked messages are not understood here")
        return head_end + 4
    stop = head.find(b"\r\n", at + 2)
    end = head_end + 4 + int(head[at + 17 : stop if stop > 0 else head_end])
    return end if end <= len(data) else 0


class Framed(asyncio.Protocol):
    """A connection that is read message by message."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        while data and (end := frame_end(data)):
            self.received(data[:end])
            data = data[end:]
        self._rest = data

    def received(self, message: bytes) -> None:
        raise NotImplementedError
