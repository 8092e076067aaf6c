"""`python -m benchmarks`: measures Tocsin beside the floor and what one would write instead, and prints one table."""

import argparse
import sys
from pathlib import Path
from time import monotonic

from benchmarks import page, procfs, report
from benchmarks.against import measure_against
from benchmarks.bench import Bench, end_on_sigterm, say
from benchmarks.handover import Handover, measure_handover
from benchmarks.page import Measurement
from benchmarks.pages import Pages, measure_pages, pages_table, slow
from benchmarks.rows import ROWS, Row
from benchmarks.subjects import ROOT
from benchmarks.workers import Workers, measure_workers


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short repetition: figures mean little")
    parser.add_argument("--only", action="append", default=[], help="rows whose name contains this; may be repeated")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=15, help="begin no repetition that would end later")
    parser.add_argument("--seconds", type=float, default=3, help="how long each measurement lasts")
    parser.add_argument("--workers", action="store_true", help="instead, one worker process against two")
    parser.add_argument("--handover", action="store_true", help="instead, claiming against handing over")
    parser.add_argument("--pages", action="store_true", help="instead, the dashboard with a million deliveries")
    parser.add_argument(
        "--against", type=Path, metavar="FOLDER", help="instead, the Tocsin of another checkout and this one"
    )
    parser.add_argument("--pairs", type=int, default=10, help="with those three: how many pairs")
    parser.add_argument("--data", type=Path, default=procfs.DATA, help="where the databases go for the while")
    parser.add_argument("--write", action="store_true", help="refresh docs/performance.md")
    options = parser.parse_args(words)
    if options.quick:
        options.repetitions, options.seconds, options.pairs = 1, 0.5, 1
    return options


def chosen(only: list[str]) -> list[Row]:
    """The rows asked for that can be measured here; the others are named."""
    rows = []
    for row in ROWS:
        if only and not any(words.lower() in row.name.lower() for words in only):
            continue
        if missing := row.missing():
            say(f"SKIPPED {row.name}: {', '.join(missing)} is not installed")
        else:
            rows.append(row)
    return rows


def measure_rows(options: argparse.Namespace) -> int:
    bench = Bench(options.data, chosen(options.only), options.seconds, 0.3 if options.quick else 1.0)
    begun_at = monotonic()
    for done in range(1, options.repetitions + 1):
        bench.repeat()
        seconds = monotonic() - begun_at
        if done < options.repetitions and seconds / done * (done + 1) > options.minutes * 60:
            say(f"another repetition would end after more than {options.minutes:g} minutes: {done} it is")
            break
    failures = [*(f"{name}: {why}" for name, why in bench.failures.items()), *report.failures(bench.figures)]
    doubts = report.doubts(bench.figures)
    measurement = Measurement(
        figures=bench.figures,
        doubts=doubts,
        machine=procfs.machine(options.data),
        commit=procfs.commit(ROOT),
        measured_at=procfs.today(),
    )
    print(f"\n{report.table(bench.figures)}\n\n{report.ratios(bench.figures)}\n")
    print(f"{measurement.machine}; commit {measurement.commit}")
    print("\n".join([*failures, *doubts] or ["Every acknowledged event was delivered."]))
    pages = None if options.only else find_pages(options)
    if options.write and not failures:
        page.rewrite(bench=measurement)
        if pages is not None:
            page.rewrite(pages=pages)
    return 1 if failures else 0


def find_pages(options: argparse.Namespace) -> Pages:
    pages = measure_pages(options.data, **({"rows": 10_000, "requests": 5} if options.quick else {}))
    print("\n".join([pages_table(pages), *slow(pages)]))
    return pages


def measure_pairs(options: argparse.Namespace) -> int:
    parts: dict[str, Workers | Handover | Pages] = {}
    if options.against:
        measure_against(options.against, options.data, options.seconds, options.pairs)
        return 0
    if options.pages:
        parts["pages"] = find_pages(options)
    elif options.workers:
        parts["workers"] = workers = measure_workers(options.data, options.seconds, options.pairs)
        print(page.workers_table(workers))
    else:
        parts["handover"] = handover = measure_handover(options.data, options.seconds, options.pairs)
        print(page.handover_table(handover))
    if options.write:
        page.rewrite(ROOT / "docs", **parts)
    return 0


def main() -> int:
    end_on_sigterm()
    options = parse_options()
    if not (options.workers or options.handover or options.pages or options.against):
        return measure_rows(options)
    try:
        return measure_pairs(options)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
