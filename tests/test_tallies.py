"""Latencies in classes: percentiles lie where the latencies lay, as closely as the classes tell."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.tallies import LATENCY_BOUNDS_MS, class_of, hour_of, percentile_ms, start_of


@given(st.lists(st.integers(0, 2 * LATENCY_BOUNDS_MS[-1]), min_size=1), st.floats(0.01, 1))
def test_a_percentile_lies_in_the_class_of_the_latency_it_stands_for(latencies: list[int], share: float) -> None:
    counts = Counter(class_of(timedelta(milliseconds=each)) for each in latencies)
    told = percentile_ms(counts, share)
    passed = [each for each in sorted(latencies) if class_of(timedelta(milliseconds=each)) >= 0]
    exact = passed[min(int(share * len(passed) - 1e-9), len(passed) - 1)]
    number = class_of(timedelta(milliseconds=exact))
    low = LATENCY_BOUNDS_MS[number - 1] if number else 0
    high = LATENCY_BOUNDS_MS[number] if number < len(LATENCY_BOUNDS_MS) else low
    assert told is not None
    assert low <= told <= high


def test_latencies_are_spread_evenly_within_a_class() -> None:
    tens = class_of(timedelta(milliseconds=10))
    assert percentile_ms({tens: 4}, 0.5) == pytest.approx(15)
    assert percentile_ms({0: 50, tens: 50}, 0.95) == pytest.approx(19)
    assert percentile_ms({len(LATENCY_BOUNDS_MS): 3}, 0.5) == LATENCY_BOUNDS_MS[-1]
    assert percentile_ms({}, 0.5) is None


def test_hours_are_counted_since_1970() -> None:
    at = datetime(2026, 1, 2, 3, 59, 59, 999_999, UTC)
    assert start_of(hour_of(at)) == datetime(2026, 1, 2, 3, tzinfo=UTC)
