"""Namespaces of Linux, for what must not touch the machine around: what a scenario mounts or sets ends with it.

A namespace belongs to a thread: the one that is made here, with those that it makes, and every process they start.
"""

import asyncio
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MOUNTS = 0x00020000
NETWORK = 0x40000000
"""Kinds of namespaces, as unshare(2) knows them."""


async def in_namespace(kind: int, do: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run something on an event loop of its own in a new namespace."""

    def run() -> T:
        if ctypes.CDLL(None, use_errno=True).unshare(kind) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        if kind == MOUNTS:
            _run("mount", "--make-rprivate", "/")
        else:
            _run("ip", "link", "set", "lo", "up")
        return asyncio.run(do())

    with ThreadPoolExecutor(1) as threads:
        return await asyncio.get_running_loop().run_in_executor(threads, run)


@contextmanager
def small_disk(place: Path, mebibytes: int) -> Iterator[None]:
    """Mount an empty ext4 of that size at a folder. Only for a thread with mounts of its own."""
    image = place.with_name(f"{place.name}.image")
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    _run("mount", "-o", "loop", str(image), str(place))
    try:
        yield
    finally:
        _run("umount", str(place))
        image.unlink()


class Ballast:
    """A file that takes up the room of a disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def fill(self, *, leave_bytes: int) -> None:
        """Take all but so much; with 0, whatever can be had while others take of it too."""
        with self._path.open("ab") as file:
            size = 0
            for step in (1 << 20, 1 << 16, 1 << 12):
                while self._free() - step >= leave_bytes:
                    try:
                        os.posix_fallocate(file.fileno(), size, step)
                    except OSError:
                        break
                    size += step

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)


def missing(kind: int) -> str:
    """What keeps a scenario from having such a namespace here."""
    if os.geteuid() != 0:
        return "only root can have namespaces with what they need"
    programs = ("unshare", "mount", "umount", "mkfs.ext4") if kind == MOUNTS else ("unshare", "ip")
    lacking = [name for name in programs if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)} is not installed"
    option, trial = ("--mount", "mount -t tmpfs none /mnt") if kind == MOUNTS else ("--net", "ip link set lo up")
    if subprocess.run(["unshare", option, "sh", "-c", trial], check=False, capture_output=True).returncode:
        return "no namespaces can be made here"
    return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
