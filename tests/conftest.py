"""What tests in every folder may ask for."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.postgres import PgBouncer, PostgresServer


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
