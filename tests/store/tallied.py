"""What tallies must say, counted from the history."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tocsin.tallies import class_of, hour_of

Key = tuple[str, str, int, str, int]


def ended(rows: Iterable[Any]) -> Counter[Key]:
    """Finished deliveries, as they are to be counted."""
    return Counter(
        (
            row.app_id,
            row.notifier_id,
            hour_of(row.finished_at),
            row.state,
            class_of(row.finished_at - row.created_at) if row.state == "delivered" else 0,
        )
        for row in rows
    )


def told(tallies: Iterable[Any]) -> Counter[Key]:
    """What was counted, of all parts."""
    counts: Counter[Key] = Counter()
    for row in tallies:
        counts[row.app_id, row.notifier_id, row.hour, row.state, row.latency] += row.count
    return counts
