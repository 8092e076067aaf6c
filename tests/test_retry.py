"""When a delivery is tried again, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import DeliveryReason
from tocsin.retry import (
    DEFAULT_SCHEDULE_SECONDS,
    JITTER,
    MAX_RETRY_AFTER_SECONDS,
    GiveUp,
    TryAgain,
    next_step,
    parse_retry_after,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NEVER = NOW + timedelta(days=365)
ALMOST_ONE = 1 - 2**-53


def step(
    attempt: int,
    *,
    chance: float = 0.5,
    retry_after_seconds: float | None = None,
    expires_at: datetime = NEVER,
    schedule=DEFAULT_SCHEDULE_SECONDS,
) -> TryAgain | GiveUp:
    return next_step(
        attempt=attempt,
        schedule_seconds=schedule,
        now=NOW,
        expires_at=expires_at,
        chance=chance,
        retry_after_seconds=retry_after_seconds,
    )


def after(seconds: float) -> TryAgain:
    return TryAgain(NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [
        (1, 5),
        (2, 30),
        (3, 120),
        (4, 600),
        (5, 1800),
        (6, 7200),
        (7, 18000),
        (8, 36000),
        (9, 50400),
        (10, 72000),
        (11, 86400),
    ],
)
def test_the_default_schedule_waits_longer_each_time_within_its_jitter(attempt: int, seconds: int) -> None:
    assert step(attempt) == after(seconds)
    assert step(attempt, chance=0) == after(seconds * 0.75)
    latest = step(attempt, chance=ALMOST_ONE)
    assert isinstance(latest, TryAgain)
    assert latest.at <= NOW + timedelta(seconds=seconds * 1.25)


def test_the_default_schedule_outlasts_a_weekend() -> None:
    assert len(DEFAULT_SCHEDULE_SECONDS) == 12
    assert timedelta(seconds=sum(DEFAULT_SCHEDULE_SECONDS)) == timedelta(hours=75, minutes=42, seconds=35)


@pytest.mark.parametrize("attempt", [12, 13, 1000])
def test_after_the_last_attempt_a_delivery_is_exhausted(attempt: int) -> None:
    assert step(attempt) == GiveUp(DeliveryReason.EXHAUSTED)
    assert step(attempt, retry_after_seconds=1) == GiveUp(DeliveryReason.EXHAUSTED)


@pytest.mark.parametrize(
    ("retry_after_seconds", "expected"),
    [
        (None, 5),
        (0, 5),
        (4.9, 5),
        (5.5, 5.5),
        (60, 60),
        (MAX_RETRY_AFTER_SECONDS, 86400),
        (1e9, 86400),
        (-1, 5),
        (float("nan"), 5),
        (float("inf"), 5),
        (float("-inf"), 5),
    ],
)
def test_retry_after_can_only_postpone_and_by_a_day_at_most(retry_after_seconds, expected) -> None:
    assert step(1, retry_after_seconds=retry_after_seconds) == after(expected)


def test_what_would_be_tried_after_it_expires_is_given_up_at_once() -> None:
    assert step(1, expires_at=NOW + timedelta(seconds=5)) == GiveUp(DeliveryReason.EXPIRED)
    assert step(1, expires_at=NOW + timedelta(seconds=5, microseconds=1)) == after(5)
    soon = NOW + timedelta(seconds=30)
    assert step(1, retry_after_seconds=30, expires_at=soon) == GiveUp(DeliveryReason.EXPIRED)


def test_a_schedule_of_one_attempt_tries_nothing_again() -> None:
    assert step(1, schedule=(0,)) == GiveUp(DeliveryReason.EXHAUSTED)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("1.5", 1.5),
        (" 30 ", 30),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("", None),
        ("soon", None),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 04:05:05 +0100", 60),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60),
        ("Fri Jan  2 03:05:05 2026", 60),
        ("Fri, 02 Jan 2026 03:04:05 GMT", 0),
        ("Fri, 02 Jan 2026 03:04:04 GMT", None),
        ("Fri, 99 Jan 2026 03:04:04 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, answered_at=None, now=NOW) == seconds


def test_a_date_to_retry_after_is_compared_with_the_clock_that_wrote_it() -> None:
    wrong = "Thu, 01 Jan 2015 00:00:00 GMT"
    assert parse_retry_after("Thu, 01 Jan 2015 00:00:30 GMT", answered_at=wrong, now=NOW) == 30
    assert parse_retry_after("Fri, 02 Jan 2026 03:05:05 GMT", answered_at="garbage", now=NOW) == 60


DATE_LIKE = st.text(alphabet="FriJan GMT0123456789:,+-", max_size=40)


@given(text=st.text(max_size=40) | DATE_LIKE, answered_at=st.none() | st.text(max_size=40) | DATE_LIKE)
def test_no_retry_after_breaks_the_reading(text: str, answered_at: str | None) -> None:
    seconds = parse_retry_after(text, answered_at=answered_at, now=NOW)
    assert seconds is None or 0 <= seconds < float("inf")


CHANCES = st.floats(0, 1, exclude_max=True)
SCHEDULES = st.lists(st.floats(0, 1e6), min_size=1, max_size=20)


@given(
    schedule=SCHEDULES,
    attempt=st.integers(1, 25),
    chance=CHANCES,
    retry_after_seconds=st.none() | st.floats(),
    lifetime_seconds=st.floats(-10, 1e7),
)
def test_every_step_is_in_time_and_within_the_plan(schedule, attempt, chance, retry_after_seconds, lifetime_seconds):
    expires_at = NOW + timedelta(seconds=lifetime_seconds)
    match step(
        attempt,
        chance=chance,
        retry_after_seconds=retry_after_seconds,
        expires_at=expires_at,
        schedule=schedule,
    ):
        case GiveUp(reason):
            exhausted = attempt >= len(schedule)
            assert reason is (DeliveryReason.EXHAUSTED if exhausted else DeliveryReason.EXPIRED)
        case TryAgain(at):
            tick = timedelta(microseconds=1)
            assert NOW <= at < expires_at
            assert at >= NOW + timedelta(seconds=schedule[attempt] * (1 - JITTER)) - tick
            longest = max(schedule[attempt] * (1 + JITTER), MAX_RETRY_AFTER_SECONDS if retry_after_seconds else 0)
            assert at <= NOW + timedelta(seconds=longest) + tick


@given(attempt=st.integers(1, 11), low=CHANCES, high=CHANCES)
def test_a_greater_chance_never_comes_sooner(attempt, low, high):
    first, second = (step(attempt, chance=chance) for chance in sorted((low, high)))
    assert isinstance(first, TryAgain)
    assert isinstance(second, TryAgain)
    assert first.at <= second.at
