"""What tests in every folder may ask for."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from tests.postgres import PgBouncer, PostgresServer
from tocsin.catalogue import Catalogue
from tocsin.clock import SystemClock
from tocsin.dispatch import Dispatcher
from tocsin.store.postgres import open_postgres


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
def pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """A pooler in front of every database of `postgres`."""
    if not PgBouncer.is_installed():
        pytest.skip("pgbouncer is not installed: nothing is tested through a pooler")
    with PgBouncer.started(postgres) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The name of a database that has its tables already: most of what opening a new one costs."""
    url = postgres.add_database("template_tocsin")
    asyncio.run(_migrate(url))
    return "template_tocsin"


async def _migrate(url: str) -> None:
    dispatch = Dispatcher(catalogue=Catalogue.load(), platforms={}, ready=frozenset(), slots=None, lease_seconds=45)
    store = await open_postgres(url, clock=SystemClock(), dispatch=dispatch, pool_size=1)
    await store.close()


@pytest.fixture
def migrated_postgres_url(
    postgres: PostgresServer, postgres_template: str, database_names: Iterator[str]
) -> Iterator[str]:
    """A database of this test's own, with its tables."""
    name = next(database_names)
    yield postgres.add_database(name, template=postgres_template)
    postgres.remove_database(name)
