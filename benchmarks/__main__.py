"""`python -m benchmarks`: measures Tocsin beside the floor, interleaved, and prints one table."""

import argparse
import sys
from pathlib import Path

from benchmarks import procfs, report
from benchmarks.bench import Bench
from benchmarks.subjects import ROOT, SUBJECTS

# Not /tmp, which is often held in memory: there a sync costs nothing.
DATA = Path("/var/tmp")  # noqa: S108 - a real disk: /tmp may be held in memory


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short repetition: 20 seconds, figures mean little")
    parser.add_argument("--only", choices=[subject.name.lower() for subject in SUBJECTS])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="how long each measurement lasts")
    parser.add_argument("--data", type=Path, default=DATA, help="where the databases go for the while")
    parser.add_argument("--write", action="store_true", help="refresh docs/performance.md")
    return parser.parse_args(words)


def main() -> int:
    options = parse_options()
    subjects = [subject for subject in SUBJECTS if options.only in {None, subject.name.lower()}]
    seconds, repetitions = (1.0, 1) if options.quick else (options.seconds, options.repetitions)
    bench = Bench(options.data, subjects, seconds, 0.5 if options.quick else 1.0)
    try:
        for _ in range(repetitions):
            bench.measure_speed()
        if not report.complaints(bench.figures):
            for _ in range(repetitions):
                bench.measure_latency()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    table, machine, commit = report.table(bench.figures), procfs.machine(options.data), procfs.commit(ROOT)
    complaints = report.complaints(bench.figures)
    print(f"\n{table}\n\n{machine}; commit {commit}")
    print("\n".join(complaints or ["Every acknowledged event was delivered."]))
    if options.write and not complaints:
        report.write(ROOT / "docs" / "performance.md", table, machine, commit)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
