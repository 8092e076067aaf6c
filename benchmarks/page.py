"""docs/performance.md, .json and .svg: each command rewrites its own part of the data, and the page from all of it."""

from pathlib import Path
from statistics import median

import msgspec

from benchmarks import plot, report
from benchmarks.growth_report import Growth, growth_table
from benchmarks.handover import Handover
from benchmarks.pages import Pages, pages_table
from benchmarks.pairs import Compared
from benchmarks.report import Figures
from benchmarks.subjects import ROOT
from benchmarks.workers import Workers

_TEMPLATE = Path(__file__).with_name("performance.md.in")
_ABSENT = "Not measured yet."


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What `make bench` found, and where and when."""

    figures: dict[str, Figures]
    doubts: list[str]
    machine: str
    commit: str
    measured_at: str


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows."""

    bench: Measurement | None = None
    workers: Workers | None = None
    handover: Handover | None = None
    growth: Growth | None = None
    pages: Pages | None = None


def rewrite(folder: Path = ROOT / "docs", **parts: Measurement | Workers | Handover | Growth | Pages) -> None:
    """Replace these parts of the data, keep the others, and write the page and its plot anew."""
    path = folder / "performance.json"
    data = msgspec.json.decode(path.read_bytes(), type=Data) if path.exists() else Data()
    data = msgspec.structs.replace(data, **parts)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n")
    (folder / "performance.md").write_text(shown(data))
    if data.bench is not None:
        rates = {name: median(one.delivered() or [0]) for name, one in data.bench.figures.items()}
        chart = plot.bars("Events delivered per second", rates)
        (folder / "performance.svg").write_text(chart)


def shown(data: Data) -> str:
    """The page as Markdown."""
    bench = _ABSENT if data.bench is None else _bench(data.bench)
    workers = _ABSENT if data.workers is None else workers_table(data.workers)
    handover = _ABSENT if data.handover is None else handover_table(data.handover)
    growth = _ABSENT if data.growth is None else _growth(data.growth)
    pages = _ABSENT if data.pages is None else pages_table(data.pages)
    return _TEMPLATE.read_text().format(bench=bench, workers=workers, handover=handover, growth=growth, pages=pages)


def _bench(measurement: Measurement) -> str:
    parts = [
        "![Events delivered per second](performance.svg)",
        report.table(measurement.figures),
        report.ratios(measurement.figures),
        "\n".join(f"- {doubt}" for doubt in measurement.doubts),
        f"Measured {measurement.measured_at} at commit {measurement.commit}, on {measurement.machine}.",
        "Medians of interleaved repetitions, with the lowest and highest in brackets.",
    ]
    return "\n\n".join(part for part in parts if part)


def workers_table(workers: Workers) -> str:
    lines = [["", "1 worker", "2 workers", "ratio of pairs"]]
    for title, figure in (
        ("receivers answer after 50 ms: delivered/s", workers.slow_delivered),
        ("receivers answer at once: delivered/s", workers.fast_delivered),
        ("receivers answer at once: CPU µs an event, with the database's", workers.fast_cpu_us),
    ):
        lines.append([title, *_compared(figure)])
    return f"{report.aligned(lines)}\n\nMeasured {workers.measured_at} at commit {workers.commit}."


def handover_table(handover: Handover) -> str:
    lines = [["", "claimed", "handed over", "ratio of pairs"]]
    for one in handover.found:
        for title, figure in (
            ("delivered/s", one.delivered),
            ("CPU µs an event, with the database's", one.cpu_us),
            ("p50 ms at 1,000 events/s", one.p50_ms),
        ):
            lines.append([f"{one.database}: {title}", *_compared(figure)])
    return f"{report.aligned(lines)}\n\nMeasured {handover.measured_at} at commit {handover.commit}."


def _compared(figure: Compared) -> list[str]:
    figures = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (figure.first, figure.second))
    return [*figures, f"{figure.ratio:.2f} [{figure.low:.2f}-{figure.high:.2f}]"]


def _growth(growth: Growth) -> str:
    commits = sorted({f"{step.measured_at} at commit {step.commit}" for step in growth.steps})
    scale = "" if growth.scale == 1 else f" Numbers of rows scaled by {growth.scale:g}."
    return f"{growth_table(growth.steps)}\n\nMedians of {growth.pairs} pairs, measured {', '.join(commits)}.{scale}"
