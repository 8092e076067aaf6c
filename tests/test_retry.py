"""When a delivery is tried again, and when it is given up."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import DeliveryReason
from tocsin.retry import (
    DEFAULT_SCHEDULE_SECONDS,
    JITTER,
    GiveUp,
    TryAgain,
    next_step,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NEVER = NOW + timedelta(days=365)
ALMOST_ONE = 1 - 2**-53


def step(
    attempt: int,
    *,
    chance: float = 0.5,
    wait_seconds: float | None = None,
    expires_at: datetime = NEVER,
    schedule=DEFAULT_SCHEDULE_SECONDS,
) -> TryAgain | GiveUp:
    return next_step(
        attempt=attempt,
        schedule_seconds=schedule,
        now=NOW,
        expires_at=expires_at,
        chance=chance,
        wait_seconds=wait_seconds,
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
    assert step(attempt, wait_seconds=1) == GiveUp(DeliveryReason.EXHAUSTED)


@pytest.mark.parametrize(
    ("wait_seconds", "expected"),
    [
        (None, 5),
        (0, 5),
        (4.9, 5),
        (5.5, 5.5),
        (60, 60),
    ],
)
def test_what_a_receiver_asks_for_can_only_postpone(wait_seconds, expected) -> None:
    assert step(1, wait_seconds=wait_seconds) == after(expected)


def test_what_would_be_tried_after_it_expires_is_given_up_at_once() -> None:
    assert step(1, expires_at=NOW + timedelta(seconds=5)) == GiveUp(DeliveryReason.EXPIRED)
    assert step(1, expires_at=NOW + timedelta(seconds=5, microseconds=1)) == after(5)
    soon = NOW + timedelta(seconds=30)
    assert step(1, wait_seconds=30, expires_at=soon) == GiveUp(DeliveryReason.EXPIRED)


def test_a_schedule_of_one_attempt_tries_nothing_again() -> None:
    assert step(1, schedule=(0,)) == GiveUp(DeliveryReason.EXHAUSTED)


CHANCES = st.floats(0, 1, exclude_max=True)
SCHEDULES = st.lists(st.floats(0, 1e6), min_size=1, max_size=20)


@given(
    schedule=SCHEDULES,
    attempt=st.integers(1, 25),
    chance=CHANCES,
    wait_seconds=st.none() | st.floats(0, 86400),
    lifetime_seconds=st.floats(-10, 1e7),
)
def test_every_step_is_in_time_and_within_the_plan(schedule, attempt, chance, wait_seconds, lifetime_seconds):
    expires_at = NOW + timedelta(seconds=lifetime_seconds)
    match step(
        attempt,
        chance=chance,
        wait_seconds=wait_seconds,
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
            longest = max(schedule[attempt] * (1 + JITTER), wait_seconds or 0)
            assert at <= NOW + timedelta(seconds=longest) + tick


@given(attempt=st.integers(1, 11), low=CHANCES, high=CHANCES)
def test_a_greater_chance_never_comes_sooner(attempt, low, high):
    first, second = (step(attempt, chance=chance) for chance in sorted((low, high)))
    assert isinstance(first, TryAgain)
    assert isinstance(second, TryAgain)
    assert first.at <= second.at
