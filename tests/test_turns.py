"""Turns: apps first, then the members of each."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tocsin.turns import Turns


def test_apps_take_turns_and_so_do_the_members_of_each() -> None:
    turns: Turns[str] = Turns()
    for member in ("a1", "a2", "a3", "b1", "c1", "c2"):
        turns.add(member[0], member)
    assert [turns.pop() for _ in range(7)] == ["a1", "b1", "c1", "a2", "c2", "a3", None]
    assert not turns.lines


def test_an_app_that_may_not_is_passed_over_and_keeps_its_place() -> None:
    turns: Turns[str] = Turns()
    for member in ("a1", "b1"):
        turns.add(member[0], member)
    assert turns.pop(lambda app_id: app_id != "a") == "b1"
    assert turns.pop(lambda _: False) is None
    assert turns.pop() == "a1"


@given(waiting=st.lists(st.sampled_from(["a1", "a2", "a3", "b1", "b2", "c1"]), min_size=1, max_size=60))
def test_whoever_waits_is_served_before_any_app_has_had_as_many_turns_as_stand_before_it(waiting: list[str]) -> None:
    turns: Turns[tuple[str, int]] = Turns()
    place = Counter[str]()
    for number, name in enumerate(waiting):
        turns.add(name[0], (name, number))
        place[name[0]] += 1
    served = Counter[str]()
    order = []
    while (member := turns.pop()) is not None:
        name, number = member
        served[name[0]] += 1
        order.append(number)
        ahead = sum(other[0] == name[0] for other in waiting[: number + 1])
        assert served[name[0]] == ahead
        assert all(count <= ahead for count in served.values())
    assert sorted(order) == list(range(len(waiting)))
