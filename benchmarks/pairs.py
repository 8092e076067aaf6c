"""Two subjects compared in pairs, A, B, A, B: what the machine does meanwhile meets both."""

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from benchmarks.bench import LoadProcess
from benchmarks.load import Measured, Phase
from benchmarks.subjects import Subject


class Compared(msgspec.Struct, frozen=True):
    """The medians of one figure of both, and of the ratios of the pairs, with the lowest and the highest."""

    first: float
    second: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.first:,.4g} -> {self.second:,.4g} ({self.ratio:.2f} [{self.low:.2f}-{self.high:.2f}])"


def compare(firsts: Sequence[float], seconds: Sequence[float]) -> Compared:
    ratios = [b / a for a, b in zip(firsts, seconds, strict=True) if a]
    return Compared(
        median(firsts), median(seconds), median(ratios or [0]), min(ratios, default=0), max(ratios, default=0)
    )


class Pair:
    """Two running subjects, of which one is loaded at a time."""

    def __init__(self, load: LoadProcess, first: Subject, second: Subject) -> None:
        self.load = load
        self.first, self.second = first, second

    def measure(self, count: int, first: Phase, second: Phase | None = None) -> tuple[list[Measured], list[Measured]]:
        """So many pairs, of which each half may have a phase of its own. Raises when events are lost."""
        found: tuple[list[Measured], list[Measured]] = ([], [])
        for _ in range(count):
            for subject, phase, measured in (
                (self.first, first, found[0]),
                (self.second, second or first, found[1]),
            ):
                measured.append(self.load.measure(phase, subject))
                check(measured[-1])
        return found


def check(measured: Measured) -> None:
    if measured.missing or measured.refused:
        raise RuntimeError(
            f"{measured.missing} events missing, {measured.refused} refused {measured.refusal!r}: not measured"
        )


def compared(found: tuple[list[Measured], list[Measured]], read: Callable[[Measured], float]) -> Compared:
    return compare([read(one) for one in found[0]], [read(one) for one in found[1]])
