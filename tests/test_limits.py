"""Buckets: how much may be asked at once and over time, who counts for whom, and how many are kept in mind."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.line import straight_line
from tocsin.clock import ManualClock
from tocsin.errors import ConfigError, NotAuthenticated, TooMany
from tocsin.limits import (
    BAD_TOKENS,
    MAX_BUCKETS,
    PASSWORDS_BY_ADDRESS,
    PASSWORDS_BY_ADDRESS_AND_NAME,
    PASSWORDS_BY_NAME,
    Allowance,
    Allowances,
    Throttle,
)
from tocsin.settings import read_settings

HERE, THERE = "192.0.2.1", "2001:db8:1:2::/64"


def of(allowances: Allowances, token_id: str) -> Allowance:
    allowance = allowances.of(token_id)
    assert allowance is not None
    return allowance


def is_let(allowance: Allowance) -> bool:
    try:
        allowance.spend()
    except TooMany:
        return False
    return True


def fail(throttle: Throttle, name: str = "alice", address: str = HERE) -> float:
    """A wrong password; answers with how long to wait when it was not even looked at."""
    try:
        with throttle.checking_password(name, address):
            raise NotAuthenticated  # noqa: TRY301 - as the looking at it does
    except TooMany as error:
        return error.wait_seconds
    except NotAuthenticated:
        return 0


@given(
    per_minute=st.integers(1, 100_000),
    steps=st.lists(st.one_of(st.just(0), st.integers(1, 9), st.integers(10, 10**6)), max_size=200),
)
def test_a_bucket_lets_as_many_through_as_it_was_filled_with(per_minute: int, steps: list[int]) -> None:
    """Against the counting of tokens, in quarters of one, so that nothing is rounded."""
    clock = ManualClock()
    allowance = of(Allowances(clock, per_minute), "to-1")
    quarters = 4 * per_minute
    for step in steps:
        clock.advance(step * 60 / per_minute / 4)
        quarters = min(quarters + step, 4 * per_minute)
        assert f";r={quarters // 4};" in allowance.state
        assert is_let(allowance) == (quarters >= 4)
        quarters -= 4 if quarters >= 4 else 0


@given(per_minute=st.integers(1, 2000), seconds=st.integers(0, 600))
def test_whoever_asks_all_the_time_gets_the_burst_and_the_rate(per_minute: int, seconds: int) -> None:
    clock = ManualClock()
    allowance = of(Allowances(clock, per_minute), "to-1")
    let = 0
    for _ in range(seconds + 1):
        while is_let(allowance):
            let += 1
        clock.advance(1)
    assert let == per_minute + per_minute * seconds // 60


def test_who_has_to_wait_is_told_how_long_and_waiting_costs_nothing() -> None:
    clock = ManualClock()
    allowance = of(Allowances(clock, 2), "to-1")
    assert [is_let(allowance) for _ in range(5)] == [True, True, False, False, False]
    with pytest.raises(TooMany, match="2 requests a minute: try again in 30 s") as refused:
        allowance.spend()
    assert refused.value.wait_seconds == 30
    clock.advance(30)
    assert [is_let(allowance) for _ in range(2)] == [True, False]
    allowance.give_back()
    assert is_let(allowance)
    assert allowance.policy == '"token";q=2;w=60'
    assert allowance.state == '"token";r=0;t=60'


def test_every_use_of_a_token_shares_its_allowance_and_another_token_has_its_own() -> None:
    allowances = Allowances(ManualClock(), 1)
    assert of(allowances, "to-1") is of(allowances, "to-1")
    assert is_let(of(allowances, "to-1"))
    assert not is_let(of(allowances, "to-1"))
    assert is_let(of(allowances, "to-2"))
    assert Allowances(ManualClock(), None).of("to-1") is None


def test_passwords_are_guessed_slowly_from_one_address() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    burst = PASSWORDS_BY_ADDRESS_AND_NAME.burst
    assert [fail(throttle) for _ in range(burst)] == [0] * burst
    assert fail(throttle) == fail(throttle) == PASSWORDS_BY_ADDRESS_AND_NAME.interval_seconds
    for number in range(PASSWORDS_BY_ADDRESS.burst - burst):
        assert fail(throttle, f"user-{number}") == 0, "another name"
    assert fail(throttle, "yet-another") == PASSWORDS_BY_ADDRESS.interval_seconds
    assert fail(throttle, address=THERE) == 0, "another address"
    clock.advance(30)
    assert fail(throttle) == 0


def test_nobody_is_locked_out_by_others_who_guess_from_everywhere() -> None:
    throttle = Throttle(ManualClock())
    with throttle.checking_password("Alice", HERE):
        pass
    burst = PASSWORDS_BY_NAME.burst
    assert [fail(throttle, "alice", f"198.51.100.{number}") for number in range(burst)] == [0] * burst
    assert fail(throttle, "alice", "198.51.100.200") == PASSWORDS_BY_NAME.interval_seconds
    assert fail(throttle, "alice", HERE) == 0, "from where she has signed in"
    with throttle.checking_password("alice", HERE):
        pass


def test_nobody_is_locked_out_by_others_who_guess_from_the_same_address() -> None:
    throttle = Throttle(ManualClock())
    with throttle.checking_password("Alice", HERE):
        pass
    for number in range(PASSWORDS_BY_ADDRESS.burst):
        fail(throttle, f"user-{number}")
    assert fail(throttle, "bob") > 0
    assert fail(throttle, "alice") == 0, "she has signed in from here"


def test_a_password_that_is_right_or_could_not_be_looked_at_counts_for_nothing() -> None:
    throttle = Throttle(ManualClock())
    for _ in range(200):
        with throttle.checking_password("alice", HERE):
            pass
        with pytest.raises(OSError), throttle.checking_password("alice", HERE):
            raise OSError
    assert fail(throttle) == 0


def test_passwords_that_are_tried_at_once_are_counted_before_they_are_looked_at() -> None:
    throttle = Throttle(ManualClock())
    attempts = [throttle.checking_password("alice", HERE) for _ in range(11)]
    for attempt in attempts[:10]:
        attempt.__enter__()
    with pytest.raises(TooMany), attempts[10]:
        pass


def test_bad_tokens_are_counted_by_address() -> None:
    clock = ManualClock()
    throttle = Throttle(clock)
    for _ in range(BAD_TOKENS.burst):
        throttle.count_bad_token(HERE)
    with pytest.raises(TooMany):
        throttle.count_bad_token(HERE)
    throttle.count_bad_token(THERE)
    clock.advance(2)
    throttle.count_bad_token(HERE)


def test_a_million_addresses_fill_no_memory() -> None:
    throttle, allowances = Throttle(ManualClock()), Allowances(ManualClock(), 600)
    for number in range(1_000_000):
        throttle.count_bad_token(str(number))
    throttle.count_bad_token("999999")
    assert throttle._full_at[BAD_TOKENS]["999999"] == 2 * BAD_TOKENS.interval_seconds, "the last is remembered"
    for number in range(2 * MAX_BUCKETS):
        with throttle.checking_password(f"user-{number}", HERE):
            allowances.of(f"to-{number}")
    assert max(map(len, throttle._full_at.values())) == MAX_BUCKETS
    assert len(throttle._proven) == len(allowances._of) == MAX_BUCKETS


def test_many_of_one_kind_make_nothing_forgotten_of_another() -> None:
    throttle = Throttle(ManualClock())
    while not fail(throttle):
        pass
    for number in range(2 * MAX_BUCKETS):
        throttle.count_bad_token(str(number))
    assert fail(throttle), "it is still known how often she failed"


def test_without_a_limit_nothing_is_counted() -> None:
    throttle = Throttle(ManualClock(), is_on=False)
    assert {fail(throttle) for _ in range(1000)} == {0}
    for _ in range(1000):
        throttle.count_bad_token(HERE)


@pytest.mark.parametrize(("value", "per_minute"), [("off", None), ("OFF", None), ("1", 1), ("6000", 6000)])
def test_the_limit_is_a_setting(value: str, per_minute: int | None) -> None:
    assert read_settings({"TOCSIN_RATE_LIMIT": value}).rate_limit == per_minute
    assert read_settings({}).rate_limit == 600


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "much", "1000001", "nan"])
def test_a_limit_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="TOCSIN_RATE_LIMIT must be a whole number of requests a minute"):
        read_settings({"TOCSIN_RATE_LIMIT": value})


async def test_the_setting_is_what_holds(tmp_path: Path) -> None:
    async with straight_line(tmp_path, clock=ManualClock(), rate_limit=5) as line:
        answers = [await line.client.get("/v1/apps") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429], "two were asked before"
        assert answers[-1].headers["retry-after"] == "12"
    async with straight_line(tmp_path, is_new=False) as line:
        assert "ratelimit" not in (await line.client.get("/v1/apps")).headers
