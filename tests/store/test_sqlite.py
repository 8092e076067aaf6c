"""What is SQLite's alone: its lock, its file, its settings, and how commits are shared."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.sealer import SEALER
from tests.store.cast import APP, FakeDispatch, Stage, add_events, delivered, insert_cast
from tocsin.clock import ManualClock
from tocsin.errors import ConfigError, StoreError
from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState
from tocsin.store import migrate as migrate_module
from tocsin.store import schema
from tocsin.store.deliveries import DeliveryFilter, list_deliveries
from tocsin.store.migrate import is_current, migrate
from tocsin.store.notifiers import list_notifiers
from tocsin.store.port import NewEvents
from tocsin.store.sealed import OPTION
from tocsin.store.sqlite import DatabaseInUse, SqliteStore, database


@pytest.fixture
def store_kind() -> str:
    return "sqlite"


def file_of(stage: Stage) -> Path:
    return cast("SqliteStore", stage.store).path


def open_at(url: str) -> SqliteStore:
    return SqliteStore(url, clock=ManualClock(), dispatch=FakeDispatch(), sealer=SEALER, busy_timeout_seconds=0.05)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The database, locked by a foreign connection."""
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN EXCLUSIVE")
        yield
        foreign.execute("ROLLBACK")


async def test_every_write_is_refused_while_the_database_is_locked_and_works_again_after(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    [claim] = await stage.claim(notifier)
    stage.dispatch.free = 1
    event = stage.event()

    def calls():
        yield stage.settle(delivered(claim, stage.clock.now()))
        yield add_events(stage.store, NewEvents(app_id=APP, events=(event,)))
        yield stage.store.claim({notifier.id: 1})
        yield stage.store.write(list_notifiers, APP)

    with locked(file_of(stage)):
        for call in calls():
            with pytest.raises(StoreError, match="locked"):
                await call
        for answer in await asyncio.gather(*calls(), return_exceptions=True):
            assert isinstance(answer, StoreError)
        assert stage.dispatch.free == 1
        # Readers see what was committed: the write-ahead log lets them.
        assert await stage.store.read(list_notifiers, APP) == [notifier]
    settled, accepted, claimed, listed = [await call for call in calls()]
    assert (settled, accepted.bodies, claimed.claims, listed) == (True, (event.body,), (), [notifier])


async def test_a_read_is_refused_while_the_file_cannot_be_opened(stage: Stage, tmp_path: Path) -> None:
    path = file_of(stage)
    hidden = path.rename(tmp_path / "hidden.db")
    path.mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        await stage.store.read(list_notifiers, APP)
    path.rmdir()
    hidden.rename(path)
    assert await stage.store.read(list_notifiers, APP) == []


async def test_a_full_disk_refuses_a_batch_and_gives_its_slots_back(stage: Stage) -> None:
    await stage.add_notifier()
    stage.dispatch.free = 5

    def allow(connection: sa.Connection, pages: int) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await stage.store.write(allow, 1)
    large = [stage.event(body=b"x" * 200_000) for _ in range(5)]
    for answer in await asyncio.gather(*(stage.ingest(event) for event in large), return_exceptions=True):
        assert isinstance(answer, StoreError)
    assert stage.dispatch.free == 5
    await stage.store.write(allow, 1_000_000)
    await stage.ingest(*large)
    assert stage.dispatch.free == 0


class TestGroupCommit:
    @contextmanager
    def commits(self, stage: Stage) -> Iterator[list[str]]:
        connection = cast("SqliteStore", stage.store)._writer._connection
        raw = cast("sqlite3.Connection", connection.connection.driver_connection)
        seen: list[str] = []
        raw.set_trace_callback(lambda statement: seen.append(statement) if statement == "COMMIT" else None)
        yield seen
        raw.set_trace_callback(None)

    async def test_requests_that_arrive_together_share_commits(self, stage: Stage) -> None:
        with self.commits(stage) as commits:
            await asyncio.gather(*(stage.ingest() for _ in range(320)))
        assert 1 <= len(commits) <= 10
        assert await stage.count(schema.events) == 320

    async def test_different_verbs_share_a_commit(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest(stage.event(), stage.event())
        [claim] = await stage.claim(notifier, 1)
        with self.commits(stage) as commits:
            await asyncio.gather(
                stage.ingest(), stage.claim(notifier), stage.deliver(claim), stage.store.write(list_notifiers, APP)
            )
        assert len(commits) == 1

    async def test_a_lone_request_is_not_delayed(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        delays: list[float] = []
        call_later = loop.call_later

        def note(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
            delays.append(delay)
            return call_later(delay, callback)

        monkeypatch.setattr(loop, "call_later", note)
        await stage.ingest()
        await stage.ingest()
        assert delays == []

    async def test_an_event_is_durable_once_it_is_answered(self, stage: Stage) -> None:
        def settings(connection: sa.Connection) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

        assert await stage.store.write(settings) == ["wal", 2, 1, 1000]


class TestOpening:
    async def test_a_second_handle_is_refused_with_the_holder_and_the_setting(self, stage: Stage) -> None:
        with pytest.raises(DatabaseInUse, match=rf"process {os.getpid()}.*TOCSIN_DATABASE_URL"):
            await stage.reopen()

    async def test_the_lock_is_released_on_closing(self, stage: Stage) -> None:
        await stage.ingest()
        await stage.store.close()
        again = await stage.reopen()
        assert await again.read(is_current)
        await again.close()

    async def test_a_missing_folder_is_made_for_the_owner_alone(self, tmp_path: Path) -> None:
        folder = tmp_path / "new" / "data"
        await open_at(f"sqlite:///{folder}/t.db").close()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "t.db").stat().st_mode) == 0o600

    async def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match=r"TOCSIN_DATABASE_URL: cannot make"):
            open_at(f"sqlite:///{tmp_path}/file/t.db")

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x"])
    async def test_a_url_without_a_file_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="TOCSIN_DATABASE_URL must name a file"):
            open_at(url)

    async def test_a_network_file_system_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "filesystem_of", lambda _: "nfs4")
        with pytest.raises(ConfigError, match=r"network file system \(nfs4\)"):
            open_at(f"sqlite:///{tmp_path}/t.db")

    async def test_the_file_system_of_a_folder_is_known(self) -> None:
        assert database.filesystem_of(Path("/proc/self")) == "proc"

    async def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "t.db"
        path.write_bytes(b"something else" * 1000)
        for _ in range(2):  # and its lock is not kept
            with pytest.raises(ConfigError, match="not a database"):
                open_at(f"sqlite:///{path}")

    async def test_a_locked_database_is_refused_and_can_be_opened_after(self, stage: Stage) -> None:
        path = file_of(stage)
        await stage.store.close()
        with locked(path), pytest.raises(ConfigError, match="locked"):
            await stage.reopen()
        await (await stage.reopen()).close()

    async def test_a_newer_schema_is_refused(self, stage: Stage) -> None:
        def tell_newer(connection: sa.Connection) -> None:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

        await stage.store.write(tell_newer)
        await stage.store.close()
        with pytest.raises(ConfigError, match=r"newer Tocsin.*9999"):
            await stage.reopen()

    async def test_leases_of_a_process_that_is_gone_are_freed(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest()
        [claim] = await stage.claim(notifier)
        await stage.store.close()
        stage.clock.advance(timedelta(seconds=3))
        again = Stage(await stage.reopen(), stage.clock, stage.dispatch, stage.reopen)
        delivery = await again.delivery()
        assert (delivery.state, delivery.next_attempt_at) == (DeliveryState.PENDING, stage.clock.now())
        [attempt] = await again.attempts(delivery.id)
        assert (attempt.outcome, attempt.duration_ms) == (AttemptOutcome.UNKNOWN, 3000)
        assert not await again.deliver(claim)
        await again.store.close()

    async def test_freeing_leases_that_is_interrupted_is_done_whole_the_next_time(self, stage: Stage) -> None:
        notifier = await stage.add_notifier()
        await stage.ingest()
        await stage.claim(notifier)
        await stage.store.close()
        with closing(sqlite3.connect(file_of(stage))) as raw:
            raw.execute("CREATE TRIGGER crash BEFORE UPDATE ON deliveries BEGIN SELECT raise(ABORT, 'crash'); END")
            with pytest.raises(ConfigError, match="crash"):
                await stage.reopen()
            raw.execute("DROP TRIGGER crash")
        again = Stage(await stage.reopen(), stage.clock, stage.dispatch, stage.reopen)
        assert (await again.delivery()).state == DeliveryState.PENDING
        await again.store.close()


class TestMigrating:
    @pytest.fixture
    def connection(self, tmp_path: Path) -> Iterator[sa.Connection]:
        options = {OPTION: SEALER}
        engine = sa.create_engine(
            f"sqlite:///{tmp_path}/m.db",
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
            execution_options=options,
        )
        with engine.connect() as connection:
            yield connection

    def test_migrating_from_nothing_gives_the_tables_as_they_are_written(self, connection: sa.Connection) -> None:
        migrate(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        written = sa.create_engine("sqlite://")
        schema.metadata.create_all(written)
        with written.connect() as fresh:
            assert _indexes(connection) == _indexes(fresh)

    def test_migrating_twice_is_harmless(self, connection: sa.Connection) -> None:
        assert not is_current(connection)
        migrate(connection)
        insert_cast(connection, ManualClock().now())
        migrate(connection)
        assert is_current(connection)
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.apps)).scalar_one() == 2

    def test_what_is_over_moves_to_the_history(self, connection: sa.Connection) -> None:
        config = migrate_module._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        at = datetime(2026, 1, 2, tzinfo=UTC)
        old = sa.Table("deliveries", sa.MetaData(), autoload_with=connection)
        insert_cast(connection, at)
        connection.execute(sa.insert(schema.notifiers).values(**NOTIFIER, created_at=at, updated_at=at))
        connection.execute(
            old.insert(), [old_delivery(number, state, at) for number, state in enumerate(DeliveryState)]
        )
        migrate(connection)
        assert "whsec_" not in repr(connection.execute(sa.select(schema.notifiers)).all())
        [notifier] = list_notifiers(connection, APP)
        assert (notifier.secret, notifier.type_data) == (NOTIFIER["secret"], NOTIFIER["type_data"])
        under_way = set(connection.execute(sa.select(schema.deliveries.c.state)).scalars())
        over = set(connection.execute(sa.select(schema.finished_deliveries.c.state)).scalars())
        assert (under_way, over) == ({"pending", "sending"}, {"delivered", "failed", "cancelled"})
        listed, total = list_deliveries(connection, APP, DeliveryFilter(), limit=9, offset=0)
        assert total == len(DeliveryState)
        for delivery, state in zip(reversed(listed), DeliveryState, strict=True):
            is_over = state not in {DeliveryState.PENDING, DeliveryState.SENDING}
            assert delivery.state == state
            assert delivery.reason == (DeliveryReason.GONE if state is DeliveryState.FAILED else None)
            assert delivery.finished_at == (at + timedelta(hours=1) if is_over else None)
            assert delivery.attempt_count == 3
            assert delivery.expires_at == at + timedelta(days=7)

    def test_a_migration_that_fails_leaves_nothing_behind(
        self, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection.exec_driver_sql("CREATE TABLE variables (id TEXT)")
        with pytest.raises(sa.exc.OperationalError, match="already exists"):
            migrate(connection)
        assert sa.inspect(connection).get_table_names() == ["variables"]


NOTIFIER = {
    "id": "no-1",
    "app_id": APP,
    "name": "ops",
    "platform": "webhook",
    "active": True,
    "send_all_alerts": False,
    "send_all_events": True,
    "selected_event_ids": [],
    "type_data": {},
    "secret": "whsec_",
}


def old_delivery(number: int, state: DeliveryState, at: datetime) -> dict[str, object]:
    """A row as the first schema kept it."""
    is_over = state not in {DeliveryState.PENDING, DeliveryState.SENDING}
    return {
        "id": f"de-{number}",
        "app_id": APP,
        "event_id": f"{number:024}",
        "event_type": "deployment",
        "notifier_id": "no-1",
        "state": state.value,
        "reason": "gone" if state is DeliveryState.FAILED else None,
        "attempt_count": 3,
        "next_attempt_at": schema.to_micros(at) if state is DeliveryState.PENDING else None,
        "lease_token": "lease" if state is DeliveryState.SENDING else None,
        "lease_until": schema.to_micros(at) if state is DeliveryState.SENDING else None,
        "created_at": schema.to_micros(at),
        "expires_at": schema.to_micros(at + timedelta(days=7)),
        "finished_at": schema.to_micros(at + timedelta(hours=1)) if is_over else None,
    }


def _indexes(connection: sa.Connection) -> set[tuple[str, str]]:
    """Name and text of every index: comparing metadata does not look at the conditions of partial ones."""
    statement = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    return {(name, " ".join(sql.split())) for name, sql in connection.exec_driver_sql(statement)}
