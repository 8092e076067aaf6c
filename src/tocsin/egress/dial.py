"""Opening connections: the only place that connects a socket, to addresses that were checked a line before."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial

from tocsin.egress.addresses import AddressPolicy, Destination
from tocsin.egress.connection import Connection
from tocsin.egress.ranges import is_own, read_address
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Reason

_MAX_ADDRESSES = 8


def blocked() -> PermanentFailure:
    return PermanentFailure(
        Reason.EGRESS_BLOCKED, "the host is not at a public address; the operator can allow it in TOCSIN_EGRESS_ALLOW"
    )


class Dialler:
    """Connects to the first address that answers, and speaks TLS where the URL says so."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        ssl_context: ssl.SSLContext,
        on_free: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._policy = policy
        self._ssl_context = ssl_context
        self._on_free = on_free
        self._on_lost = on_lost

    async def dial(
        self, destination: Destination, addresses: tuple[str, ...], *, deadline_seconds: float
    ) -> Connection:
        """Raises PermanentFailure(egress_blocked) or TemporaryFailure(unreachable). The caller keeps the deadline."""
        allowed = [address for address in addresses if self._may_dial(address, destination)][:_MAX_ADDRESSES]
        if not allowed:
            raise blocked()
        problem: OSError | None = None
        for place, address in enumerate(allowed):
            try:
                opened = await self._connect(address, destination.port, deadline_seconds, len(allowed) - place)
            except OSError as error:
                problem = error
                continue
            return await self._start(opened, address, destination)
        raise TemporaryFailure(Reason.UNREACHABLE, f"could not connect: {_describe(problem)}") from problem

    def _may_dial(self, address: str, destination: Destination) -> bool:
        if not self._policy.allows(address, destination.port, destination.host):
            return False
        found = read_address(address)
        is_named = self._policy.names(address, destination.port, destination.host)
        return is_named or (found is not None and not is_own(found))

    async def _connect(self, address: str, port: int, deadline_seconds: float, addresses_left: int) -> socket.socket:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            opened.setblocking(False)
            # An address that does not answer leaves a share of the time to the ones after it.
            share_seconds = (deadline_seconds - loop.time()) / addresses_left if addresses_left > 1 else None
            async with asyncio.timeout(share_seconds):
                await loop.sock_connect(opened, (address, port))
            _check_peer(opened, address, port)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _start(self, opened: socket.socket, address: str, destination: Destination) -> Connection:
        loop = asyncio.get_running_loop()
        key = (destination.scheme, destination.host, address, destination.port)
        make = partial(Connection, key=key, opened_socket=opened, on_free=self._on_free, on_lost=self._on_lost)
        try:
            if destination.scheme == "http":
                _, connection = await loop.create_connection(make, sock=opened)
            else:
                _, connection = await loop.create_connection(
                    make, sock=opened, ssl=self._ssl_context, server_hostname=destination.host
                )
        except BaseException as error:
            opened.close()
            if isinstance(error, OSError | UnicodeError):
                what = "TLS failed" if destination.scheme == "https" else "could not connect"
                raise TemporaryFailure(Reason.UNREACHABLE, f"{what}: {_describe(error)}") from error
            raise
        return connection


def _check_peer(opened: socket.socket, address: str, port: int) -> None:
    """The socket's own word on where it is connected, before the first byte is written."""
    host, peer_port, *_ = opened.getpeername()
    if read_address(host) != read_address(address) or peer_port != port:
        raise blocked()


def _describe(error: Exception | None) -> str:
    """The error in words, without the address that the system's own message may hold."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return (error.reason or "handshake failure").lower().replace("_", " ")
        case TimeoutError():
            return "no answer"
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            return "the connection was closed"
