"""How much room the database's disk has, and when the rest of it is kept for what was accepted already."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from tocsin.errors import NoRoom

RESERVE_BYTES = 512 << 20
RESERVE_SHARE = 0.05
RESERVE_LEAST_BYTES = 8 << 20
"""The write-ahead log grows to 4 MiB before it is written back, and the database with it."""

LOOK_SECONDS = 1.0
"""How long a look at the disk counts."""


class Room(msgspec.Struct, frozen=True):
    """What is free for us on a file system, and its size, in bytes."""

    free: int
    total: int

    @property
    def reserve(self) -> int:
        """What is kept for delivering: 5 % of the disk, at least 8 MiB and at most 512 MiB."""
        return max(RESERVE_LEAST_BYTES, min(RESERVE_BYTES, int(self.total * RESERVE_SHARE)))

    @property
    def is_short(self) -> bool:
        return self.free < self.reserve


def measure_room(folder: Path) -> Room:
    found = os.statvfs(folder)
    return Room(free=found.f_bavail * found.f_frsize, total=found.f_blocks * found.f_frsize)


class Space:
    """Says no before the disk does: what is delivered must be written down too. May be asked on any thread."""

    def __init__(self, folder: Path, monotonic: Callable[[], float]) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._is_short = False
        self._log = structlog.get_logger("tocsin.store").bind()

    def find_shortage(self) -> NoRoom | None:
        """Why no events are to be stored, as of the last second."""
        now = self._monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._note(measure_room(self._folder))
        return NoRoom() if self._is_short else None

    def _note(self, room: Room) -> None:
        if room.is_short == self._is_short:
            return
        self._is_short = room.is_short
        if room.is_short:
            self._log.error("store.disk_nearly_full", free_bytes=room.free, reserve_bytes=room.reserve)
        else:
            self._log.info("store.disk_has_room", free_bytes=room.free)
