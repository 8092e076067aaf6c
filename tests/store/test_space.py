"""A disk that is nearly full: no more is accepted, and what was accepted is delivered."""

import pytest

from tests.store.cast import Stage
from tocsin.errors import NoRoom
from tocsin.store.health import check_store
from tocsin.store.sqlite import space
from tocsin.store.sqlite.space import LOOK_SECONDS, Room, measure_room

MIB = 1 << 20


@pytest.fixture
def store_kind() -> str:
    return "sqlite"


class Disk:
    """The database's disk as the store sees it, and how often it looked."""

    def __init__(self) -> None:
        self.room = Room(free=50 * MIB, total=100 * MIB)
        self.looks = 0

    def measure(self, _folder: object) -> Room:
        self.looks += 1
        return self.room


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr(space, "measure_room", found.measure)
    return found


@pytest.mark.parametrize(
    ("total", "reserve"), [(24 * MIB, 8 * MIB), (10_000 * MIB, 500 * MIB), (1_000_000 * MIB, 512 * MIB)]
)
def test_the_reserve_is_a_share_of_the_disk_within_bounds(total: int, reserve: int) -> None:
    assert Room(free=0, total=total).reserve == reserve
    assert Room(free=reserve - 1, total=total).is_short
    assert not Room(free=reserve, total=total).is_short


def test_room_is_what_the_file_system_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    room = measure_room(tmp_path_factory.getbasetemp())
    assert 0 < room.free <= room.total


async def test_a_nearly_full_disk_takes_no_events_and_goes_on_delivering(stage: Stage, disk: Disk) -> None:
    notifier = await stage.add_notifier()
    await stage.ingest()
    disk.room = Room(free=8 * MIB - 1, total=100 * MIB)
    await stage.ingest()  # a look counts for a while
    stage.clock.advance(LOOK_SECONDS)
    with pytest.raises(NoRoom):
        await stage.ingest()
    first, second = await stage.claim(notifier)
    assert await stage.deliver(first)
    assert await stage.fail(second)
    assert len(await stage.deliveries()) == 2


async def test_events_are_taken_again_when_there_is_room(stage: Stage, disk: Disk) -> None:
    disk.room = Room(free=0, total=100 * MIB)
    with pytest.raises(NoRoom):
        await stage.ingest()
    disk.room = Room(free=8 * MIB, total=100 * MIB)
    stage.clock.advance(LOOK_SECONDS)
    await stage.ingest()


async def test_the_disk_is_looked_at_once_a_second_however_many_events_come(stage: Stage, disk: Disk) -> None:
    for _ in range(20):
        await stage.ingest()
    assert disk.looks == 1
    stage.clock.advance(LOOK_SECONDS)
    await stage.ingest()
    assert disk.looks == 2


async def test_readiness_tells_of_a_nearly_full_disk(stage: Stage, disk: Disk) -> None:
    assert await check_store(stage.store) == {}
    disk.room = Room(free=0, total=100 * MIB)
    stage.clock.advance(LOOK_SECONDS)
    assert await check_store(stage.store) == {"disk": NoRoom().message}
