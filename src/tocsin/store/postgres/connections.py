"""Connections to PostgreSQL: how they are opened, what each may wait for, and which errors mean what."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import asyncpg
import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin.errors import ConfigError, NoRoom, StoreError
from tocsin.sealing import Sealer
from tocsin.store.sealed import OPTION

T = TypeVar("T")


class Connection(Protocol):
    """What is used of asyncpg's connection, which has no types of its own."""

    async def fetch(self, query: str, *values: object) -> list[Any]: ...
    async def fetchval(self, query: str, *values: object) -> Any: ...
    async def execute(self, query: str, *values: object) -> str: ...
    async def add_listener(self, channel: str, heard: Callable[..., None]) -> None: ...
    def add_termination_listener(self, ended: Callable[..., None]) -> None: ...
    def get_server_pid(self) -> int: ...
    def get_server_version(self) -> Any: ...
    def is_in_transaction(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self) -> None: ...


OLDEST_VERSION = 15

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 10.0
"""How long a statement may take as seen from here: longer than the database allows it, so that this means that the
database cannot be reached."""

# What a statement and a transaction may take on the database's side: whoever hangs must not keep the others waiting.
LIMITS = {
    "statement_timeout": "5s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}

# The plans of hot statements are kept, and made while tables are empty or hold much that is dead: what is right for
# ten rows then stays when there are thousands. Measured: settlements that took 4 s, each holding up the next.
BY_INDEX = {"enable_seqscan": "off"}

# Classes of SQLSTATE that tell of the database's condition and not of what was asked
# (https://www.postgresql.org/docs/current/errcodes-appendix.html): connections, read-only, resources, not ready,
# operator's intervention, system.
_UNAVAILABLE = ("08", "25", "28", "3D", "53", "55", "57", "58", "XX")

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises when a connection is of no more use. Among it what it calls an error of its own: it has been
told that the server takes leave, and not yet that the connection is closed."""

_TO_REPEAT = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where the database is.

    `is_pooled` says that a pooler stands before it, which hands each transaction to any of its own connections: then
    nothing may be left behind on one.
    """

    url: str
    is_pooled: bool = False

    def __repr__(self) -> str:
        return "Address(...)"  # a password may be in it

    def __str__(self) -> str:
        """The address without user, password and options, for logs and messages."""
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def connect(address: Address, settings: Mapping[str, str] = LIMITS) -> Connection:
    """Open a connection with these settings, unless there is a pooler. Raises what asyncpg raises."""
    own = {} if address.is_pooled else settings
    connection = await asyncpg.connect(
        address.url,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        statement_cache_size=0 if address.is_pooled else 100,
        server_settings={"application_name": "tocsin", **own},
    )
    return cast("Connection", connection)


def limit_statements(address: Address, settings: Mapping[str, str] = LIMITS) -> list[str]:
    """What a transaction begins with, so that its time is limited; nothing where the connection has the settings."""
    return [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()] if address.is_pooled else []


def engine_over(address: Address, sealer: Sealer | None = None, *, size: int) -> AsyncEngine:
    """A SQLAlchemy engine with a pool of so many connections.

    Without a sealer nothing that is sealed can be read or written.
    """
    caching: dict[str, Any] = {}
    if address.is_pooled:
        caching = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args={"async_creator_fn": lambda *_, **__: connect(address), **caching},
        pool_size=size,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_use_lifo=True,
        hide_parameters=True,
        execution_options={OPTION: sealer},
    )


def driver_error(error: BaseException) -> BaseException:
    """What the driver raised, beneath what SQLAlchemy made of it."""
    if isinstance(error, sa.exc.DBAPIError):
        original = error.orig
        return (original.__cause__ or original) if original is not None else error
    return error


def is_to_repeat(error: BaseException) -> bool:
    """Whether the transaction was undone only because it met another."""
    return isinstance(driver_error(error), _TO_REPEAT)


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that what was being committed may or may not have been."""
    error = driver_error(error)
    if isinstance(error, asyncpg.PostgresError):
        return bool(error.sqlstate) and error.sqlstate[:2] in {"08", "57"} and error.sqlstate != "57014"
    # A value that does not fit its parameter is an InterfaceError too, and a ValueError.
    is_misfit = isinstance(error, ValueError)
    return isinstance(error, BROKEN) and not is_misfit


def as_store_error(error: BaseException) -> BaseException:
    """Translate what tells of the database's condition; leave bugs and domain errors as they are."""
    cause = driver_error(error)
    is_condition = is_lost(cause) or is_to_repeat(cause)
    if isinstance(cause, asyncpg.PostgresError):
        is_condition |= (cause.sqlstate or "")[:2] in _UNAVAILABLE
    if not is_condition and not isinstance(error, sa.exc.TimeoutError):
        return error
    is_full = isinstance(cause, asyncpg.DiskFullError)
    translated = NoRoom() if is_full else StoreError(f"the database cannot answer: {_sentence(cause)}")
    translated.__cause__ = error
    return translated


def _sentence(error: BaseException) -> str:
    if isinstance(error, asyncpg.PostgresError):
        return str(error.args[0] if error.args else type(error).__name__)
    if isinstance(error, TimeoutError | sa.exc.TimeoutError):
        return "it took too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class Link:
    """One connection for one kind of hot statement, opened when it is needed and again when it was lost."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._settings = LIMITS | BY_INDEX
        self._begin = "; ".join(["BEGIN", *limit_statements(address, self._settings)])

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._address, self._settings)
        return self._connection

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, is_one_statement: bool = False) -> T:
        """Carry work out in a transaction. One statement by itself is one, except through a pooler."""
        async with self._turn:
            connection = await self._open()
            try:
                if is_one_statement and not self._address.is_pooled:
                    return await work(connection)
                await connection.execute(self._begin)
                result = await work(connection)
                await connection.execute("COMMIT")
            except BaseException as error:
                await self._clean_up(connection, error)
                raise
        return result

    async def _clean_up(self, connection: Connection, error: BaseException) -> None:
        """Make the connection ready for the next; without it when its state is not known."""
        is_known = isinstance(error, Exception) and not is_lost(error)
        try:
            if is_known and connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except BROKEN:
            is_known = False
        if not is_known:
            self.drop()

    def drop(self) -> None:
        """Let go of the connection without a word to the other end."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def check_settings(connection: Connection) -> None:
    """Raises ConfigError for a database that is too old, or whose commits would not survive a power cut."""
    version = connection.get_server_version()
    if version.major < OLDEST_VERSION:
        raise ConfigError(f"PostgreSQL {version.major} is too old: Tocsin needs {OLDEST_VERSION} or newer")
    problem = await find_loose_setting(connection)
    if problem is not None:
        raise ConfigError(problem)


async def find_loose_setting(connection: Connection) -> str | None:
    """The sentence about a setting under which commits do not survive a power cut, or None."""
    for name in ("fsync", "synchronous_commit"):
        if await connection.fetchval(f"SHOW {name}") == "off":
            return (
                f"PostgreSQL's setting {name} is off: accepted events would be lost in a power cut. "
                f"Set {name} = on (in postgresql.conf, or for the role or the database that Tocsin uses)"
            )
    return None


async def try_to_connect(address: Address, setting: str) -> Connection:
    """Open a connection at start-up.

    Raises StoreError while the database is not there, ConfigError when it never will be.
    """
    try:
        return await connect(address)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise ConfigError(f"{setting}: {_sentence(error)}") from error
    except ValueError:
        raise ConfigError(f"{setting} is not a PostgreSQL address") from None
    except BROKEN as error:
        raise StoreError(f"cannot reach {address}: {_sentence(error)}") from error
