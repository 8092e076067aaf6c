"""Who gets the messages: plain, over TLS, and slow ones, each on the same 200 loopback addresses."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import trustme

from benchmarks.framing import Framed

ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 202))
SLOW_SECONDS = 0.05
MARK = b'"seq-'
MARK_DIGITS = 12

Kind = Literal["plain", "tls", "slow"]
Arrived = Callable[[int, int, bool], None]
"""Told of each message: the event's number, the receiver's place (the number in its path), and whether it is signed."""


class Ports(msgspec.Struct, frozen=True):
    """Where the receivers of each kind listen, on every address."""

    plain: int
    tls: int
    slow: int

    def url(self, kind: Kind, place: int, addresses: int = 20) -> str:
        """The URL of a receiver; places share that many addresses."""
        scheme = "https" if kind == "tls" else "http"
        port: int = getattr(self, kind)
        return f"{scheme}://{ADDRESSES[place % addresses]}:{port}/{place}"


class Receiver(Framed):
    """Answers 204 to whatever comes and reports the events' numbers found in it."""

    def __init__(self, arrived: Arrived, delay_seconds: float = 0) -> None:
        super().__init__()
        self._arrived = arrived
        self._delay_seconds = delay_seconds

    def received(self, message: bytes) -> None:
        if self._delay_seconds:
            asyncio.get_running_loop().call_later(self._delay_seconds, self._answer)
        else:
            self._answer()
        at = message.find(MARK)
        if at >= 0:  # events about the notifiers themselves carry no mark
            start = at + len(MARK)
            place = message[6 : message.find(b" ", 6)]  # of `POST /17 HTTP/1.1`
            is_signed = b"webhook-signature:" in message[:at].lower()
            self._arrived(int(message[start : start + MARK_DIGITS]), int(place or b"0"), is_signed)

    def _answer(self) -> None:
        self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def make_certificates(folder: Path) -> Path:
    """An authority and a certificate for every address, in that folder; the authority's file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert(*ADDRESSES).private_key_and_cert_chain_pem.write_to_path(folder / "receivers.pem")
    return folder / "authority.pem"


async def listen(certificates: Path | None, arrived: Arrived) -> Ports:
    """Receivers of every kind on every address; over TLS only where there are certificates."""
    context = None
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "receivers.pem")
    return Ports(
        plain=await _listen(lambda: Receiver(arrived), None),
        tls=await _listen(lambda: Receiver(arrived), context) if context else 0,
        slow=await _listen(lambda: Receiver(arrived, SLOW_SECONDS), None),
    )


async def _listen(protocol: Callable[[], Receiver], context: ssl.SSLContext | None) -> int:
    loop = asyncio.get_running_loop()
    port = 0
    for address in ADDRESSES:
        server = await loop.create_server(protocol, address, port, ssl=context, backlog=256)
        port = server.sockets[0].getsockname()[1]
    return port
