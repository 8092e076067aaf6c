"""The stores under test: the suite is written against the port and runs on each of them."""

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.sealer import SEALER
from tests.store.cast import Dice, FakeDispatch, OpenStore, Stage, insert_cast
from tocsin.clock import ManualClock
from tocsin.sealing import Sealer
from tocsin.store.port import Store
from tocsin.store.postgres import open_postgres
from tocsin.store.sqlite import SqliteStore

DATABASES = ("sqlite", "postgres")


@pytest.fixture
def clock() -> ManualClock:
    # Now, for the ids that the store makes itself carry the time of the system.
    return ManualClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def dispatch() -> FakeDispatch:
    return FakeDispatch()


@pytest.fixture
def dice() -> Dice:
    return Dice()


@pytest.fixture(params=DATABASES)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; a file about one of them alone has a fixture of this name of its own."""
    kind: str = request.param
    return kind


@pytest.fixture
def reopen(
    request: pytest.FixtureRequest,
    store_kind: str,
    tmp_path: Path,
    clock: ManualClock,
    dispatch: FakeDispatch,
    dice: Dice,
) -> OpenStore:
    """Opens the test's database, again and again if need be."""
    if store_kind == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "tocsin.db")

        async def reopen_sqlite(sealer: Sealer = SEALER) -> Store:
            url = f"sqlite:///{tmp_path}/tocsin.db"
            return SqliteStore(
                url, clock=clock, dispatch=dispatch, sealer=sealer, chance=dice, busy_timeout_seconds=0.05
            )

        return reopen_sqlite
    url = request.getfixturevalue("migrated_postgres_url")

    async def reopen_postgres(sealer: Sealer = SEALER) -> Store:
        return await open_postgres(url, clock=clock, dispatch=dispatch, sealer=sealer, chance=dice, pool_size=3)

    return reopen_postgres


@pytest.fixture
async def stage(reopen: OpenStore, clock: ManualClock, dispatch: FakeDispatch, dice: Dice) -> AsyncIterator[Stage]:
    store = await reopen()
    await store.write(insert_cast, clock.now())
    yield Stage(store, clock, dispatch, reopen, dice)
    await store.close()


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.store
