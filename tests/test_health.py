"""When attempts fail so much that they are better stopped."""

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.clock import ManualClock
from tocsin.health import SILENT_IN_A_ROW, WINDOW_ATTEMPTS, Health
from tocsin.life import Arrived, Ended, Failed, Finding, Held, ProbeFailed
from tocsin.model import Asked, Attempt, AttemptOutcome, Notifier, NotifierState, Reason

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Watch:
    def __init__(self, **fields) -> None:
        self.clock = ManualClock(AT)
        self.health = Health(clock=self.clock, of_operator=["email"])
        given = {"id": "no", "app_id": "a", "name": "n", "platform": "webhook", "secret": "s"}
        self.notifier = Notifier(**given | fields, created_at=AT, updated_at=AT)

    def note(self, reason: Reason | None = None, status: int | None = None, **asked) -> Finding | None:
        outcome = AttemptOutcome.DELIVERED if reason is None else AttemptOutcome.RETRY
        attempt = Attempt(number=1, started_at=AT, outcome=outcome, reason=reason, response_status=status)
        return self.health.note(self.notifier, attempt, Asked(**asked) if asked else None)

    def fail(self, count: int, reason: Reason = Reason.SERVER_ERROR, status: int | None = 500) -> list[Finding | None]:
        return [self.note(reason, status) for _ in range(count)]


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.UNREACHABLE])
def test_five_attempts_without_an_answer_stop_it(reason: Reason) -> None:
    *before, last = Watch().fail(SILENT_IN_A_ROW, reason, None)
    assert before == [None] * (SILENT_IN_A_ROW - 1)
    assert last == Failed(since=AT, count=SILENT_IN_A_ROW, reason=reason, is_stop=True)


def test_any_answer_breaks_a_row_of_silence() -> None:
    watch = Watch()
    watch.fail(SILENT_IN_A_ROW - 1, Reason.TIMEOUT, None)
    watch.note(Reason.REJECTED, 404)
    assert watch.fail(SILENT_IN_A_ROW - 1, Reason.TIMEOUT, None) == [None] * (SILENT_IN_A_ROW - 1)


@pytest.mark.parametrize(
    ("reason", "status"), [(Reason.SERVER_ERROR, 500), (Reason.RATE_LIMITED, 429), (Reason.TIMEOUT, 408)]
)
def test_ten_attempts_in_a_minute_of_which_most_fail_stop_it(reason: Reason, status: int) -> None:
    *before, last = Watch().fail(WINDOW_ATTEMPTS, reason, status)
    assert set(before) == {None}
    assert last == Failed(since=AT, count=WINDOW_ATTEMPTS, reason=reason, is_stop=True)


def test_a_fifth_that_arrives_still_stops_it_and_a_little_more_does_not() -> None:
    watch = Watch()
    watch.fail(4)
    watch.note()
    watch.fail(3)
    watch.note()
    found = watch.fail(1)
    assert found[-1] is not None
    watch = Watch()
    watch.fail(4)
    for _ in range(3):
        watch.note()
    assert watch.fail(5) == [None] * 5


def test_failures_further_apart_than_a_minute_stop_nothing() -> None:
    watch = Watch()
    for _ in range(20):
        assert watch.note(Reason.SERVER_ERROR, 500) is None
        watch.clock.advance(7)
        watch.note()


@pytest.mark.parametrize("reason", [Reason.REJECTED, Reason.AUTH, Reason.TOO_LARGE, Reason.REDIRECTED])
def test_what_may_be_the_messages_own_fault_stops_nothing(reason: Reason) -> None:
    assert Watch().fail(100, reason, 400) == [None] * 100


@pytest.mark.parametrize("reason", [Reason.CRASHED, Reason.LEASE_LOST])
def test_our_own_faults_are_not_held_against_it(reason: Reason) -> None:
    watch = Watch()
    watch.fail(50, reason, None)
    watch.clock.advance(3600)
    assert watch.note(reason) is None


def test_a_row_of_failures_is_stored_every_five_minutes_with_what_came_since() -> None:
    watch = Watch()
    assert watch.note(Reason.REJECTED, 404) is None
    watch.clock.advance(300)
    assert watch.note(Reason.REJECTED, 404) == Failed(since=AT, count=2, reason=Reason.REJECTED)
    assert watch.note(Reason.REJECTED, 404) is None
    watch.clock.advance(300)
    assert watch.note(Reason.REJECTED, 404) == Failed(since=AT, count=2, reason=Reason.REJECTED)


def test_a_success_begins_the_row_anew() -> None:
    watch = Watch()
    watch.note(Reason.REJECTED, 404)
    watch.clock.advance(200)
    assert watch.note() is None
    watch.clock.advance(200)
    assert watch.note(Reason.REJECTED, 404) is None
    watch.clock.advance(300)
    since = AT + timedelta(seconds=400)
    assert watch.note(Reason.REJECTED, 404) == Failed(since=since, count=2, reason=Reason.REJECTED)


def test_a_success_of_one_that_is_known_to_fail_is_told() -> None:
    assert Watch(failing_since=AT).note() == Arrived(is_probe=False)
    assert Watch(failing_since=AT, state=NotifierState.FAILING).note() == Arrived(is_probe=True)
    assert Watch().note() is None


def test_a_probe_that_fails_is_told_at_once() -> None:
    watch = Watch(failing_since=AT, state=NotifierState.FAILING)
    assert watch.note(Reason.REJECTED, 404) == ProbeFailed(Reason.REJECTED)
    until = AT + timedelta(seconds=120)
    assert watch.note(Reason.RATE_LIMITED, 429, wait_seconds=120) == ProbeFailed(Reason.RATE_LIMITED, until)


@pytest.mark.parametrize("status", [429, 503])
def test_a_time_to_wait_holds_the_notifier_and_counts_against_nobody(status: int) -> None:
    watch = Watch()
    held = watch.note(Reason.RATE_LIMITED, status, wait_seconds=30)
    assert isinstance(held, Held)
    assert timedelta(seconds=30) <= held.until - AT <= timedelta(seconds=31)
    # Answers to what was under way ask for hardly more.
    watch.clock.advance(0.5)
    assert watch.note(Reason.RATE_LIMITED, status, wait_seconds=30) is None
    watch.clock.advance(1)
    again = watch.note(Reason.RATE_LIMITED, status, wait_seconds=30)
    assert isinstance(again, Held)
    assert again.until > held.until
    for _ in range(50):
        found = watch.note(Reason.RATE_LIMITED, status, wait_seconds=0.0001)
        assert found is None or isinstance(found, Held)


def test_other_answers_with_a_time_to_wait_hold_their_own_message_alone() -> None:
    assert Watch().note(Reason.SERVER_ERROR, 500, wait_seconds=30) is None


def test_gone_and_a_wish_for_no_more_end_it() -> None:
    assert isinstance(Watch().note(Reason.GONE, 410), Ended)
    assert isinstance(Watch().note(None, 200, disable=True), Ended)


def test_the_operators_mail_server_is_no_notifiers_fault() -> None:
    watch = Watch(platform="email")
    watch.fail(50, Reason.UNREACHABLE, None)
    watch.clock.advance(3600)
    assert watch.note(Reason.UNREACHABLE) is None


def test_a_stop_holds_until_everyone_who_asked_for_it_released_it() -> None:
    health = Watch().health
    health.stop("no")
    health.stop("no")
    health.release("no")
    assert health.is_stopped("no")
    health.release("no")
    assert not health.is_stopped("no")
