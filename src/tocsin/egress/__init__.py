"""The only way out to the network: addresses checked where they are dialled, one deadline, caps on what is read.

Requests end in a Response or a PlatformError. Redirects are not followed, no proxy is used, and nothing but the
certificate store is taken from the environment. `mail.py` speaks SMTP to the operator's server.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable
from email.message import EmailMessage
from functools import partial
from typing import Protocol

from tocsin.clock import Clock, SystemClock
from tocsin.egress.addresses import AddressPolicy, Destination, UrlRefused, check_url
from tocsin.egress.connection import WRITE_BYTES, Connection
from tocsin.egress.deadlines import Deadlines
from tocsin.egress.dial import Dialler, blocked
from tocsin.egress.heads import HeadWriter, write_start
from tocsin.egress.pool import Pool
from tocsin.egress.resolver import Resolver, SystemResolver
from tocsin.egress.tls import client_context
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Reason, Request, Response
from tocsin.waiters import fill

__all__ = ["AddressPolicy", "Destination", "Egress", "Resolver", "SystemResolver", "UrlRefused", "check_url"]

_MAX_ROUTES = 4096


class MailSender(Protocol):
    async def send(self, message: EmailMessage, *, recipient: str) -> Response: ...

    async def aclose(self) -> None: ...


class _Route:
    """What is remembered of one URL: its parts, the constant start of its requests, and the last answer of DNS."""

    __slots__ = ("addresses", "destination", "keys", "literal", "starts")

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.literal = (destination.address,) if destination.address else None
        self.starts: dict[str, str] = {}
        self.addresses: tuple[str, ...] = ()
        self.keys: tuple[object, ...] = ()


OnEnd = Callable[[Response | BaseException], None]
"""Gets the answer to a request, or why there is none."""


class Egress:
    """Implements `tocsin.sending.Network`. Belongs to one event loop; close it with `aclose`."""

    def __init__(
        self,
        *,
        policy: AddressPolicy,
        user_agent: str,
        resolver: Resolver | None = None,
        timeout_seconds: float = 15.0,
        ssl_context: ssl.SSLContext | None = None,
        mail: MailSender | None = None,
        clock: Clock | None = None,
        idle_per_address: int = 32,
    ) -> None:
        clock = clock or SystemClock()
        self._policy = policy
        self._resolver = resolver or SystemResolver(clock=clock)
        self._timeout_seconds = timeout_seconds
        self._mail = mail
        self._heads = HeadWriter(user_agent)
        self._routes: dict[str, _Route] = {}
        self._pool = Pool(clock=clock, per_address=idle_per_address)
        self._open: set[Connection] = set()
        self._deadlines = Deadlines(timeout_seconds, self._open)
        self._loop = asyncio.get_running_loop()
        self._dialler = Dialler(
            policy=policy,
            ssl_context=ssl_context or client_context(),
            on_free=self._pool.put,
            on_lost=self._forget,
        )
        self._is_closed = False

    def begin(self, request: Request, on_end: OnEnd) -> Callable[[], object]:
        """Send one request and read the answer, its body up to 64 KiB, within one deadline.

        `on_end` gets the answer, or TemporaryFailure(timeout, unreachable, bad_response, too_large) or
        PermanentFailure(egress_blocked), never before this returns. Answers with what breaks the request off; what
        `on_end` gets after that means nothing. Raises what is known at once, such as PermanentFailure(misconfigured).
        """
        route = self._route_of(request)
        head = self._write_head(route, request)
        connection = self._take_idle(route) if len(request.body) <= WRITE_BYTES else None
        if connection is not None:
            connection.send(
                head + request.body,
                on_end,
                due_at_seconds=self._deadlines.next(),
                is_head_request=request.method == "HEAD",
            )
            return partial(connection.cancel, on_end)
        task = self._loop.create_task(self._request_slowly(route, request, head))
        task.add_done_callback(partial(_tell, on_end))
        return task.cancel

    async def request(self, request: Request, *, pieces: AsyncIterable[bytes] | None = None) -> Response:
        """As `begin`, for those who wait: what is no answer is raised.

        `pieces` is a body of unknown length, sent chunked in place of `request.body`.
        """
        if pieces is not None:
            route = self._route_of(request)
            return await self._request_slowly(route, request, self._write_head(route, request, is_chunked=True), pieces)
        waiter: asyncio.Future[Response] = self._loop.create_future()
        cancel = self.begin(request, partial(fill, waiter))
        try:
            return await waiter
        except asyncio.CancelledError:
            cancel()
            raise

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        if self._mail is None:
            raise PermanentFailure(Reason.MISCONFIGURED, "no mail server is set up: TOCSIN_SMTP_URL")
        return await self._mail.send(message, recipient=recipient)

    async def aclose(self) -> None:
        """Close every connection; requests in flight fail as unreachable."""
        self._is_closed = True
        self._deadlines.close()
        self._pool.close()
        for connection in list(self._open):
            connection.close("egress was closed")
        self._resolver.close()
        if self._mail is not None:
            await self._mail.aclose()
        await asyncio.sleep(0)  # aborted connections end in the loop's next turn

    def _route_of(self, request: Request) -> _Route:
        if self._is_closed:
            raise TemporaryFailure(Reason.UNREACHABLE, "egress is closed")
        return self._routes.get(request.url) or self._add_route(request.url)

    def _add_route(self, url: str) -> _Route:
        try:
            route = _Route(check_url(url, self._policy))
        except UrlRefused as error:
            raise PermanentFailure(Reason.EGRESS_BLOCKED, f"the URL {error}") from None
        if len(self._routes) >= _MAX_ROUTES:
            del self._routes[next(iter(self._routes))]
        self._routes[url] = route
        return route

    def _write_head(self, route: _Route, request: Request, *, is_chunked: bool = False) -> bytes:
        method = request.method
        start = route.starts.get(method)
        if start is None:
            start = route.starts[method] = write_start(route.destination, method)
        lines = self._heads.write(request.headers)
        if is_chunked:
            framing = "transfer-encoding: chunked\r\n"
        elif request.body or method not in {"GET", "HEAD"}:
            framing = f"content-length: {len(request.body)}\r\n"
        else:
            framing = ""
        return f"{start}{lines}{framing}\r\n".encode("ascii")

    def _take_idle(self, route: _Route) -> Connection | None:
        """A kept connection to an address that the name has at this moment; never waits."""
        addresses = route.literal or self._resolver.cached(route.destination.host)
        if addresses is None:
            return None
        if addresses is not route.addresses:
            self._judge(route, addresses)
        for key in route.keys:
            connection = self._pool.take(key)
            if connection is not None:
                return connection
        return None

    def _judge(self, route: _Route, addresses: tuple[str, ...]) -> None:
        destination = route.destination
        allowed = [address for address in addresses if self._policy.allows(address, destination.port, destination.host)]
        route.addresses = addresses
        route.keys = tuple((destination.scheme, destination.host, address, destination.port) for address in allowed)
        if not allowed:
            raise blocked()

    async def _request_slowly(
        self, route: _Route, request: Request, head: bytes, pieces: AsyncIterable[bytes] | None = None
    ) -> Response:
        """The way of a request that has to wait: for a name, a connection, or the receiver to take a large body."""
        deadline_seconds = self._loop.time() + self._timeout_seconds
        phase = "was not resolved"
        connection = None
        try:
            async with asyncio.timeout_at(deadline_seconds):
                addresses = route.literal or await self._resolver.resolve(route.destination.host)
                phase = "could not be connected to"
                connection = await self._connect(route, addresses, deadline_seconds)
                phase = "gave no complete answer"
                return await self._exchange(connection, request, head, pieces)
        except TimeoutError:
            message = f"the host {phase} within {self._timeout_seconds:g} s"
            response = connection.partial_answer() if connection else None
            raise TemporaryFailure(Reason.TIMEOUT, message, response=response) from None

    async def _connect(self, route: _Route, addresses: tuple[str, ...], deadline_seconds: float) -> Connection:
        self._judge(route, addresses)
        for key in route.keys:
            connection = self._pool.take(key)
            if connection is not None:
                return connection
        connection = await self._dialler.dial(route.destination, addresses, deadline_seconds=deadline_seconds)
        if self._is_closed:
            connection.abort()
        if not connection.is_open:
            raise TemporaryFailure(Reason.UNREACHABLE, "the connection was closed at once")
        self._open.add(connection)
        return connection

    async def _exchange(
        self,
        connection: Connection,
        request: Request,
        head: bytes,
        pieces: AsyncIterable[bytes] | None,
    ) -> Response:
        waiter: asyncio.Future[Response] = self._loop.create_future()
        on_end = partial(fill, waiter)
        is_whole = pieces is None and len(request.body) <= WRITE_BYTES
        try:
            connection.send(
                head + request.body if is_whole else head,
                on_end,
                is_head_request=request.method == "HEAD",
                is_whole=is_whole,
            )
            if pieces is not None:
                await _send_chunked(connection, pieces)
            elif not is_whole:
                await _send_slices(connection, request.body)
            return await waiter
        except BaseException:
            connection.cancel(on_end)
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # taken note of, so that asyncio does not report it
            raise

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._pool.discard(connection)


def _tell(on_end: OnEnd, task: asyncio.Task[Response]) -> None:
    on_end(asyncio.CancelledError() if task.cancelled() else task.exception() or task.result())


async def _send_slices(connection: Connection, body: bytes) -> None:
    view = memoryview(body)
    for start in range(0, len(view), WRITE_BYTES):
        end = start + WRITE_BYTES
        if not await connection.send_more(view[start:end], is_last=end >= len(view)):
            return


async def _send_chunked(connection: Connection, pieces: AsyncIterable[bytes]) -> None:
    async for piece in pieces:
        chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
        if piece and not await connection.send_more(chunk, is_last=False):
            return
    await connection.send_more(b"0\r\n\r\n", is_last=True)
