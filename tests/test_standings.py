"""What is known of a notifier: its ramp, whether it is slow, and its share among several workers."""

from datetime import timedelta
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crowd import AT, DELIVERED, LOOSE, REFUSED, TIMED_OUT, Crowd, a_notifier
from tocsin import standings
from tocsin.standings import Share


@given(cap=st.integers(0, 300), count=st.integers(1, 50), key=st.integers(0, 2**32 - 1))
def test_the_shares_of_all_workers_add_up_to_the_cap(cap: int, count: int, key: int) -> None:
    shares = [Share(count, own).of(cap, key) for own in range(count)]
    assert sum(shares) == cap
    assert max(shares) - min(shares) <= 1
    assert [Share(count, own).owns(key) for own in range(count)].count(True) == 1


def test_what_a_new_notifier_is_sent_at_once_doubles_with_each_success() -> None:
    standing = Crowd().standings.of(a_notifier())
    limits = [standing.limit]
    for _ in range(6):
        standing.judge(DELIVERED)
        limits.append(standing.limit)
    assert limits == [1, 2, 4, 8, 16, 16, 16]


def test_failures_do_not_raise_it_and_a_time_out_brings_it_down() -> None:
    standing = Crowd().standings.of(a_notifier())
    standing.judge(REFUSED)
    assert (standing.limit, standing.is_tried) == (1, False)
    for _ in range(4):
        standing.judge(DELIVERED)
    standing.judge(REFUSED)
    assert standing.limit == 16
    standing.judge(TIMED_OUT)
    assert (standing.limit, standing.is_slow) == (1, True)
    standing.judge(DELIVERED)
    assert (standing.limit, standing.is_slow) == (2, False)


def test_after_a_recovery_it_begins_anew_and_doubles_every_ten_successes() -> None:
    crowd = Crowd()
    notifier = a_notifier()
    crowd.prove(notifier)
    recovered = msgspec.structs.replace(notifier, recovered_at=AT)
    standing = crowd.standings.of(recovered)
    limits = []
    for _ in range(41):
        limits.append(standing.limit)
        standing.judge(DELIVERED)
    assert limits == [1] * 10 + [2] * 10 + [4] * 10 + [8] * 10 + [16]
    assert crowd.standings.of(recovered).limit == 16, "the same recovery counts once"


@pytest.mark.parametrize(("ago", "limit_after_four"), [(timedelta(minutes=1), 1), (timedelta(hours=1), 16)])
def test_a_recovery_shortly_before_this_process_first_saw_the_notifier_counts_too(
    ago: timedelta, limit_after_four: int
) -> None:
    crowd = Crowd()
    notifier = a_notifier(recovered_at=AT - ago)
    crowd.prove(notifier)
    assert crowd.standings.of(notifier).limit == limit_after_four


def test_attempts_that_take_long_make_a_notifier_slow_until_they_take_less() -> None:
    standing = Crowd().standings.of(a_notifier())
    for _ in range(2):
        standing.note_latency(10.0)
    assert standing.is_slow
    assert standing.patience_seconds == 1
    counts = 0
    while standing.is_slow:
        standing.note_latency(0.01)
        counts += 1
    assert counts == 3
    for _ in range(30):
        standing.note_latency(0.01)
    assert standing.patience_seconds == 0.25


def test_leases_follow_what_may_be_sent_at_once() -> None:
    crowd = Crowd()
    notifier = a_notifier()
    leases = [crowd.standings.leases_of_unknown(notifier)]
    standing = crowd.standings.of(notifier)
    for attempt in (DELIVERED, DELIVERED, DELIVERED, DELIVERED, TIMED_OUT):
        leases.append(standing.leases)
        standing.judge(attempt)
    leases.append(standing.leases)
    assert leases == [1, 1, 8, 16, 32, 64, 1]


def test_several_workers_divide_a_notifier_and_what_is_rated_is_one_worker_s() -> None:
    free, rated = a_notifier("a1"), a_notifier("a2", rate_per_second=1)
    limits: list[tuple[int, int]] = []
    for own in range(3):
        crowd = Crowd()
        crowd.prove(free, rated)
        assert crowd.standings.divide(3, own)
        assert not crowd.standings.divide(3, own)
        limits.append((crowd.standings.of(free).limit, crowd.standings.of(rated).limit))
    assert sum(of_free for of_free, _ in limits) == 16
    assert sorted(of_rated for _, of_rated in limits) == [0, 0, 16]


def test_a_worker_without_a_share_leases_nothing_even_of_what_it_does_not_know() -> None:
    notifier = a_notifier()
    own = next(own for own in range(40) if Share(40, own).of(LOOSE.per_notifier, crc32(notifier.id.encode())) == 0)
    crowd = Crowd()
    crowd.standings.divide(40, own)
    assert crowd.slots.take_up_to(notifier, 5) == 0
    crowd.standings.of(notifier)
    assert crowd.slots.take_up_to(notifier, 5) == 0


def test_what_is_remembered_is_bounded_but_nobody_under_way_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standings, "MAX_REMEMBERED", 3)
    crowd = Crowd()
    busy = crowd.standings.of(a_notifier("a0"))
    busy.under_way = 1
    for number in range(1, 10):
        crowd.standings.of(a_notifier(f"a{number}"))
    assert crowd.standings.find("a0") is busy
    assert crowd.standings.find("a9") is not None
    assert len(crowd.standings._known) <= 4
