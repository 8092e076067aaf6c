"""What is left on a disk when the power fails: what was synced, and of the rest what chance has written.

The rules are those of POSIX, not of a kind file system: a new file's name is safe once its folder was synced, a file's
bytes once the file was, and what was not synced may be on the disk all the same, in any part. Only names are kept in
order, as every file system with a journal keeps them. What a failed sync should have written is never written later
(https://wiki.postgresql.org/wiki/Fsync_Errors): whether it reached the disk is decided when the sync fails.
"""

import itertools
import os
import random
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

from faults.disk import Record

T = TypeVar("T")

SECTOR_BYTES = 512
"""What a disk writes whole."""


class Survivors(StrEnum):
    """What of the writes that were not synced is on the disk."""

    NONE = "none"
    PREFIX = "prefix"
    """The first of them, as many as chance says."""

    SECTORS = "sectors"
    """Any sectors of any of them."""


class _Pending(NamedTuple):
    at: int
    """How many records came before."""

    thing: int
    record: Record


class Disk:
    """The disk of a folder, followed record by record: what is on it for certain, and what perhaps."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        """What is in the folder now is on the disk. Follow it with the records of what happens from now on."""
        self._root = os.path.realpath(folder)
        self._chance = chance
        self._followed = 0
        self._new = itertools.count()
        # Files and folders have numbers of their own here: an inode may be another's later.
        self._things: dict[int, int] = {Path(self._root).stat().st_ino: next(self._new)}
        self._folders: dict[int, str] = {0: self._root}
        self._contents: dict[int, bytearray] = {}
        self._unwritten: dict[int, list[_Pending]] = {}
        self._names: dict[str, int] = {}
        self._unwritten_names: list[_Pending] = []
        for path in sorted(Path(self._root).rglob("*")):
            thing = self._names[str(path)] = self._things[path.lstat().st_ino] = next(self._new)
            if path.is_dir():
                self._folders[thing] = str(path)
            elif path.is_file():
                self._contents[thing] = bytearray(path.read_bytes())
                self._unwritten[thing] = []

    def follow(self, record: Record) -> None:
        """Let the next thing happen."""
        match record.kind:
            case "C" | "M":
                thing = self._things[record.inode] = next(self._new)
                if record.kind == "M":
                    self._folders[thing] = record.data.decode()
                else:
                    self._contents[thing] = bytearray()
                    self._unwritten[thing] = []
                self._unwritten_names.append(_Pending(self._followed, thing, record))
            case "L" | "R" | "U":
                thing = self._things.get(record.inode, -1)
                self._unwritten_names.append(_Pending(self._followed, thing, record))
            case "W" | "T":
                thing = self._things[record.inode]
                self._unwritten[thing].append(_Pending(self._followed, thing, record))
            case "E" | "F":
                self._end_sync(record)
        self._followed += 1

    def _end_sync(self, ended: Record) -> None:
        """What was there when the sync began is on the disk now; after one that failed, perhaps, and if not, never."""
        thing = self._things[ended.inode]
        has_failed = ended.kind == "F"
        begun = self._followed - ended.place
        if thing in self._folders:
            folder = self._folders[thing]
            done = [each for each in self._unwritten_names if each.at < begun and _folder_of(each) == folder]
            self._unwritten_names = [each for each in self._unwritten_names if each not in done]
            for each in self._prefix(done) if has_failed else done:
                _name(self._names, each)
            return
        done = [each for each in self._unwritten[thing] if each.at < begun]
        self._unwritten[thing] = self._unwritten[thing][len(done) :]
        parts = self._survivors(done, Survivors.SECTORS) if has_failed else (each.record for each in done)
        for part in parts:
            _write(self._contents[thing], part)

    def write_out(self, folder: Path, survivors: Survivors) -> None:
        """Make the files as they are found when the power is back, in an empty folder."""
        names = dict(self._names)
        for each in [] if survivors is Survivors.NONE else self._prefix(self._unwritten_names):
            _name(names, each)
        for path, thing in sorted(names.items()):
            place = folder / Path(path).relative_to(self._root)
            if not place.parent.is_dir():
                continue  # its folder was lost
            if thing in self._folders:
                place.mkdir()
            elif thing in self._contents:
                content = bytearray(self._contents[thing])
                for part in self._survivors(self._unwritten[thing], survivors):
                    _write(content, part)
                place.write_bytes(content)

    def _prefix(self, pending: list[T]) -> list[T]:
        return pending[: self._chance.randint(0, len(pending))]

    def _survivors(self, pending: list[_Pending], survivors: Survivors) -> list[Record]:
        parts = [part for each in pending for part in sectors(each.record)]
        match survivors:
            case Survivors.NONE:
                return []
            case Survivors.PREFIX:
                return self._prefix(parts)
            case Survivors.SECTORS:
                share = self._chance.random()
                return [part for part in parts if self._chance.random() < share]


def sectors(record: Record) -> list[Record]:
    """A write as the writes of its sectors; anything else as it is."""
    if record.kind != "W":
        return [record]
    cuts = [0, *range(SECTOR_BYTES - record.place % SECTOR_BYTES, len(record.data), SECTOR_BYTES), len(record.data)]
    return [
        record._replace(place=record.place + start, data=record.data[start:end])
        for start, end in itertools.pairwise(cuts)
    ]


def _folder_of(each: _Pending) -> str:
    return str(Path(each.record.data.split(b"\0")[-1].decode()).parent)


def _name(names: dict[str, int], each: _Pending) -> None:
    path, _, new = each.record.data.decode().partition("\0")
    match each.record.kind:
        case "C" | "M" | "L":
            names[path] = each.thing
        case "R" if path in names:
            names[new] = names.pop(path)
        case "U":
            names.pop(path, None)


def _write(content: bytearray, record: Record) -> None:
    if len(content) < record.place:
        content.extend(bytes(record.place - len(content)))
    if record.kind == "T":
        del content[record.place :]
    else:
        content[record.place : record.place + len(record.data)] = record.data
