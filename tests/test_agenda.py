"""The agenda: who is due, whose turn it is, and who rests."""

from collections.abc import Callable
from datetime import timedelta

from tests.crowd import AT, TIMED_OUT, Crowd, a_notifier
from tocsin.agenda import Agenda

SECOND = timedelta(seconds=1)


class Stage:
    def __init__(self, *names: str) -> None:
        self.crowd = Crowd()
        for name in names:
            self.crowd.standings.of(a_notifier(name))
        self.agenda = Agenda(self.crowd.standings)

    def next(self, may: Callable[[str], bool] = lambda _: True, *, is_slow_full: bool = False) -> str | None:
        standing = self.agenda.next(may, is_slow_full=is_slow_full)
        return standing.notifier.id if standing else None

    def order(self) -> list[str]:
        found = []
        while (name := self.next()) is not None:
            found.append(name)
        return found


def test_apps_take_turns_and_nobody_comes_before_the_time() -> None:
    stage = Stage("a1", "a2", "a3", "b1")
    for name in ("a1", "a2", "a3"):
        stage.agenda.plan(name, AT)
    stage.agenda.plan("b1", AT + SECOND)
    assert stage.agenda.advance(AT) == []
    assert stage.next() == "a1"
    assert stage.agenda.wait_seconds(AT) == 1
    stage.agenda.advance(AT + SECOND)
    assert stage.agenda.is_behind
    assert stage.order() == ["a2", "b1", "a3"]
    assert not stage.agenda.is_behind
    assert stage.agenda.wait_seconds(AT) is None


def test_the_earliest_plan_counts() -> None:
    stage = Stage("a1")
    stage.agenda.plan("a1", AT + SECOND)
    stage.agenda.plan("a1", AT)
    stage.agenda.plan("a1", AT + 2 * SECOND)
    stage.agenda.advance(AT)
    assert stage.order() == ["a1"]
    stage.agenda.advance(AT + 9 * SECOND)
    assert stage.order() == []


def test_an_app_that_may_not_keeps_its_turn() -> None:
    stage = Stage("a1", "b1")
    for name in ("a1", "b1"):
        stage.agenda.plan(name, AT)
    stage.agenda.advance(AT)
    assert stage.next(lambda app_id: app_id == "b") == "b1"
    assert stage.next(lambda app_id: app_id == "b") is None
    assert stage.order() == ["a1"]


def test_slow_ones_have_a_line_of_their_own() -> None:
    stage = Stage("a1", "a2")
    stage.agenda.plan("a1", AT)
    stage.agenda.plan("a2", AT)
    stage.agenda.advance(AT)
    standing = stage.crowd.standings.of(a_notifier("a1"))
    standing.judge(TIMED_OUT)
    assert stage.next(is_slow_full=True) == "a2"
    assert stage.next(is_slow_full=True) is None
    assert stage.next() == "a1"


def test_who_rests_is_called_by_the_end_of_a_lease_and_by_each_reading() -> None:
    stage = Stage("a1")
    assert not stage.agenda.call("a1")
    stage.agenda.rest("a1", AT)
    stage.agenda.advance(AT)
    assert stage.order() == []
    assert stage.agenda.call("a1")
    assert not stage.agenda.call("a1")
    assert stage.order() == ["a1"]
    stage.agenda.rest("a1", AT)
    stage.agenda.begin_reading()
    stage.agenda.take_over({"a1": AT})
    assert stage.order() == ["a1"]


def test_what_is_unknown_is_asked_for_and_has_its_turn_then() -> None:
    stage = Stage()
    for name in ("a1", "a2"):
        stage.agenda.plan(name, AT)
    assert stage.agenda.advance(AT) == ["a1", "a2"]
    assert stage.order() == []
    stage.crowd.standings.of(a_notifier("a2"))
    for name in ("a1", "a2"):
        stage.agenda.introduce(name)
    assert stage.order() == ["a2"]
    assert stage.agenda.advance(AT) == []


def test_a_reading_replaces_what_was_known_and_not_what_was_planned_meanwhile() -> None:
    stage = Stage("a1", "a2", "a3", "a4")
    for name in ("a1", "a2", "a3"):
        stage.agenda.plan(name, AT)
    stage.agenda.advance(AT)
    stage.agenda.begin_reading()
    stage.agenda.plan("a4", AT)
    stage.agenda.take_over({"a2": AT + SECOND, "a3": AT - SECOND, "a4": AT + 5 * SECOND})
    assert stage.agenda.due_now(AT) == {"a3", "a4"}
    stage.agenda.advance(AT)
    assert stage.order() == ["a3", "a4"]
    assert stage.agenda.wait_seconds(AT) == 1
    stage.agenda.advance(AT + SECOND)
    assert stage.order() == ["a2"]


def test_who_waits_for_a_turn_keeps_the_place_at_a_reading() -> None:
    names = ("a1", "b1", "c1")
    stage = Stage(*names)
    for name in names:
        stage.agenda.plan(name, AT)
    stage.agenda.advance(AT)
    stage.agenda.begin_reading()
    stage.agenda.take_over(dict.fromkeys(reversed(names), AT))
    stage.agenda.advance(AT)
    assert stage.order() == list(names)


def test_plans_that_are_over_take_no_room() -> None:
    stage = Stage("a1")
    for _ in range(3):
        for number in range(100):
            stage.agenda.plan("a1", AT + (200 - number) * SECOND)
        stage.agenda.drop("a1")
        stage.agenda.begin_reading()
        stage.agenda.take_over({"a1": AT + 300 * SECOND})
    assert len(stage.agenda._later) == 1
