"""A recorded disk: what a server does to the files of a folder, written down below SQLite, and faults of that disk.

The recording is made by `native/disk.c`, which is compiled here and preloaded into the server.
"""

import hashlib
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

SOURCE = Path(__file__).with_name("native") / "disk.c"

_HEAD = struct.Struct("=IIQq")
_CONTROL = struct.Struct("=iii")


def missing() -> str:
    """What this machine lacks for a recorded disk."""
    return "" if shutil.which("cc") else "a C compiler (cc) is not installed"


def compiled() -> Path:
    """The recording library, compiled once for its source."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"tocsin-disk-{digest}.so"
    if not library.exists():
        with tempfile.NamedTemporaryFile(dir=library.parent, suffix=".so", delete=False) as draft:
            options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", draft.name]
            subprocess.run(["cc", *options, SOURCE, "-ldl", "-lpthread"], check=True)
        Path(draft.name).replace(library)
    return library


class Record(NamedTuple):
    """One thing that happened.

    By `kind`: a file (C) or folder (M) was made, a file got another name (L), a name was changed (R) or removed (U);
    bytes were written (W) or a length set (T); a sync began (B), succeeded (E) or failed (F); an answer of 201 is about
    to be sent (A).
    """

    kind: str
    inode: int
    place: int
    """Where the bytes were written, which length was set, or how many records ago a sync began."""

    data: bytes


class Recording:
    """The disk of a folder: give `environment` to the server whose work is to be recorded."""

    def __init__(self, folder: Path, files: Path) -> None:
        """`folder` is watched; the recording's own files go to `files`, which must be elsewhere."""
        self.log = files / "disk.log"
        control = files / "disk.control"
        control.write_bytes(bytes(2 * _CONTROL.size))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 2 * _CONTROL.size)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(compiled()),
            "DISK_FOLDER": str(folder),
            "DISK_LOG": str(self.log),
            "DISK_CONTROL": str(control),
        }

    def fail(self, calls: Literal["syncs", "writes"], error: int, *, after: int = 0, times: int = 1) -> None:
        """Let so many calls of a kind fail from now on, once so many have gone well."""
        start = _CONTROL.size * (calls == "writes")
        self._control[start : start + _CONTROL.size] = _CONTROL.pack(error, after, times)

    def left(self, calls: Literal["syncs", "writes"]) -> int:
        """How many of the failures that were asked for have not come yet."""
        start = _CONTROL.size * (calls == "writes")
        return int(_CONTROL.unpack(self._control[start : start + _CONTROL.size])[2])

    def heal(self) -> None:
        """Let nothing fail any more."""
        self.fail("syncs", 0, times=0)
        self.fail("writes", 0, times=0)

    def records(self) -> Iterator[Record]:
        return read_records(self.log)


def read_records(log: Path) -> Iterator[Record]:
    """What a log tells, in order; a last record that a kill cut off is left out."""
    with log.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            kind, length, inode, place = _HEAD.unpack(head)
            if len(data := file.read(length)) < length:
                return
            yield Record(chr(kind), inode, place, data)
