"""The stores under test: the suite is written against the port and runs on each of them."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.cast import FakeDispatch, Stage, insert_cast
from tocsin.clock import Clock, ManualClock
from tocsin.store.migrate import migrate
from tocsin.store.port import Dispatch, Store
from tocsin.store.sqlite import SqliteStore

Factory = Callable[[Path, Clock, Dispatch], Awaitable[Store]]


async def open_sqlite(folder: Path, clock: Clock, dispatch: Dispatch) -> Store:
    url = f"sqlite:///{folder}/tocsin.db"
    return SqliteStore(url, clock=clock, dispatch=dispatch, busy_timeout_seconds=0.05)


FACTORIES: dict[str, Factory] = {"sqlite": open_sqlite}


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that has its tables already: most of what opening a new one costs."""
    path = tmp_path_factory.mktemp("template") / "tocsin.db"
    engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        migrate(connection)
    return path


@pytest.fixture
def clock() -> ManualClock:
    # Now, for the ids that the store makes itself carry the time of the system.
    return ManualClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def dispatch() -> FakeDispatch:
    return FakeDispatch()


@pytest.fixture(params=FACTORIES)
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, dispatch: FakeDispatch
) -> AsyncIterator[Stage]:
    async def reopen() -> Store:
        return await FACTORIES[request.param](tmp_path, clock, dispatch)

    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "tocsin.db")
    store = await reopen()
    await store.write(insert_cast, clock.now())
    yield Stage(store, clock, dispatch, reopen)
    await store.close()


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.store
