"""What becomes of a notifier by what is found out about it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.life import (
    DISABLE_AFTER,
    DISABLE_ATTEMPTS,
    FIRST_STOP_SECONDS,
    JITTER,
    LONGEST_STOP_SECONDS,
    Arrived,
    Ended,
    Failed,
    Finding,
    Held,
    ProbeFailed,
    after,
    freed,
    told,
)
from tocsin.model import Notifier, NotifierState, Reason

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STOP = Failed(since=NOW, count=5, reason=Reason.TIMEOUT, is_stop=True)


def notifier(**fields) -> Notifier:
    given = {"id": "no", "app_id": "a", "name": "n", "platform": "webhook", "secret": "s"}
    return Notifier(**given, created_at=NOW, updated_at=NOW, **fields)


def live(subject: Notifier, *findings: Finding, now: datetime = NOW, chance: float = 0.5) -> Notifier:
    for finding in findings:
        subject = after(subject, finding, now=now, chance=chance)
    return subject


def test_a_stop_lasts_30_seconds_and_twice_as_long_after_each_failed_probe_up_to_10_minutes() -> None:
    subject, seconds = live(notifier(), STOP), []
    for _ in range(8):
        assert subject.state is NotifierState.FAILING
        seconds.append((subject.held_until - NOW).total_seconds())
        subject = live(subject, ProbeFailed(Reason.TIMEOUT))
    assert seconds == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_stop_is_jittered() -> None:
    lengths = {(live(notifier(), STOP, chance=chance).held_until - NOW).total_seconds() for chance in (0, 0.5, 0.99)}
    assert min(lengths) == FIRST_STOP_SECONDS * (1 - JITTER)
    assert len(lengths) == 3


def test_two_probes_that_arrive_bring_a_notifier_back() -> None:
    stopped = live(notifier(), STOP)
    once = live(stopped, Arrived(is_probe=True))
    assert (once.state, once.held_until) == (NotifierState.FAILING, NOW)
    back = live(once, Arrived(is_probe=True))
    assert (back.state, back.state_reason, back.held_until) == (NotifierState.ACTIVE, None, None)
    assert (back.failing_since, back.failed_count, back.trip_count) == (None, 0, 0)
    assert back.recovered_at == NOW


def test_a_probe_that_fails_between_makes_it_begin_anew() -> None:
    subject = live(notifier(), STOP, Arrived(is_probe=True), ProbeFailed(Reason.TIMEOUT), Arrived(is_probe=True))
    assert subject.state is NotifierState.FAILING


def test_a_receiver_that_fails_is_not_asked_again_before_it_wants_to_be() -> None:
    later, sooner = NOW + timedelta(hours=1), NOW + timedelta(seconds=1)
    stopped = live(notifier(), STOP)
    assert live(stopped, ProbeFailed(Reason.RATE_LIMITED, later)).held_until == later
    assert live(stopped, ProbeFailed(Reason.RATE_LIMITED, sooner)).held_until == NOW + timedelta(seconds=60)


def test_what_was_under_way_at_the_stop_brings_nothing_back() -> None:
    stopped = live(notifier(), STOP)
    assert live(stopped, Arrived(is_probe=False), Arrived(is_probe=False)) == stopped


def test_an_arrival_ends_a_row_of_failures_that_did_not_stop_it() -> None:
    failing = live(notifier(), Failed(since=NOW, count=3, reason=Reason.REJECTED))
    assert (failing.state, failing.failing_since, failing.failed_count) == (NotifierState.ACTIVE, NOW, 3)
    assert live(failing, Arrived(is_probe=False)) == notifier()


def test_the_owner_is_told_after_an_hour_and_a_day_and_when_it_is_over() -> None:
    subject, types = notifier(), []
    for hours in (0, 0.5, 1, 1.1, 23.9, 24, 30):
        step = Failed(since=NOW, count=1, reason=Reason.REJECTED)
        changed = live(subject, step, now=NOW + timedelta(hours=hours))
        types.append(told(subject, changed))
        subject = changed
    assert types == [None, None, "notifier_failing", None, None, "notifier_failing", None]
    assert told(subject, live(subject, Arrived(is_probe=False))) == "notifier_recovered"


def test_a_short_failure_is_told_to_nobody() -> None:
    stopped = live(notifier(), STOP)
    assert told(notifier(), stopped) is None
    back = live(stopped, Arrived(is_probe=True), Arrived(is_probe=True))
    assert told(stopped, back) is None


@pytest.mark.parametrize(
    ("hours", "count", "is_disabled"),
    [
        (120, DISABLE_ATTEMPTS, True),
        (119.9, DISABLE_ATTEMPTS, False),
        (120, DISABLE_ATTEMPTS - 1, False),
    ],
)
@pytest.mark.parametrize("is_probe", [True, False])
def test_five_days_and_20_attempts_without_a_success_disable_it(hours, count, is_disabled, is_probe) -> None:
    now = NOW + timedelta(hours=hours)
    if is_probe:
        state = {"state": NotifierState.FAILING, "held_until": NOW, "trip_count": 9}
        subject = notifier(failing_since=NOW, failed_count=count - 1, **state)
        changed = live(subject, ProbeFailed(Reason.TIMEOUT), now=now)
    else:
        subject = notifier(failing_since=NOW, failed_count=count - 1)
        changed = live(subject, Failed(since=now, count=1, reason=Reason.TIMEOUT), now=now)
    assert (changed.state is NotifierState.DISABLED) is is_disabled
    assert changed.active is not is_disabled
    assert (told(subject, changed) == "notifier_disabled") is is_disabled


def test_a_receiver_that_wants_no_more_disables_at_once_and_once() -> None:
    ended = live(notifier(), Ended(why="the receiver is gone: answered 410"))
    assert (ended.active, ended.state) == (False, NotifierState.DISABLED)
    assert ended.state_reason == "the receiver is gone: answered 410"
    assert told(notifier(), ended) == "notifier_disabled"
    assert live(ended, Ended(why="other"), STOP, Held(NOW), ProbeFailed(Reason.TIMEOUT)) == ended


def test_a_hold_is_never_shortened_and_gives_way_to_a_stop() -> None:
    later, soon = NOW + timedelta(seconds=60), NOW + timedelta(seconds=30)
    held = live(notifier(), Held(later), Held(soon))
    assert (held.state, held.held_until) == (NotifierState.HOLDING, later)
    for stopped in (live(held, STOP), live(notifier(), STOP, Held(later))):
        assert (stopped.state, stopped.held_until) == (NotifierState.FAILING, later)


@pytest.mark.parametrize("state", [NotifierState.HOLDING, NotifierState.FAILING, NotifierState.PAUSED])
def test_its_owner_can_free_it(state: NotifierState) -> None:
    since = {"failing_since": NOW, "failed_count": 9, "trip_count": 2} if state is NotifierState.FAILING else {}
    free = freed(notifier(state=state, state_reason="why", held_until=NOW, **since), NOW)
    assert (free.state, free.state_reason, free.held_until) == (NotifierState.ACTIVE, None, None)
    assert (free.failing_since, free.trip_count) == (None, 0)


@pytest.mark.parametrize("state", [NotifierState.OFF, NotifierState.DISABLED])
def test_one_that_is_off_or_disabled_is_not_freed(state: NotifierState) -> None:
    subject = notifier(active=False, state=state)
    assert freed(subject, NOW) == subject


MOMENTS = st.integers(0, 200).map(lambda hours: NOW + timedelta(hours=hours))
FINDINGS = st.one_of(
    st.builds(Held, MOMENTS),
    st.builds(Failed, since=MOMENTS, count=st.integers(1, 30), reason=st.sampled_from(Reason), is_stop=st.booleans()),
    st.builds(ProbeFailed, st.sampled_from(Reason)),
    st.builds(Arrived, is_probe=st.booleans()),
    st.builds(Ended, why=st.just("why")),
)
OWNERS = {
    NotifierState.OFF: {"active": False},
    NotifierState.PAUSED: {"held_until": None},
    NotifierState.ACTIVE: {},
}


@given(
    state=st.sampled_from(sorted(OWNERS)),
    findings=st.lists(st.tuples(FINDINGS, st.integers(0, 48), st.floats(0, 1, exclude_max=True)), max_size=20),
)
def test_no_life_leads_out_of_what_a_notifier_can_be(state, findings) -> None:
    subject, now = notifier(state=state, **OWNERS[state]), NOW
    for finding, hours, chance in findings:
        now += timedelta(hours=hours)
        before, subject = subject, after(subject, finding, now=now, chance=chance)
        assert msgspec.structs.replace(subject, updated_at=NOW).id == "no"
        assert subject.active is (subject.state not in {NotifierState.OFF, NotifierState.DISABLED})
        if state is not NotifierState.ACTIVE:
            # What its owner decided stands, but for the end of all sending.
            assert subject.state in {state, NotifierState.DISABLED}
        if subject.state is NotifierState.FAILING and before.state is not NotifierState.FAILING:
            longest = now + timedelta(seconds=LONGEST_STOP_SECONDS * (1 + JITTER))
            assert subject.held_until <= max(longest, before.held_until or longest)
        if subject.state is NotifierState.DISABLED and not isinstance(finding, Ended) and before.active:
            assert now - subject.failing_since >= DISABLE_AFTER
