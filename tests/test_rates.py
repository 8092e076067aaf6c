"""Token buckets: never more than the rate lets through, whenever one asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crowd import a_notifier
from tocsin import rates
from tocsin.clock import ManualClock
from tocsin.rates import Rates


def test_a_slow_rate_has_no_burst() -> None:
    clock = ManualClock()
    buckets, notifier = Rates(clock, {}), a_notifier(rate_per_second=0.5)
    assert buckets.take(notifier, 5) == 1
    assert buckets.wait_seconds(notifier) == pytest.approx(2)
    clock.advance(1.5)
    assert buckets.take(notifier, 5) == 0
    assert buckets.wait_seconds(notifier) == pytest.approx(0.5)
    clock.advance(buckets.wait_seconds(notifier))
    assert buckets.take(notifier, 5) == 1


def test_a_fast_rate_has_a_burst_of_a_second_and_no_more() -> None:
    clock = ManualClock()
    buckets, notifier = Rates(clock, {}), a_notifier(rate_per_second=10)
    assert buckets.take(notifier, 64) == 10
    clock.advance(3600)
    assert buckets.take(notifier, 64) == 10
    clock.advance(0.25)
    assert buckets.take(notifier, 64) == 2


def test_what_was_not_used_is_there_again_but_never_more_than_the_burst() -> None:
    buckets, notifier = Rates(ManualClock(), {}), a_notifier(rate_per_second=3)
    assert buckets.take(notifier, 2) == 2
    buckets.give_back(notifier.id, 5)
    assert buckets.take(notifier, 64) == 3
    buckets.give_back("unknown", 1)


def test_a_notifier_s_own_rate_goes_before_its_platform_s_and_none_is_unbounded() -> None:
    buckets = Rates(ManualClock(), {"slack": 1.0})
    assert buckets.rate_of(a_notifier(platform="slack")) == 1
    assert buckets.rate_of(a_notifier(platform="slack", rate_per_second=4)) == 4
    free = a_notifier()
    assert buckets.rate_of(free) is None
    assert buckets.take(free, 64) == 64
    assert buckets.wait_seconds(free) == 0


def test_full_buckets_are_forgotten_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_BUCKETS", 2)
    clock = ManualClock()
    buckets = Rates(clock, {})
    used, full = a_notifier("a1", rate_per_second=0.001), a_notifier("a2", rate_per_second=10)
    assert buckets.take(used, 1) == 1
    assert buckets.take(full, 1) == 1
    clock.advance(1)
    assert buckets.take(a_notifier("a3", rate_per_second=1), 1) == 1
    assert buckets.take(used, 1) == 0
    assert set(buckets._buckets) == {"a1", "a3"}


@given(
    rate=st.floats(0.01, 100),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20), st.booleans()), max_size=40),
)
def test_no_span_of_time_sees_more_than_the_burst_and_what_the_rate_adds(
    rate: float, steps: list[tuple[float, int, bool]]
) -> None:
    clock = ManualClock()
    buckets, notifier = Rates(clock, {}), a_notifier(rate_per_second=rate)
    taken: list[tuple[float, int]] = []
    for seconds, wanted, is_undone in steps:
        clock.advance(seconds)
        count = buckets.take(notifier, wanted)
        if is_undone:
            buckets.give_back(notifier.id, count)
        else:
            taken.append((clock.monotonic(), count))
    for start in range(len(taken)):
        for end in range(start, len(taken)):
            span = taken[end][0] - taken[start][0]
            assert sum(count for _, count in taken[start : end + 1]) <= max(1, rate) + rate * span + 1e-3
