"""`python -m benchmarks.growth`: what becomes of speed and memory as the database grows. Hours; can be broken off.

Each step compares, in pairs, a Tocsin with much in its database with one that has next to nothing.
"""

import argparse
import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import get_args

import asyncpg
import msgspec

from benchmarks import page, procfs
from benchmarks.bench import end_on_sigterm, say, stage
from benchmarks.growth_report import Grown, growth_table, read_growth, write_growth
from benchmarks.growth_steps import Step, steps
from benchmarks.load import Phase
from benchmarks.pairs import Compared, Pair, compare, compared
from benchmarks.subjects import ROOT, Database, place
from benchmarks.tocsin_subject import Tocsin
from benchmarks.waking import Waking

WAKE_UPS = 20
WARMUP_SECONDS = 0.5


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--only", default="", help="steps whose name contains this")
    parser.add_argument("--database", choices=get_args(Database), action="append", help="one of them, not both")
    parser.add_argument("--scale", type=float, default=1, help="0.01 makes a hundredth of the rows and notifiers")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2, help="how long each half of a pair lasts")
    parser.add_argument("--list", action="store_true", help="name the steps")
    parser.add_argument("--data", type=Path, default=procfs.DATA, help="where the databases go for the while")
    parser.add_argument(
        "--state", type=Path, default=procfs.DATA / "tocsin-growth.json", help="finished steps; remove to repeat"
    )
    parser.add_argument("--write", action="store_true", help="refresh docs/performance.md")
    return parser.parse_args(words)


class Course:
    """Takes the steps one after the other."""

    def __init__(self, data: Path, pairs: int, seconds: float) -> None:
        self._data = data
        self._pairs = pairs
        self._phase = Phase(kind="deliver", warmup_seconds=WARMUP_SECONDS, seconds=seconds)

    def take(self, step: Step, database: Database) -> Grown:
        with stage(self._data) as (load, site), ExitStack() as stack:
            first, second = (Tocsin(place(site), database) for _ in range(2))
            for subject in (first, second):
                stack.callback(subject.stop)
                subject.start()
                if step.prepare is not None:
                    step.prepare(subject)
            step.grow(second)
            return self._compare(step, database, Pair(load, first, second), (first, second))

    def _compare(self, step: Step, database: Database, pair: Pair, subjects: tuple[Tocsin, Tocsin]) -> Grown:
        accepted = self._accepted(step, pair) if step.accepts else None
        delivered = pair.measure(self._pairs, self._as_long(step.first), self._as_long(step.second))
        waking = asyncio.run(self._wake(subjects))
        return Grown(
            database=database,
            state=step.name,
            accepted=accepted,
            delivered=compared(delivered, lambda measured: measured.arrived_rate),
            cpu_us=compared(delivered, lambda measured: measured.app_cpu_us + measured.database_cpu_us),
            waking_p50_ms=waking[0],
            waking_p99_ms=waking[1],
            memory_mb=compare(*([procfs.memory_mb(subject.app_pids)] for subject in subjects)),
            database_mb=compare(*([procfs.memory_mb(subject.database_pids)] for subject in subjects)),
            commit=procfs.commit(ROOT),
            measured_at=procfs.today(),
        )

    def _accepted(self, step: Step, pair: Pair) -> Compared:
        phases = (msgspec.structs.replace(self._as_long(one), kind="accept") for one in (step.first, step.second))
        return compared(pair.measure(self._pairs, *phases), lambda measured: measured.accepted_rate)

    def _as_long(self, phase: Phase) -> Phase:
        return msgspec.structs.replace(phase, warmup_seconds=self._phase.warmup_seconds, seconds=self._phase.seconds)

    async def _wake(self, subjects: tuple[Tocsin, Tocsin]) -> tuple[Compared, Compared]:
        """The medians of the rounds of wake-ups, and the 99th percentile of them all."""
        wakings = [Waking(subject) for subject in subjects]
        rounds: tuple[list[list[float]], list[list[float]]] = ([], [])
        for waking in wakings:
            await waking.open()
        for _ in range(self._pairs):
            for waking, found in zip(wakings, rounds, strict=True):
                found.append(await waking.measure(WAKE_UPS))
        for waking in wakings:
            waking.close()
        middle = compare(*([median(one) for one in found] for found in rounds))
        pooled = (sorted(took for one in found for took in one) for found in rounds)
        return middle, compare(*([took[int(len(took) * 0.99)]] for took in pooled))


def chosen(options: argparse.Namespace) -> Iterator[tuple[Step, Database]]:
    for database in get_args(Database):
        for step in steps(options.scale):
            if options.only in step.name and database in (options.database or get_args(Database)):
                yield step, database


def main() -> int:
    end_on_sigterm()
    options = parse_options()
    if options.list:
        print("\n".join(f"{database}: {step.name}" for step, database in chosen(options)))
        return 0
    growth = read_growth(options.state, options.scale, options.pairs)
    course = Course(options.data, options.pairs, options.seconds)
    has_failed = False
    for step, database in chosen(options):
        if any((one.database, one.state) == (database, step.name) for one in growth.steps):
            continue
        say(f"{database}: {step.name}")
        try:
            grown = course.take(step, database)
        except (RuntimeError, OSError, sqlite3.Error, asyncpg.PostgresError) as error:
            say(f"  FAILED: {error}")
            has_failed = True
            continue
        growth = msgspec.structs.replace(growth, steps=(*growth.steps, grown))
        write_growth(options.state, growth)
        say(f"  delivered/s {grown.delivered}\n  CPU µs {grown.cpu_us}\n  resumed, p50 ms {grown.waking_p50_ms}")
    print(growth_table(growth.steps))
    if options.write:
        page.rewrite(growth=growth)
    return 1 if has_failed else 0


if __name__ == "__main__":
    sys.exit(main())
