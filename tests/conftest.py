"""What tests in every folder may ask for: a PostgreSQL, databases on it, a pooler before it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.canaries import PATTERN, pytest_runtest_makereport, watch_sealing  # noqa: F401 - pytest finds the hook here
from tests.line import migrated
from tests.postgres import PgBouncer, PostgresServer
from tests.processes import Installation
from tests.sealer import SEALER
from tocsin.catalogue import Catalogue
from tocsin.clock import SystemClock
from tocsin.dispatch import Dispatcher
from tocsin.health import Health
from tocsin.store.migrate import newest_revision
from tocsin.store.postgres import open_postgres
from tocsin.store.schema import metadata

watch_sealing()
# Everything, and tracebacks as a server writes them: those of Rich show local variables.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", derandomize=False, deadline=None, max_examples=2000)
settings.load_profile("steady")

EMPTY = """
TRUNCATE users, idempotency_keys, deliveries, finished_deliveries, attempts, events, fanouts, audit_entries, tallies
  CASCADE;
UPDATE audit_head SET number = 0, digest = decode(repeat('00', 32), 'hex')"""
"""Takes everything out of Tocsin's tables."""

LEAKS = " UNION ALL ".join(
    f"SELECT '{table.name}' FROM {table.name} AS it WHERE it::text ~ '{PATTERN}'"  # noqa: S608 - names of our tables
    for table in metadata.sorted_tables
)
"""Names a table for each row in which a signing secret or a token stands as it is."""


@dataclass
class Place:
    """A database with a user in it, alice, and her token."""

    name: str
    url: str
    token: str


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables already: most of what opening a new one costs."""
    path = tmp_path_factory.mktemp("template") / "tocsin.db"
    path.write_bytes(migrated())
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of this test process: who stops it starts it again."""
    with PostgresServer.started() as server:
        yield server


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{number}" for number in count(1))


@pytest.fixture
def postgres_url(postgres: PostgresServer, database_names: Iterator[str]) -> Iterator[str]:
    """An empty database of this test's own."""
    name = next(database_names)
    yield postgres.add_database(name)
    postgres.remove_database(name)


@pytest.fixture(scope="session")
def template(postgres: PostgresServer, tables: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What `place` is a copy of: operators' commands take a second or two each."""
    url = postgres.add_database("template", template=tables)
    installation = Installation(tmp_path_factory.mktemp("template"), database_url=url)
    return Place("template", url, installation.add_user())


@pytest.fixture
def postgres_place(postgres: PostgresServer, template: Place, database_names: Iterator[str]) -> Iterator[Place]:
    """A database of this test's own, with a user."""
    name = next(database_names)
    yield Place(name, postgres.add_database(name, template=template.name), template.token)
    if not postgres.is_running:
        postgres.start()  # a test broke off while it was down
    postgres.remove_database(name)


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """A pooler in front of every database of `postgres`."""
    if not PgBouncer.is_installed():
        pytest.skip("pgbouncer is not installed: nothing is tested through a pooler")
    with PgBouncer.started(postgres) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def tables(postgres: PostgresServer) -> str:
    """A database with its tables, by name: for copies alone, so that nothing is ever in it.

    Making them is most of what opening a new one costs.
    """
    url = postgres.add_database("tables")
    with ThreadPoolExecutor(1) as beside:  # in this thread a browser's event loop may be running
        beside.submit(lambda: asyncio.run(_migrate(url))).result()
    return "tables"


async def _migrate(url: str) -> None:
    dispatch = Dispatcher(
        catalogue=Catalogue.load(),
        platforms={},
        ready=frozenset(),
        slots=None,
        health=Health(clock=SystemClock()),
        lease_seconds=45,
    )
    store = await open_postgres(url, clock=SystemClock(), dispatch=dispatch, sealer=SEALER, pool_size=1)
    await store.close()


@pytest.fixture(scope="session")
def shared_url(postgres: PostgresServer, tables: str) -> str:
    """A database that one test after the other works in, and leaves as it may."""
    return postgres.add_database("shared", template=tables)


@pytest.fixture
def migrated_postgres_url(shared_url: str) -> Iterator[str]:
    """A database with its tables, in which nothing is yet; emptying one costs less than a new one."""
    asyncio.run(_empty(shared_url))
    yield shared_url
    leaks = asyncio.run(_find_leaks(shared_url))
    assert not leaks, f"secrets stand in the database as they are: {leaks}"


async def _find_leaks(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(LEAKS)]
    except asyncpg.UndefinedTableError:
        return []  # a test that took tables away
    finally:
        await connection.close()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(EMPTY)
    await connection.execute("DELETE FROM alembic_version")  # a test may have put another revision there
    await connection.execute("INSERT INTO alembic_version VALUES ($1)", newest_revision())
    await connection.close()
