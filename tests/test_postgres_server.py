"""What the tests of faults stand on: a PostgreSQL that comes and goes, a pooler, and a proxy that fails on demand."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.postgres import OLDEST, PgBouncer, PostgresServer, installed
from tests.proxy import Moment, Proxy


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[Proxy]:
    async with Proxy.started(postgres.port) as proxy:
        yield proxy


@pytest.fixture
async def direct(postgres_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection past the proxy, to a database with one empty table."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE note (number int)")
    yield connection
    await connection.close()


@pytest.fixture
def database(postgres_url: str) -> str:
    return postgres_url.rpartition("/")[2]


async def notes(direct: "asyncpg.Connection[asyncpg.Record]") -> list[int]:
    return [row["number"] for row in await direct.fetch("SELECT number FROM note ORDER BY number")]


async def add_note(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO note VALUES ($1)", number)


async def lost(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
        await add_note(connection, number)
    connection.terminate()


def test_the_server_is_durable_and_new_enough(postgres: PostgresServer) -> None:
    assert postgres.run("SHOW fsync") == "on"
    assert postgres.run("SHOW synchronous_commit") == "on"
    assert int(postgres.run("SHOW server_version_num")) >= OLDEST * 10000


@pytest.mark.skipif(installed() is None, reason="the package's PostgreSQL is what all tests run on here")
def test_the_package_s_server_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_TEST_POSTGRES", "package")
    with PostgresServer.started() as server:
        assert server.programs != installed()
        assert server.run("SELECT 6 * 7") == "42"


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_what_was_committed_outlives_any_end(postgres: PostgresServer, postgres_url: str, how: str) -> None:
    database = postgres_url.rpartition("/")[2]
    postgres.run("CREATE TABLE note AS SELECT 1 AS number", database)
    pid = postgres.pid
    if how == "kill":
        postgres.kill()
    else:
        postgres.stop("fast" if how == "fast" else "immediate")
    assert not postgres.is_running
    postgres.start()
    assert postgres.pid != pid
    assert postgres.run("SELECT number FROM note", database) == "1"


def test_a_database_can_be_copied(postgres: PostgresServer) -> None:
    postgres.add_database("original")
    postgres.run("CREATE TABLE note AS SELECT 7 AS number", "original")
    postgres.add_database("copy", template="original")
    assert postgres.run("SELECT number FROM note", "copy") == "7"
    for name in ("original", "copy"):
        postgres.remove_database(name)


def test_the_server_does_not_outlive_the_tests(tmp_path: Path) -> None:
    program = (
        "from tests.postgres import PostgresServer\n"
        "with PostgresServer.started() as server:\n"
        "    print(server.folder, server.pid, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    ) as tests:
        assert tests.stdout is not None
        folder, pid = tests.stdout.readline().decode().split()
        postmaster = os.pidfd_open(int(pid))
        tests.send_signal(signal.SIGKILL)
    try:
        asyncio.run(_readable(postmaster))  # a pidfd becomes readable when its process ends
    finally:
        os.close(postmaster)
        subprocess.run(["rm", "-r", folder], check=True)


async def _readable(descriptor: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    async with asyncio.timeout(10):
        await ended.wait()


async def test_the_pooler_shares_connections_between_transactions(pgbouncer: PgBouncer, database: str) -> None:
    connections = [await asyncpg.connect(pgbouncer.url(database), statement_cache_size=0) for _ in range(3)]
    pids = {await connection.fetchval("SELECT pg_backend_pid()") for connection in connections}
    assert len(pids) == 1
    for connection in connections:
        await connection.close()


async def test_the_proxy_is_not_noticed(
    proxy: Proxy, database: str, direct: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    connection = await asyncpg.connect(proxy.url(database))
    await add_note(connection, 1)
    await add_note(connection, 2)
    assert proxy.statements[-3:] == ["BEGIN;", "INSERT INTO note VALUES ($1)", "COMMIT;"]
    assert await notes(direct) == [1, 2]
    assert proxy.connections == 1
    await connection.close()


async def test_a_cut_connection_is_reset_and_a_new_one_works(
    proxy: Proxy, database: str, direct: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    connection = await asyncpg.connect(proxy.url(database))
    proxy.cut()
    await lost(connection, 1)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(proxy.url(database))
    await proxy.accept()
    connection = await asyncpg.connect(proxy.url(database))
    await add_note(connection, 2)
    assert await notes(direct) == [2]
    await connection.close()


async def test_nothing_passes_a_stalled_proxy_until_it_resumes(
    proxy: Proxy, database: str, direct: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    connection = await asyncpg.connect(proxy.url(database))
    proxy.stall()
    adding = asyncio.create_task(add_note(connection, 1))
    await direct.execute("SELECT pg_sleep(0.05)")
    assert not adding.done()
    assert await notes(direct) == []
    proxy.resume()
    await adding
    assert await notes(direct) == [1]
    await connection.close()


@pytest.mark.parametrize(
    ("moment", "is_committed"), [(Moment.UNSENT, False), (Moment.UNANSWERED, True), (Moment.ANSWERED, True)]
)
async def test_a_connection_drops_around_the_chosen_commit(
    proxy: Proxy,
    database: str,
    direct: "asyncpg.Connection[asyncpg.Record]",
    moment: Moment,
    *,
    is_committed: bool,
) -> None:
    connection = await asyncpg.connect(proxy.url(database))
    drop = proxy.drop(moment, "^COMMIT", nth=2)
    await add_note(connection, 1)
    if moment is Moment.ANSWERED:
        await add_note(connection, 2)
    else:
        await lost(connection, 2)
    assert drop.happened.is_set()
    assert await notes(direct) == ([1, 2] if is_committed else [1])
    connection.terminate()


@pytest.mark.parametrize(("moment", "numbers"), [(Moment.UNSENT, [1]), (Moment.UNANSWERED, [1, 2])])
async def test_a_connection_drops_at_a_prepared_statement(
    proxy: Proxy, database: str, direct: "asyncpg.Connection[asyncpg.Record]", moment: Moment, numbers: list[int]
) -> None:
    connection = await asyncpg.connect(proxy.url(database))
    drop = proxy.drop(moment, "INSERT INTO note", nth=2)
    await connection.execute("INSERT INTO note VALUES ($1)", 1)
    with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
        await connection.execute("INSERT INTO note VALUES ($1)", 2)
    assert drop.happened.is_set()
    assert await notes(direct) == numbers
    connection.terminate()
