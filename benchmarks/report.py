"""The figures of a run as a table and as ratios, and what is to be said against them."""

from collections.abc import Callable, Mapping
from statistics import median

import msgspec

from benchmarks.load import Measured
from benchmarks.rows import (
    BACKGROUND,
    CELERY,
    FLOOR_POSTGRES,
    FLOOR_SQLITE,
    ONE_WORKER,
    TOCSIN_POSTGRES,
    TOCSIN_SQLITE,
    TWO_WORKERS,
)

BUSY_LOAD = 0.9
KEEPING_UP = 0.95


class Figures(msgspec.Struct):
    """All measurements of one row."""

    accept: list[Measured] = []
    deliver: list[Measured] = []
    paced: list[Measured] = []
    app_mb: list[float] = []
    database_mb: list[float] = []

    def all(self) -> list[Measured]:
        return [*self.accept, *self.deliver, *self.paced]

    def delivered(self) -> list[float]:
        return [one.arrived_rate for one in self.deliver]

    def cpu_us(self) -> list[float]:
        """Of the app and its database together."""
        return [one.app_cpu_us + one.database_cpu_us for one in self.deliver]


def _two(first: list[float], second: list[float]) -> str:
    """A figure of the app, with its database's apart if it has one of its own."""
    if not first:
        return "-"
    return f"{median(first):.0f}" + (f" + {median(second):.0f}" if any(second) else "")


def _one(values: list[float], shape: str) -> str:
    return format(median(values), shape) if any(values) else "-"


def _spread(values: list[float], shape: str) -> str:
    middle = _one(values, shape)
    return middle if len(values) < 2 else f"{middle} [{format(min(values), shape)}-{format(max(values), shape)}]"


_COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("accepted/s", lambda figures: _one([one.accepted_rate for one in figures.accept], ",.0f")),
    ("delivered/s", lambda figures: _spread(figures.delivered(), ",.0f")),
    (
        "CPU µs",
        lambda figures: _two(
            [one.app_cpu_us for one in figures.deliver], [one.database_cpu_us for one in figures.deliver]
        ),
    ),
    ("p50 ms", lambda figures: _one([one.p50_ms for one in figures.paced], ".1f")),
    ("p99 ms", lambda figures: _one([one.p99_ms for one in figures.paced], ".1f")),
    ("memory MB", lambda figures: _two(figures.app_mb, figures.database_mb)),
    ("lost", lambda figures: str(sum(one.missing for one in figures.all()))),
    ("twice", lambda figures: str(sum(one.duplicates for one in figures.all()))),
)


def table(figures: Mapping[str, Figures]) -> str:
    """A Markdown table that is aligned for the terminal too."""
    lines = [["", *(title for title, _ in _COLUMNS)]]
    lines += [[name, *(read(one) for _, read in _COLUMNS)] for name, one in figures.items() if one.deliver]
    return aligned(lines)


def aligned(lines: list[list[str]]) -> str:
    """Markdown of these lines, the first of which is the head: words to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruled = [lines[0], ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], *lines[1:]]
    return "\n".join(
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |" for line in ruled
    )


RATIOS = (
    ("Tocsin / floor on SQLite", TOCSIN_SQLITE, FLOOR_SQLITE),
    ("Tocsin / floor on PostgreSQL", TOCSIN_POSTGRES, FLOOR_POSTGRES),
    ("Tocsin on SQLite / background tasks", TOCSIN_SQLITE, BACKGROUND),
    ("Tocsin on PostgreSQL / Celery", TOCSIN_POSTGRES, CELERY),
    ("two workers / one worker", TWO_WORKERS, ONE_WORKER),
)


def ratios(figures: Mapping[str, Figures]) -> str:
    """How rows compare that are made to be compared, as a table."""
    lines = [["", "delivered/s", "CPU an event"]]
    for title, first, second in RATIOS:
        one, other = figures.get(first, Figures()), figures.get(second, Figures())
        if any(one.delivered()) and any(other.delivered()):
            pair = (
                median(one.delivered()) / median(other.delivered()),
                median(one.cpu_us()) / median(other.cpu_us()),
            )
            lines.append([title, *(f"{ratio:.3g}" for ratio in pair)])
    return aligned(lines) if len(lines) > 1 else ""


def failures(figures: Mapping[str, Figures]) -> list[str]:
    """What must not happen: lost or refused events, or unsigned messages."""
    found = []
    for name, one in figures.items():
        for what in ("missing", "refused", "unsigned"):
            count = sum(getattr(measured, what) for measured in one.all())
            if count:
                found.append(f"{name}: {count} events {what}.")
        found += sorted({f"{name} refused: {measured.refusal!r}" for measured in one.all() if measured.refusal})
    return found


def doubts(figures: Mapping[str, Figures]) -> list[str]:
    """Why some of these figures may not say what they seem to; none when all is well."""
    found = []
    for name, one in figures.items():
        shares = [measured.arrived_rate / measured.due_rate for measured in one.paced]
        if shares and median(shares) < KEEPING_UP:
            found.append(f"{name}: it did not keep up with half its load, so its latencies mean nothing.")
        busy = max((measured.load_busy for measured in one.all()), default=0)
        if busy > BUSY_LOAD:
            found.append(f"{name}: the load generator was {busy:.0%} busy, so it may have been the limit.")
    return found
