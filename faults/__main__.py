"""`python -m faults`: injects faults with one seed, prints each figure with its target, and goes on where it was."""

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from benchmarks import procfs
from benchmarks.bench import end_on_sigterm, say
from benchmarks.subjects import ROOT
from faults import report
from faults.results import KEPT, Kept, Result, publish, read_published
from faults.scenario import Context, Figure, OutOfTime, Scenario, load_scenarios
from tests import processes

SEED = 20261126


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--max-seconds", type=float, default=90 * 60, help="begin no part later than this")
    parser.add_argument("--only", default="", help="ids of scenarios, as in F1,F2")
    parser.add_argument("--soak", action="store_true", help="instead, the long steady load")
    parser.add_argument("--smoke", action="store_true", help="few repetitions: does it run at all")
    parser.add_argument("--report", action="store_true", help="refresh docs/reliability.md with what is found")
    parser.add_argument("--data", type=Path, default=procfs.DATA, help="where databases go for the while")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where a run that is not over keeps what it has")
    return parser.parse_args(words)


def chosen(options: argparse.Namespace) -> list[Scenario]:
    known = load_scenarios()
    if options.only:
        asked = options.only.split(",")
        if unknown := set(asked) - known.keys():
            raise SystemExit(f"there is no scenario {', '.join(sorted(unknown))}: there are {', '.join(known)}")
        return [known[name] for name in known if name in asked]
    return [scenario for scenario in known.values() if scenario.is_soak == options.soak]


class Run:
    """Scenarios one after the other, each of which may have been done before."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._end_at = time.monotonic() + options.max_seconds
        self._kept = Kept(options.kept, seed=options.seed, is_smoke=options.smoke)
        self._commit = procfs.commit(ROOT)  # before the page is written anew

    @cached_property
    def _machine(self) -> str:
        return procfs.machine(self._options.data)

    def run(self, scenarios: Sequence[Scenario]) -> list[Result]:
        """The results of those that could be run. When the time is over, the rest is left to the next run."""
        results: list[Result] = []
        for scenario in scenarios:
            if missing := scenario.missing():
                say(f"SKIPPED {scenario.id}: {missing}")
                continue
            result = self._kept.find(scenario.id) or self._measure(scenario)
            if result is None:
                say(f"out of time at {scenario.id}: the same command goes on from there")
                return results
            print(f"\n{result.id}: {result.title}\n{report.table(result.figures)}\n{result.problem}", flush=True)
            results.append(result)
            if self._options.report:
                report.write_page(publish([result]))
        for scenario in scenarios:
            self._kept.remove(scenario.id)
        return results

    def _measure(self, scenario: Scenario) -> Result | None:
        say(f"{scenario.id}: {scenario.title}")
        begun_at = time.monotonic()
        figures: list[Figure] = []
        problem = ""
        with tempfile.TemporaryDirectory(prefix="tocsin-faults-", dir=self._options.data) as folder:
            Path(folder).chmod(0o755)  # PostgreSQL's ordinary user has a folder in it
            context = Context(
                scenario.id,
                seed=self._options.seed,
                folder=Path(folder),
                is_smoke=self._options.smoke,
                end_at=self._end_at,
                kept=self._kept.parts(scenario.id),
            )
            try:
                figures = asyncio.run(_whole(scenario, context))
            except OutOfTime:
                return None
            except Exception as error:  # noqa: BLE001 - the others are run all the same
                traceback.print_exc()
                problem = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
        result = Result.of(
            scenario,
            figures=figures,
            problem=problem,
            seconds=time.monotonic() - begun_at,
            seed=self._options.seed,
            is_smoke=self._options.smoke,
            commit=self._commit,
            machine=self._machine,
            measured_at=procfs.today(),
        )
        if not problem:
            self._kept.add(result)
        return result


async def _whole(scenario: Scenario, context: Context) -> list[Figure]:
    return await scenario.run(context)


def main() -> int:
    end_on_sigterm()
    options = parse_options()
    processes.LOG_LEVEL = "info"
    results = Run(options).run(chosen(options))
    missed = [result.id for result in results if not result.is_met]
    print(f"\n{len(results)} scenarios; " + (f"missed: {', '.join(missed)}" if missed else "every target is met"))
    if options.report:
        report.write_page(read_published())
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
