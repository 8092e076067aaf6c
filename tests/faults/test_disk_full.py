"""A disk of a test's own, which can be filled."""

from pathlib import Path

import pytest

from faults import namespaces
from faults.namespaces import MOUNTS, Ballast, in_namespace, small_disk

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
