"""How many attempts may be under way at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.slots import Slots


def test_one_notifier_gets_no_more_than_its_share() -> None:
    slots = Slots(limit=10, limit_per_notifier=3)
    assert slots.take_up_to("a", 5) == 3
    assert not slots.take("a")
    assert slots.take("b")
    assert slots.taken == 4


def test_all_notifiers_share_one_limit() -> None:
    slots = Slots(limit=4, limit_per_notifier=3)
    assert [slots.take_up_to(name, 3) for name in "abc"] == [3, 1, 0]
    slots.give_back("a", 2)
    assert slots.take_up_to("c", 3) == 2


def test_what_is_given_back_can_be_taken_again() -> None:
    slots = Slots(limit=1, limit_per_notifier=1)
    for _ in range(3):
        assert slots.take("a")
        slots.give_back("a")
    assert slots.taken == 0


@pytest.mark.parametrize("wanted", [0, -1])
def test_nothing_wanted_is_nothing_taken(wanted: int) -> None:
    slots = Slots(limit=1, limit_per_notifier=1)
    assert slots.take_up_to("a", wanted) == 0
    assert slots.take("a")


def test_closed_slots_are_not_given_out_but_taken_back() -> None:
    slots = Slots(limit=2, limit_per_notifier=2)
    slots.take("a")
    slots.close()
    assert not slots.take("a")
    assert slots.take_up_to("b", 1) == 0
    slots.give_back("a")
    assert slots.taken == 0


def test_a_slot_that_was_never_taken_cannot_be_given_back() -> None:
    slots = Slots(limit=1, limit_per_notifier=1)
    with pytest.raises(KeyError):
        slots.give_back("a")
    assert slots.take("a")
    assert not slots.take("b")


def test_nothing_new_is_taken_for_a_notifier_whose_older_deliveries_wait() -> None:
    slots = Slots(limit=2, limit_per_notifier=2)
    slots.behind.add("a")
    assert not slots.take("a")
    assert slots.take("b")
    assert slots.take_up_to("a", 1) == 1
    slots.behind.discard("a")
    assert slots.taken == 2


def test_threads_never_take_more_than_there_are() -> None:
    slots = Slots(limit=50, limit_per_notifier=20)

    def take(number: int) -> bool:
        return slots.take(str(number % 4))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(400))) == 50
    assert slots.taken == 50


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=40))
def test_the_limits_hold_in_any_order(steps) -> None:
    slots = Slots(limit=6, limit_per_notifier=3)
    taken = dict.fromkeys("abc", 0)
    for name, count, gives_back in steps:
        if gives_back:
            if 0 < count <= taken[name]:
                slots.give_back(name, count)
                taken[name] -= count
        else:
            got = slots.take_up_to(name, count)
            assert got == min(count, 3 - taken[name], 6 - sum(taken.values()))
            taken[name] += got
        assert slots.taken == sum(taken.values()) <= 6
        assert max(taken.values()) <= 3
