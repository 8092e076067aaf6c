"""What is taken away when the power fails: what was not synced, and of that what chance says."""

import random
from pathlib import Path

import pytest

from faults.disk import Record
from faults.powerloss import SECTOR_BYTES, Disk, Survivors, sectors

SEED = 20261126


class Files:
    """A folder with one file, 1, that is on the disk, and what happens to it by hand."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "before"
        self.place.mkdir()
        (self.place / "old").write_bytes(b"old")
        self.inode = (self.place / "old").stat().st_ino
        self.folder_inode = self.place.stat().st_ino
        self.disk = Disk(self.place, random.Random(SEED))
        self._after = folder / "after"

    def happens(self, kind: str, inode: int, place: int = 0, data: bytes = b"") -> None:
        self.disk.follow(Record(kind, inode, place, data))

    def is_synced(self, inode: int, *, ended: str = "E") -> None:
        self.happens("B", inode)
        self.happens(ended, inode, 1)

    def path(self, name: str) -> bytes:
        return str(self.place / name).encode()

    def left(self, survivors: Survivors = Survivors.NONE) -> dict[str, bytes]:
        """The files after a power loss."""
        for path in self._after.rglob("*") if self._after.exists() else ():
            path.unlink()
        self._after.mkdir(exist_ok=True)
        self.disk.write_out(self._after, survivors)
        return {path.name: path.read_bytes() for path in self._after.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_what_was_written_and_not_synced_is_lost(files: Files) -> None:
    files.happens("W", files.inode, 3, b"new")
    assert files.left() == {"old": b"old"}
    files.is_synced(files.inode)
    assert files.left() == {"old": b"oldnew"}


def test_what_was_written_while_a_sync_ran_is_not_made_safe_by_it(files: Files) -> None:
    files.happens("B", files.inode)
    files.happens("W", files.inode, 3, b"new")
    files.happens("E", files.inode, 2)
    assert files.left() == {"old": b"old"}


def test_a_new_file_is_lost_until_its_folder_was_synced(files: Files) -> None:
    files.happens("C", 7, data=files.path("new"))
    files.happens("W", 7, 0, b"new")
    files.is_synced(7)
    assert files.left() == {"old": b"old"}
    files.is_synced(files.folder_inode)
    assert files.left() == {"old": b"old", "new": b"new"}


def test_a_removed_file_is_there_again_until_its_folder_was_synced(files: Files) -> None:
    files.happens("U", 0, data=files.path("old"))
    assert files.left() == {"old": b"old"}
    files.is_synced(files.folder_inode)
    assert files.left() == {}


def test_an_inode_that_is_used_again_is_another_file(files: Files) -> None:
    files.happens("U", 0, data=files.path("old"))
    files.happens("C", files.inode, data=files.path("new"))
    files.happens("W", files.inode, 0, b"new")
    files.is_synced(files.inode)
    assert files.left() == {"old": b"old"}


def test_what_a_failed_sync_did_not_write_is_never_written(files: Files) -> None:
    files.happens("W", files.inode, 0, bytes(range(1, 201)) * 100)
    files.is_synced(files.inode, ended="F")
    files.is_synced(files.inode)
    left = files.left()["old"]
    assert 0 < left.count(0) < len(left) < 20_000 or left == b"old"


def test_survivors_are_whole_sectors(files: Files) -> None:
    written = bytes(200) + bytes([1] * 20 * SECTOR_BYTES)
    files.happens("W", files.inode, 0, written)
    seen = set()
    for _ in range(20):
        left = files.left(Survivors.SECTORS)["old"].ljust(len(written), b"\0")
        for start in range(SECTOR_BYTES, len(written), SECTOR_BYTES):
            assert len(set(left[start : start + SECTOR_BYTES])) == 1
        seen.add(left)
    assert len(seen) > 10
    assert written in {files.left(Survivors.PREFIX)["old"] for _ in range(200)}


def test_a_write_is_cut_at_the_borders_of_sectors() -> None:
    parts = sectors(Record("W", 1, SECTOR_BYTES - 2, b"ab" + b"c" * SECTOR_BYTES + b"d"))
    assert [(part.place, len(part.data)) for part in parts] == [
        (SECTOR_BYTES - 2, 2),
        (SECTOR_BYTES, SECTOR_BYTES),
        (2 * SECTOR_BYTES, 1),
    ]
