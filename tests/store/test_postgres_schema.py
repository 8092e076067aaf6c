"""The schema on PostgreSQL: migrated by many at once, ordered by bytes, partitioned; and plain verbs beside others."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tests.sealer import SEALER
from tests.store.cast import APP, OTHER_APP, insert_cast
from tocsin.errors import StoreError
from tocsin.ids import new_uuid7
from tocsin.model import Notifier
from tocsin.store import migrate as migrating
from tocsin.store import schema
from tocsin.store.deliveries import new_delivery
from tocsin.store.endings import expire
from tocsin.store.migrate import is_current, migrate
from tocsin.store.notifiers import add_notifier, remove_notifier
from tocsin.store.postgres.connections import as_store_error
from tocsin.store.sealed import OPTION

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("postgresql:", "postgresql+asyncpg:")
    engine = create_async_engine(url, execution_options={OPTION: SEALER})
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to a migrated database with two apps."""
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.run_sync(insert_cast, NOW)
        await connection.commit()
        yield connection


async def migrate_with(engine: AsyncEngine, *, is_begun: bool) -> None:
    async with engine.begin() if is_begun else engine.connect() as connection:
        await connection.run_sync(migrate)


async def test_many_that_migrate_at_once_leave_one_schema(engine: AsyncEngine) -> None:
    await asyncio.gather(*(migrate_with(engine, is_begun=number % 2 == 0) for number in range(5)))
    async with engine.connect() as connection:
        assert await connection.run_sync(is_current)


async def test_migrating_gives_way_to_whoever_reads_a_table_for_long(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "TABLE_PATIENCE_SECONDS", 1)

    def to_the_fifth(connection: sa.Connection) -> None:
        config = migrating._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")

    async with engine.begin() as connection:
        await connection.run_sync(to_the_fifth)
    async with engine.begin() as dump:
        await dump.execute(sa.text("LOCK TABLE notifiers IN ACCESS SHARE MODE"))
        with pytest.raises(sa.exc.DBAPIError) as refused:
            await migrate_with(engine, is_begun=True)
        assert isinstance(as_store_error(refused.value), StoreError)
    await migrate_with(engine, is_begun=True)
    async with engine.connect() as connection:
        assert await connection.run_sync(is_current)


async def test_migrating_gives_the_tables_as_they_are_written(connection: AsyncConnection) -> None:
    def compare(plain: sa.Connection) -> list[object]:
        def is_ours(_object: object, name: str | None, _kind: str, *_: object) -> bool:
            return "_default" not in (name or "")

        options = {"compare_type": True, "include_object": is_ours}
        found: list[object] = compare_metadata(MigrationContext.configure(plain, opts=options), schema.metadata)
        return found

    assert await connection.run_sync(compare) == []
    partitioned = await connection.exec_driver_sql(
        "SELECT parent.relname, child.relname FROM pg_inherits JOIN pg_class parent ON parent.oid = inhparent "
        "JOIN pg_class child ON child.oid = inhrelid WHERE child.relkind = 'r'"
    )
    tables = ("events", "attempts", "finished_deliveries")
    assert set(map(tuple, partitioned)) == {(table, f"{table}_default") for table in tables}


async def test_ids_names_and_words_are_ordered_by_their_bytes(connection: AsyncConnection) -> None:
    # Asked of the columns, for this server orders all texts like that.
    collations = await connection.exec_driver_sql(
        "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name <> 'alembic_version' AND (column_name LIKE '%id' OR column_name LIKE '%name' "
        "OR column_name IN ('state', 'reason', 'outcome', 'email', 'lease_token', 'key')) "
        "AND column_name <> 'fullname' AND data_type = 'text'"
    )
    assert list(collations.scalars()) == ["C"]


async def test_each_change_of_an_apps_routes_is_counted(connection: AsyncConnection) -> None:
    def change(plain: sa.Connection) -> dict[str, int]:
        notifier = Notifier(
            id=new_uuid7("no"), app_id=APP, name="n", platform="webhook", secret="s", created_at=NOW, updated_at=NOW
        )
        add_notifier(plain, notifier)
        remove_notifier(plain, notifier.id, at=NOW)
        plain.execute(schema.notifiers.delete())
        return {row.id: row.routes_version for row in plain.execute(sa.select(schema.apps))}

    assert await connection.run_sync(change) == {APP: 3, OTHER_APP: 0}


async def test_what_others_work_on_is_left_to_them(engine: AsyncEngine, connection: AsyncConnection) -> None:
    def add(plain: sa.Connection) -> list[str]:
        made = [
            new_delivery(app_id=APP, event_id=str(number), event_type="t", notifier_id="no-1", at=NOW, expires_at=NOW)
            for number in range(3)
        ]
        plain.execute(schema.deliveries.insert(), made)
        return [row["id"] for row in made]

    ids = await connection.run_sync(add)
    await connection.commit()
    later = NOW + timedelta(hours=1)
    live = schema.deliveries
    async with engine.begin() as other:
        await other.execute(sa.select(live.c.id).where(live.c.id == ids[1]).with_for_update())
        assert await connection.run_sync(lambda plain: expire(plain, at=later)) == 2
        await connection.commit()
    assert await connection.run_sync(lambda plain: expire(plain, at=later)) == 1
    assert (await connection.execute(sa.select(schema.finished_deliveries.c.id).order_by("id"))).scalars().all() == ids
