"""What is counted of deliveries that end: how many, hour by hour, and how late those that arrived were, in classes."""

from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

LATENCY_BOUNDS_MS = (
    *(5, 10, 20, 50, 100, 200, 500),
    *(1_000, 2_000, 5_000, 10_000, 20_000),
    *(60_000, 120_000, 300_000, 900_000, 1_800_000),
    *(3_600_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000),
)
"""Where the classes of latencies end, each below its bound; the last class has no end. The triggers' numbers too."""

HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hour_of(at: datetime) -> int:
    """Whole hours since 1970."""
    return (at - _EPOCH) // HOUR


def start_of(hour: int) -> datetime:
    return _EPOCH + hour * HOUR


def class_of(latency: timedelta) -> int:
    """The number of the class that a latency falls in."""
    return bisect_right(LATENCY_BOUNDS_MS, latency / timedelta(milliseconds=1))


def percentile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """The latency below which a share of what was counted lies, by class; evenly spread within a class.

    None where nothing was counted. What lies in the last class is told as its beginning.
    """
    wanted = share * sum(counts.values())
    passed = 0
    for number, count in sorted(counts.items()):
        if count and passed + count >= wanted:
            low = LATENCY_BOUNDS_MS[number - 1] if number else 0
            high = LATENCY_BOUNDS_MS[number] if number < len(LATENCY_BOUNDS_MS) else low
            return low + (high - low) * (wanted - passed) / count
        passed += count
    return None
