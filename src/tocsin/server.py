"""A process that serves: HTTP in front, the worker and upkeep beside it, drained in order on a stop."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import cast
from wsgiref.simple_server import WSGIServer

import structlog
import uvicorn
import uvloop
from prometheus_client import start_http_server

from tocsin.api.listener import MAX_CONNECTIONS, Listener
from tocsin.control import Control, is_answered, socket_path
from tocsin.errors import ConfigError, StoreError, TocsinError
from tocsin.operator import Operator
from tocsin.settings import Role, Settings, origin
from tocsin.store.health import check_store
from tocsin.store.port import Store
from tocsin.store.sqlite import DatabaseInUse
from tocsin.store.sqlite.database import database_path
from tocsin.wiring import Running, build

KEEP_ALIVE_SECONDS = 75
REQUEST_PATIENCE_SECONDS = 10
BACKLOG = 2048
DATABASE_PATIENCE_SECONDS = 10.0
DATABASE_PAUSE_SECONDS = 0.1

OPEN_FILES = 16_384
"""Sockets and files that a process may have open, if the machine lets it: clients, receivers, the database."""

# Python looks for cycles among young objects after every 700 of them. Here a few thousand live for some milliseconds
# at any time, none of them in cycles: looking less often costs a fifth less CPU for an accepted event.
YOUNG_OBJECTS = 10_000

LOG = structlog.get_logger("tocsin.server")

Beside = Callable[[Running, str], Awaitable[None]]
"""Something that runs beside the server, from when it takes requests until it stops; gets the parts and the URL."""


class CannotListen(ConfigError):
    """The address or the port cannot be listened on."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process by the signal instead of with 0."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_listening.set()


def run(settings: Settings, *, host: str, port: int, role: Role = Role.ALL, beside: Beside | None = None) -> None:
    """Serve in the foreground, as `serve` does."""
    uvloop.run(serve(settings, host=host, port=port, role=role, beside=beside))


async def serve(
    settings: Settings, *, host: str, port: int, role: Role = Role.ALL, beside: Beside | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal ends the process at once.

    Port 0 takes any that is free. Raises ConfigError, CannotListen and DatabaseInUse among them, and StoreError for a
    database that stays out of reach.
    """
    if role is not Role.ALL and settings.is_on_sqlite:
        raise ConfigError(
            f"--role {role} comes with PostgreSQL: on SQLite one process does everything, so leave --role away"
        )
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    raise_file_limit()
    with contextlib.closing(_bind(host, port)) as listening:
        port = listening.getsockname()[1]
        public_url = settings.public_url or origin(host, port)
        running = await _open(settings, public_url, stopping, role)
        _spare_collector()
        try:
            async with _control(running, public_url), _metrics(running):
                LOG.info("server.started", host=host, port=port, role=role.value, database=running.store.place)
                company = partial(beside, running, origin(host, port)) if beside else None
                await _serve(running, listening, stopping, company)
        finally:
            await running.close()
    LOG.info("server.stopped")


async def _open(settings: Settings, public_url: str, stopping: asyncio.Event, role: Role) -> Running:
    """Put the parts together. A database that an operator's command has, or that just starts, is waited for."""
    waited_seconds = 0.0
    while True:
        try:
            return await build(settings, public_url=public_url, role=role)
        except (DatabaseInUse, StoreError) as error:
            is_served = (
                waited_seconds == 0 and isinstance(error, DatabaseInUse) and await is_answered(_socket(settings))
            )
            if is_served or stopping.is_set() or waited_seconds >= DATABASE_PATIENCE_SECONDS:
                raise
            if waited_seconds == 0:
                LOG.info("server.awaits_database", cause=error.message)
        await asyncio.sleep(DATABASE_PAUSE_SECONDS)
        waited_seconds += DATABASE_PAUSE_SECONDS


def raise_file_limit() -> None:
    """Let the process open as many files as it may need: many systems begin with 1,024, and allow far more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """How many clients may be connected: half of the files at most, for the others are receivers and the database."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


def _socket(settings: Settings) -> Path:
    return socket_path(database_path(settings.database_url))


def _spare_collector() -> None:
    """What was made until now lives as long as the process: no collection needs to look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


async def _serve(
    running: Running,
    listening: socket.socket,
    stopping: asyncio.Event,
    beside: Callable[[], Awaitable[None]] | None,
) -> None:
    server = _Server(_config(running))
    answering = asyncio.create_task(server.serve(sockets=[listening]))
    work = asyncio.create_task(running.run())
    company = asyncio.create_task(_accompany(server, beside))
    stop = asyncio.create_task(stopping.wait())
    # Whatever ends by itself ends the others: half a server is worse than one that is started again.
    await asyncio.wait({answering, work, company, stop}, return_when=asyncio.FIRST_COMPLETED)
    company.cancel()
    server.should_exit = True
    running.streams.close()
    await asyncio.wait({answering, company})
    await running.drain()
    work.cancel()
    stop.cancel()
    for result in await asyncio.gather(answering, work, company, stop, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            if not isinstance(result, TocsinError):
                LOG.error("server.failed", exc_info=result)
            raise result


async def _accompany(server: _Server, beside: Callable[[], Awaitable[None]] | None) -> None:
    await server.is_listening.wait()
    if beside is not None:
        await beside()
    await asyncio.Event().wait()


def _stop_on_signals(stopping: asyncio.Event) -> None:
    def stop(number: int) -> None:
        if stopping.is_set():
            # Whoever signals twice does not want to wait; what was accepted is safe in the database.
            os._exit(128 + number)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _bind(host: str, port: int) -> socket.socket:
    """Take the port, so that a taken one is known before anything is opened. Raises CannotListen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise CannotListen(f"--host {host} is not an address to listen on") from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        # Only a listening socket keeps others away for certain (SO_REUSEADDR).
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise CannotListen(f"cannot listen on {host}, port {port}: {error.strerror}; --port chooses another") from error
    return listening


@contextlib.asynccontextmanager
async def _control(running: Running, public_url: str) -> AsyncIterator[None]:
    """Take operators' commands meanwhile, where they cannot open the database themselves."""
    if not running.settings.is_on_sqlite:
        yield
        return
    operator = Operator(running.verbs, public_url=public_url, check=partial(_check, running.store))
    control = Control(_socket(running.settings), operator.answer)
    try:
        await control.start()
    except OSError as error:
        LOG.warning("control.not_served", path=str(control.path), error=error.strerror or str(error))
    try:
        yield
    finally:
        await control.stop()


async def _check(store: Store) -> Mapping[str, str]:
    """What an operator should know: whether it can serve, and whether what it accepts survives a power cut."""
    problem = await store.check_durability()
    return {**await check_store(store), **({"durability": problem} if problem else {})}


@contextlib.asynccontextmanager
async def _metrics(running: Running) -> AsyncIterator[None]:
    """Serve metrics meanwhile, on a listener of their own. A taken port is a warning: it must not stop deliveries."""
    server: WSGIServer | None = None
    listen = running.settings.metrics_listen
    if listen is not None:
        host, port = listen
        try:
            server, _ = start_http_server(port, host, registry=running.metrics.registry)
        except OSError as error:
            LOG.warning(
                "metrics.not_served", listen=f"{host}:{port}", error=error.strerror, setting="TOCSIN_METRICS_LISTEN"
            )
    try:
        yield
    finally:
        if server is not None:
            await asyncio.to_thread(server.shutdown)
            server.server_close()


def _config(running: Running) -> uvicorn.Config:
    return uvicorn.Config(
        running.api,
        loop="none",
        http=cast("type[asyncio.Protocol]", partial(Listener, max_connections=max_connections())),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=REQUEST_PATIENCE_SECONDS,
    )
