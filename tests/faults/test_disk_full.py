"""A disk that fills up: what is refused then, and that nothing is lost."""

from pathlib import Path

import pytest

from faults import namespaces
from faults.namespaces import MOUNTS, Ballast, in_namespace, small_disk
from faults.scenario import Context
from faults.scenarios.disk_full import F7

SEED = 20261126
MISSING = namespaces.missing(MOUNTS)

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING}: no full disk is tested")


async def test_a_small_disk_is_a_thread_s_own_and_can_be_filled(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()

    async def fill() -> None:
        with small_disk(place, 8):
            ballast = Ballast(place)
            ballast.fill(leave_bytes=0)
            assert place.stat().st_dev != tmp_path.stat().st_dev
            with pytest.raises(OSError, match="No space"):
                (place / "more").write_bytes(bytes(1 << 20))
            ballast.drop()
            (place / "more").write_bytes(bytes(1 << 20))

    await in_namespace(MOUNTS, fill)
    assert list(place.iterdir()) == []


@pytest.mark.slow
async def test_nothing_is_lost_when_the_disk_is_full_and_all_goes_on_by_itself(tmp_path: Path) -> None:
    figures = await F7.run(Context("F7", seed=SEED, folder=tmp_path, is_smoke=True))
    assert [figure for figure in figures if figure.is_met is False] == []
