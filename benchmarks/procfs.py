"""What Linux says about processes and this machine: processor time, memory, cores."""

import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

# Not /tmp, which is often held in memory: there a sync costs nothing.
DATA = Path("/var/tmp")  # noqa: S108 - a real disk: /tmp may be held in memory

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def _stats() -> dict[int, list[str]]:
    """For each process the fields of `stat` after the command's name: state, parent, group and so on."""
    found = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            found[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return found


def _family(roots: Collection[int], stats: Mapping[int, list[str]]) -> set[int]:
    """The processes of these ids with all that descend from them. Not by group: PostgreSQL's each have their own."""
    family = set(roots) & set(stats)
    while found := {pid for pid, fields in stats.items() if int(fields[1]) in family} - family:
        family |= found
    return family


def cpu_seconds(roots: Collection[int]) -> float:
    """User and system time of these processes and their descendants, ended and awaited ones included."""
    stats = _stats()
    return sum(sum(map(int, stats[pid][11:15])) for pid in _family(roots, stats)) / _TICKS_A_SECOND


def memory_mb(roots: Collection[int]) -> float:
    """What these processes and their descendants hold now; what they share counts once (proportional set size)."""
    held_kb = 0
    for pid in _family(roots, _stats()):
        try:
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        held_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return held_kb / 1024


def two_cores() -> tuple[int, int] | None:
    """A core for what is measured and one for what measures it; None when there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def fsync_ms(folder: Path) -> float:
    """The median time to append 64 KiB (about one group commit) and have it on disk."""
    spans = []
    path = folder / "fsync"
    block = os.urandom(65536)
    with path.open("wb", buffering=0) as file:
        for _ in range(200):
            started_at = time.perf_counter()
            file.write(block)
            os.fdatasync(file.fileno())
            spans.append(time.perf_counter() - started_at)
    path.unlink()
    return sorted(spans)[len(spans) // 2] * 1000


def machine(folder: Path) -> str:
    cpu = next(
        line.partition(":")[2].strip()
        for line in [*(_PROC / "cpuinfo").read_text().splitlines(), f"model name: {platform.machine()}"]
        if line.startswith("model name")
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory_gb:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; "
        f"64 KiB appended and synced in {fsync_ms(folder):.2f} ms"
    )


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def commit(folder: Path) -> str:

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return run.stdout.strip()

    name = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return f"{name} with changes not committed" if git("status", "--porcelain") else name


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Whatever is started in this context runs on that core alone: a child inherits it, with all its threads."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
