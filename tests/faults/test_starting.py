"""Several processes start at once, on a database with nothing in it or one that is not to be trusted."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.processes import TOCSIN, Installation


@pytest.fixture
def empty(postgres_url: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path, database_url=postgres_url)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_several_may_migrate_at_once(empty: Installation, postgres: PostgresServer) -> None:
    migrations = [
        subprocess.Popen([TOCSIN, "migrate"], env=empty.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for migration in migrations:
        output, problems = migration.communicate(timeout=60)
        assert migration.returncode == 0, problems.decode()
        assert output == b"the schema is current\n"
    database = empty.environment["TOCSIN_DATABASE_URL"].rpartition("/")[2]
    assert postgres.run("SELECT count(*) FROM alembic_version", database) == "1"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_servers_may_start_beside_the_migration(empty: Installation) -> None:
    processes = [empty.add_process(role, name=role) for role in ("all", "api", "worker")]
    try:
        for process in processes:
            process.launch()
        empty.run("migrate")
        for process in processes:
            process.wait_until_ready()
        assert [process.stop() for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            if process.is_running:
                process.kill()


@pytest.fixture(scope="module")
def careless() -> Iterator[PostgresServer]:
    """A server that would lose in a power cut what it has acknowledged."""
    with PostgresServer.started({"fsync": "off"}) as server:
        yield server


def refusal(url: str, folder: Path) -> str:
    """What `serve` says as it refuses to start."""
    process = Installation(folder, database_url=url).add_process("all", name="refused")
    process.launch()
    assert process.wait() == 1
    return process.log.read_text()


def test_a_server_that_does_not_sync_is_refused(careless: PostgresServer, tmp_path: Path) -> None:
    assert "fsync" in refusal(careless.url(), tmp_path)


def test_a_database_whose_commits_do_not_wait_is_refused(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    postgres.run(f'ALTER DATABASE "{postgres_url.rpartition("/")[2]}" SET synchronous_commit = off')
    assert "synchronous_commit" in refusal(postgres_url, tmp_path)
