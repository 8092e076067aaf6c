"""What the parts of a scenario found, added up to figures."""

from collections.abc import Mapping, Sequence
from statistics import quantiles

import msgspec

from benchmarks.bench import say
from faults import checker
from faults.checker import Evidence
from faults.scenario import Figure

MOST_KEPT = 1000


class Tally(msgspec.Struct, kw_only=True):
    """What one part found; kept between runs."""

    faults: int = 0
    accepted: int = 0
    duplicates: int = 0
    in_doubt: int = 0
    """Attempts whose outcome nobody learned: they were under way, or about to be, when their process ended."""

    violations: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    """Whatever else was counted, by name."""

    seconds: dict[str, list[float]] = {}
    """Times that were measured, by name."""


def tally(
    evidence: Evidence,
    *,
    faults: int,
    counts: Mapping[str, int] | None = None,
    seconds: Mapping[str, list[float]] | None = None,
) -> Tally:
    """What the checker says of a part; some of what it says is told at once."""
    violations = checker.check(evidence)
    for name, found in violations.items():
        for words in found[:3]:
            say(f"  {name}: {words}")
    return Tally(
        faults=faults,
        accepted=len(evidence.accepted),
        duplicates=len(checker.duplicates(evidence)),
        in_doubt=sum(row.outcome == "unknown" for row in evidence.holdings.attempts),
        violations={name: found[:MOST_KEPT] for name, found in violations.items()},
        counts=dict(counts or {}),
        seconds=dict(seconds or {}),
    )


def summary(parts: Sequence[Tally], faults: str) -> list[Figure]:
    """What nearly every scenario says: how many faults, how many events, and each invariant, to be violated never."""
    total, in_doubt = sum(part.duplicates for part in parts), sum(part.in_doubt for part in parts)
    struck, accepted = sum(part.faults for part in parts), sum(part.accepted for part in parts)
    return [
        Figure(name=faults, value=struck),
        Figure(name="events accepted", value=accepted),
        *checker.figures(part.violations for part in parts),
        Figure(name="duplicates", value=total, target=f"<= {in_doubt} in doubt"),
        Figure(name="duplicates a fault", value=total / max(struck, 1)),
        Figure(name="duplicates in 10,000 events", value=total / max(accepted, 1) * 10_000),
    ]


def counted(parts: Sequence[Tally], name: str, target: str = "") -> Figure:
    return Figure(name=name, value=sum(part.counts.get(name, 0) for part in parts), target=target)


def times(parts: Sequence[Tally], name: str, target: str = "") -> list[Figure]:
    """How the times of that name are spread over all parts."""
    return spread(name, [one for part in parts for one in part.seconds.get(name, [])], target)


def spread(name: str, seconds: Sequence[float], target: str = "") -> list[Figure]:
    """The median and the 99th percentile, the latter with its target; nothing of nothing."""
    if not seconds:
        return []
    cuts = quantiles([*seconds, *seconds], n=100, method="inclusive")
    return [
        Figure(name=f"{name}, p50", value=cuts[49], unit="s"),
        Figure(name=f"{name}, p99", value=cuts[98], unit="s", target=target),
    ]
