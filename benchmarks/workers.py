"""What a second worker process gives, on PostgreSQL and both cores: `python -m benchmarks --workers`."""

from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks import procfs
from benchmarks.bench import say, stage
from benchmarks.load import Phase
from benchmarks.pairs import Compared, Pair, compared
from benchmarks.receivers import Kind
from benchmarks.subjects import ROOT, place
from benchmarks.tocsin_subject import Tocsin

# Few enough that one worker is held back by what it may send to one notifier at once, and not by its core.
SLOW_APPS = 5


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process against two."""

    slow_delivered: Compared
    fast_delivered: Compared
    fast_cpu_us: Compared
    commit: str
    measured_at: str


def measure_workers(data: Path, seconds: float, pairs: int) -> Workers:
    slow = _measure(data, "slow", SLOW_APPS, Phase(kind="deliver", warmup_seconds=0.5, seconds=seconds), 3)
    fast = _measure(data, "plain", 20, Phase(kind="deliver", warmup_seconds=0.5, seconds=seconds), pairs)
    return Workers(
        slow_delivered=slow[0],
        fast_delivered=fast[0],
        fast_cpu_us=fast[1],
        commit=procfs.commit(ROOT),
        measured_at=procfs.today(),
    )


def _measure(data: Path, receivers: Kind, app_count: int, phase: Phase, count: int) -> tuple[Compared, Compared]:
    with stage(data, is_pinned=False) as (load, site), ExitStack() as stack:
        one, two = (
            Tocsin(place(site), "postgresql", ("api", *["worker"] * workers), receivers, app_count)
            for workers in (1, 2)
        )
        for subject in (one, two):
            stack.callback(subject.stop)
            subject.start()
        found = Pair(load, one, two).measure(count, phase)
    delivered = compared(found, lambda measured: measured.arrived_rate)
    cpu = compared(found, lambda measured: measured.app_cpu_us + measured.database_cpu_us)
    say(f"  one worker -> two, {receivers} receivers: {delivered} delivered/s, {cpu} µs")
    return delivered, cpu
