"""What growth measured, step by step, kept in a file so that a run that was broken off goes on."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.pairs import Compared
from benchmarks.report import aligned


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """One state of one database (second) against next to nothing in it (first)."""

    database: str
    state: str
    accepted: Compared | None
    delivered: Compared
    cpu_us: Compared
    waking_p50_ms: Compared
    waking_p99_ms: Compared
    memory_mb: Compared
    database_mb: Compared
    commit: str
    measured_at: str


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """All finished steps of runs with the same options."""

    scale: float
    pairs: int
    steps: tuple[Grown, ...] = ()


def read_growth(path: Path, scale: float, pairs: int) -> Growth:
    """What the file holds of runs with these options; nothing when there is none."""
    if path.exists():
        found = msgspec.json.decode(path.read_bytes(), type=Growth)
        if (found.scale, found.pairs) == (scale, pairs):
            return found
    return Growth(scale=scale, pairs=pairs)


def write_growth(path: Path, growth: Growth) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(growth)) + b"\n")


def growth_table(steps: Sequence[Grown]) -> str:
    """Each figure as the empty state's, the grown one's, and the median ratio of the pairs."""
    head = [
        "",
        "accepted/s",
        "delivered/s",
        "CPU µs",
        "resumed to arrived, p50 ms",
        "p99 ms",
        "memory MB",
        "database MB",
    ]
    lines = [
        [
            f"{step.database}: {step.state}",
            _shown(step.accepted, ",.0f"),
            _shown(step.delivered, ",.0f"),
            _shown(step.cpu_us, ",.0f"),
            _shown(step.waking_p50_ms, ".1f"),
            _shown(step.waking_p99_ms, ".1f"),
            _shown(step.memory_mb, ".0f"),
            _shown(step.database_mb, ".0f") if step.database_mb.first else "-",
        ]
        for step in steps
    ]
    return aligned([head, *lines])


def _shown(figure: Compared | None, shape: str) -> str:
    if figure is None:
        return "-"
    return f"{figure.first:{shape}} → {figure.second:{shape}} ({figure.ratio:.2f})"
