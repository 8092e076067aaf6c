"""Looking at a PostgreSQL database without changing it, for `tocsin doctor`."""

import asyncpg
import msgspec
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from tocsin.clock import SharedClock
from tocsin.errors import StoreError
from tocsin.store.migrate import is_current, is_newer
from tocsin.store.postgres.connections import (
    Address,
    Connection,
    as_store_error,
    engine_over,
    find_loose_setting,
    limit_statements,
    try_to_connect,
)
from tocsin.store.postgres.partitions import find_missing
from tocsin.store.postgres.signals import ask_time

CONNECTIONS_BESIDE_POOL = 4
"""What a process that does everything holds beside its pool: to store events, to claim, to settle, to listen."""

# Everybody may ask all of this: connections are counted by the statistics, which need no right to see each of them.
_QUESTION = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int / 10000 AS major,
       current_setting('server_encoding') AS encoding,
       current_setting('full_page_writes')::bool AS has_full_page_writes,
       current_setting('autovacuum')::bool AS is_vacuumed,
       current_setting('transaction_read_only')::bool AS is_read_only,
       pg_database_size(current_database()) AS size_bytes,
       (SELECT system_identifier FROM pg_control_system())::text || ' ' || oid::text AS identity,
       pg_backend_pid() AS backend,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_add_tables,
       coalesce((SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class
                  WHERE relnamespace = current_schema()::regnamespace
                    AND relname IN ('deliveries', 'finished_deliveries', 'attempts', 'events')), true) AS owns_tables,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           AS most_connections,
       (SELECT sum(numbackends) FROM pg_stat_database)::int AS connections,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS most_of_role,
       datconnlimit AS most_of_database,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tocsin')::int
           AS connections_of_tocsin
  FROM pg_database WHERE datname = current_database()"""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection is told of the server. `most_of_…` are -1 where nothing limits them."""

    version: str
    major: int
    encoding: str
    has_full_page_writes: bool
    is_vacuumed: bool
    is_read_only: bool
    size_bytes: int
    identity: str
    may_add_tables: bool
    owns_tables: bool
    most_connections: int
    connections: int
    most_of_role: int
    most_of_database: int
    connections_of_tocsin: int
    is_through_pooler: bool
    loose_setting: str | None
    clock_ahead_seconds: float

    @property
    def free_connections(self) -> int:
        free = self.most_connections - self.connections
        limits = [limit for limit in (self.most_of_role, self.most_of_database) if limit >= 0]
        return max(0, min([free, *(limit - self.connections_of_tocsin for limit in limits)]))


class SchemaFacts(msgspec.Struct, frozen=True, kw_only=True):
    is_empty: bool
    is_current: bool
    is_newer: bool
    missing_partitions: tuple[str, ...]


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`stored` is seen from where events are stored, `direct` from past a pooler."""

    stored: View
    direct: View
    schema: SchemaFacts


async def examine_database(address: Address, direct: Address, clock: SharedClock) -> DatabaseFacts:
    """Ask the database; `clock` follows it from then on.

    Raises StoreError, and ConfigError for an address that will never be reached.
    """
    stored = await _view(address, "TOCSIN_DATABASE_URL", clock)
    past = stored if direct == address else await _view(direct, "TOCSIN_DATABASE_DIRECT_URL", clock)
    engine = engine_over(direct, size=1)
    try:
        async with engine.connect() as connection:
            schema = await connection.run_sync(_look_at_schema, clock)
    except Exception as error:
        raise as_store_error(error) from error
    finally:
        await engine.dispose()
    return DatabaseFacts(stored=stored, direct=past, schema=schema)


async def _view(address: Address, setting: str, clock: SharedClock) -> View:
    try:
        connection = await try_to_connect(address, setting)
    except StoreError as error:
        if isinstance(error.__cause__, asyncpg.ProtocolViolationError) and not address.is_pooled:
            # What PgBouncer says to limits that are given at the start of a connection.
            raise StoreError(f"{error.message}: is it a pooler? TOCSIN_DATABASE_DIRECT_URL leads past it") from error
        raise
    try:
        await connection.execute("; ".join(["BEGIN", *limit_statements(address)]))
        return await _ask(connection, clock)
    except Exception as error:
        raise as_store_error(error) from error
    finally:
        await connection.close()


async def _ask(connection: Connection, clock: SharedClock) -> View:
    [row] = await connection.fetch(_QUESTION)
    loose_setting = await find_loose_setting(connection)
    asked_at = clock.local_seconds()
    told = await ask_time(connection)
    answered_at = clock.local_seconds()
    clock.follow(told, asked_at=asked_at, answered_at=answered_at)
    found = dict(row)
    # A pooler makes up the number that its clients are given for their connection.
    is_through_pooler = found.pop("backend") != connection.get_server_pid()
    return View(
        **found,
        is_through_pooler=is_through_pooler,
        loose_setting=loose_setting,
        clock_ahead_seconds=told - (asked_at + answered_at) / 2,
    )


def _look_at_schema(connection: sa.Connection, clock: SharedClock) -> SchemaFacts:
    is_now_current = is_current(connection)
    missing = find_missing(connection, clock.now()) if is_now_current else []
    return SchemaFacts(
        is_empty=MigrationContext.configure(connection).get_current_revision() is None,
        is_current=is_now_current,
        is_newer=is_newer(connection),
        missing_partitions=tuple(parted.partition(day) for parted, day in missing),
    )
