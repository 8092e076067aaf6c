"""A name server that fails in the ways that name servers do (RFC 1035), over UDP and TCP."""

import asyncio
import errno
import os
import secrets
import shutil
import socket
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import msgspec

SERVER_FAILURE, NO_SUCH_NAME = 2, 3
PORT = 53  # resolv.conf has no word for another

_A, _CNAME, _AAAA = 1, 5, 28
_FAMILIES = {_A: socket.AF_INET, _AAAA: socket.AF_INET6}
_CLASS_IN = 1
_QUESTION = 0xC00C  # a pointer to the name that was asked for
_RESPONSE, _TRUNCATED = 0x8180, 0x0200  # an answer, recursion asked for and available
_MAX_UDP_BYTES = 512  # RFC 1035 4.2.1; nobody who asks here offers more
_MAX_ALIASES = 8
_MAX_TRIES = 8


class Name(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one name: addresses, one set a question in turn, or an error, late, or never.

    Of a set a question gets the addresses of its kind, IPv4 or IPv6.
    """

    addresses: tuple[tuple[str, ...], ...] = ()
    ttl_seconds: int = 60
    code: int = 0
    alias: str = ""
    after_seconds: float = 0
    is_silent: bool = False
    is_cut: bool = False
    """Always too long for UDP."""


class NameServer:
    """Answers for the names it was given, and that there are no others; use as an async context manager."""

    def __init__(self, names: Mapping[str, Name], *, host: str = "") -> None:
        """Without a `host` it takes an address of 127.53.0.0/16 to itself: several may run at once."""
        self.names = dict(names)
        self.host = host
        self.asked: Counter[str] = Counter()
        """How often a name's address was asked for."""
        self._turns: Counter[tuple[str, int]] = Counter()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        given = self.host
        for last in range(_MAX_TRIES, 0, -1):
            self.host = given or f"127.53.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
            try:
                self._server = await asyncio.start_server(self._converse, self.host, PORT)
                break
            except OSError as error:
                if given or error.errno != errno.EADDRINUSE or last == 1:
                    raise
        address = (self.host, PORT)
        self._datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._datagrams.close()
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    def reply(self, query: bytes, *, is_datagram: bool) -> tuple[float, bytes]:
        """After how many seconds what is said to a question; nothing at all is said with no bytes."""
        name, kind, end = _read_question(query)
        known = self.names.get(name, Name(code=NO_SUCH_NAME))
        if known.is_silent:
            self.asked[name] += kind == _A
            return 0, b""
        records = list(self._records(name, kind)) if not known.code else []
        self.asked[name] += kind == _A
        said = query[12:end] + b"".join(records)
        is_cut = is_datagram and (known.is_cut or len(said) + 12 > _MAX_UDP_BYTES)
        flags = _RESPONSE | known.code | (_TRUNCATED if is_cut else 0)
        head = struct.pack("!2sHHHHH", query[:2], flags, 1, 0 if is_cut else len(records), 0, 0)
        return known.after_seconds, head + (query[12:end] if is_cut else said)

    def _records(self, name: str, kind: int) -> Iterator[bytes]:
        """The aliases on the way, and the addresses at its end."""
        owner = struct.pack("!H", _QUESTION)
        for _ in range(_MAX_ALIASES):
            known = self.names.get(name)
            if known is None:
                return
            if not known.alias:
                break
            yield _record(owner, _CNAME, known.ttl_seconds, _write_name(known.alias))
            owner, name = _write_name(known.alias), known.alias
        else:
            return
        if kind in _FAMILIES and known.addresses:
            turn = self._turns[name, kind]
            self._turns[name, kind] += 1
            for address in known.addresses[turn % len(known.addresses)]:
                if (":" in address) == (kind == _AAAA):
                    yield _record(owner, kind, known.ttl_seconds, socket.inet_pton(_FAMILIES[kind], address))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                after_seconds, said = self.reply(await reader.readexactly(length), is_datagram=False)
                await asyncio.sleep(after_seconds)
                if said:
                    writer.write(struct.pack("!H", len(said)) + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever asked has had enough
        finally:
            self._open.discard(writer)
            writer.transport.abort()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        after_seconds, said = self._server.reply(data, is_datagram=True)
        if said:
            asyncio.get_running_loop().call_later(after_seconds, self._send, said, addr)

    def _send(self, said: bytes, address: tuple[str, int]) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(said, address)


def _read_question(query: bytes) -> tuple[str, int, int]:
    """The name that is asked for in lower case, the type of record, and where the question ends."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
    kind, _ = struct.unpack("!HH", query[at + 1 : at + 5])
    return ".".join(labels), kind, at + 5


def _write_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _record(owner: bytes, kind: int, ttl_seconds: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, _CLASS_IN, ttl_seconds, len(data)) + data


def missing() -> str:
    """Why this cannot be used here; nothing when it can."""
    if os.geteuid() != 0:
        return "only root can listen on port 53 and give a program another resolv.conf"
    return "" if shutil.which("unshare") else "unshare is not installed"


@contextmanager
def asking(host: str) -> Iterator[tuple[str, ...]]:
    """The beginning of a command line: what it runs asks the name server of this address alone."""
    with tempfile.NamedTemporaryFile("w", prefix="tocsin-resolv-", suffix=".conf") as file:
        file.write(f"nameserver {host}\n")
        file.flush()
        Path(file.name).chmod(0o644)
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        yield ("unshare", "--mount", "--propagation", "private", "sh", "-c", mount, file.name)
