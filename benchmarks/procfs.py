"""What Linux says about a process group and this machine: processor time, memory, cores."""

import os
import platform
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def _members(group: int) -> list[tuple[Path, list[str]]]:
    """The directories of a process group's members, with the fields of `stat` after the command's name."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        if int(fields[2]) == group:
            found.append((entry, fields))
    return found


def cpu_seconds(group: int) -> float:
    """User and system time of the group, ended and awaited children included."""
    return sum(sum(map(int, fields[11:15])) for _, fields in _members(group)) / _TICKS_A_SECOND


def peak_rss_mb(group: int) -> float:
    """The sum of what each member held in memory at most."""
    peak_kb = 0
    for entry, _ in _members(group):
        for line in (entry / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak_kb += int(line.split()[1])
    return peak_kb / 1024


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


def commit(folder: Path) -> str:

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return run.stdout.strip()

    name = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return f"{name} with changes not committed" if git("status", "--porcelain") else name


def pin(pid: int, core: int | None) -> None:
    """Keep a process and what it will start on one core."""
    if core is not None and sys.platform == "linux":
        os.sched_setaffinity(pid, {core})
