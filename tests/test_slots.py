"""How many deliveries may be leased at once: in all, of each app, of each notifier, and by its rate."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crowd import LOOSE, TIMED_OUT, Crowd, a_claim, a_notifier
from tocsin.model import Notifier


def crowd_of(*proven: Notifier, **limits: Any) -> Crowd:
    crowd = Crowd(msgspec.structs.replace(LOOSE, **limits))
    crowd.prove(*proven)
    return crowd


def test_one_notifier_gets_no_more_than_its_part() -> None:
    one, other = a_notifier("a1"), a_notifier("a2")
    slots = crowd_of(one, other).slots
    assert slots.take_up_to(one, 99) == 64
    assert not slots.take(one)
    assert slots.take(other)
    assert (slots.taken, slots.taken_of("a1")) == (65, 64)


def test_all_share_one_limit_of_which_an_app_has_at_most_half() -> None:
    mine, other, third = a_notifier("a1"), a_notifier("b1"), a_notifier("c1")
    slots = crowd_of(mine, other, third, leases=8).slots
    assert slots.take_up_to(mine, 64) == 4
    assert not slots.has_room("a")
    assert slots.take_up_to(other, 3) == 3
    assert slots.has_room("b")
    assert slots.take_up_to(third, 5) == 1
    assert slots.is_full
    slots.give_back("a1", 2)
    assert slots.take_up_to(third, 5) == 2


def test_what_is_given_back_can_be_taken_again() -> None:
    notifier = a_notifier()
    slots = crowd_of(notifier, leases=2).slots
    for _ in range(3):
        assert slots.take(notifier)
        slots.give_back("a1")
    assert slots.taken == 0


@pytest.mark.parametrize("wanted", [0, -1])
def test_nothing_wanted_is_nothing_taken(wanted: int) -> None:
    slots = crowd_of().slots
    assert slots.take_up_to(a_notifier(), wanted) == 0
    assert slots.take(a_notifier())


def test_closed_slots_are_not_given_out_but_taken_back() -> None:
    one, other = a_notifier("a1"), a_notifier("a2")
    slots = crowd_of(one, other).slots
    slots.take(one)
    slots.close()
    assert not slots.take(one)
    assert slots.take_up_to(other, 1) == 0
    assert slots.is_full
    slots.give_back("a1")
    assert slots.taken == 0


def test_a_slot_that_was_never_taken_cannot_be_given_back() -> None:
    slots = crowd_of(leases=2).slots
    with pytest.raises(KeyError):
        slots.give_back("a1")
    assert slots.take(a_notifier("a1"))
    assert not slots.take(a_notifier("a2"))


def test_nothing_new_is_taken_for_a_notifier_whose_older_deliveries_wait() -> None:
    one, other = a_notifier("a1"), a_notifier("a2")
    slots = crowd_of(one, other).slots
    slots.behind.add("a1")
    assert not slots.take(one)
    assert slots.take(other)
    assert slots.take_up_to(one, 1) == 1


def test_a_new_notifier_leases_what_it_may_send() -> None:
    slots = crowd_of().slots
    assert slots.take_up_to(a_notifier(), 64) == 1


def test_a_slow_notifier_leases_what_it_may_send_and_nothing_while_the_slow_lane_is_full() -> None:
    slow, other = a_notifier("a1"), a_notifier("b1")
    crowd = crowd_of(slow, other, slow=2)
    crowd.standings.of(slow).judge(TIMED_OUT)
    assert crowd.slots.take_up_to(slow, 64) == 1
    crowd.standings.of(other).judge(TIMED_OUT)
    for notifier in (slow, other):
        assert crowd.lanes.enter(a_claim(notifier))
    third = a_notifier("c1")
    crowd.standings.of(third).judge(TIMED_OUT)
    assert not crowd.slots.take(third)
    assert crowd.slots.token_after_seconds(third) is None


def test_a_rated_notifier_leases_by_its_tokens() -> None:
    notifier = a_notifier(rate_per_second=2)
    crowd = crowd_of(notifier)
    assert crowd.slots.take_up_to(notifier, 64) == 2
    assert not crowd.slots.take(notifier)
    assert crowd.slots.token_after_seconds(notifier) == pytest.approx(0.5)
    crowd.slots.undo("a1", 2)
    assert crowd.slots.token_after_seconds(notifier) is None
    assert crowd.slots.take_up_to(notifier, 64) == 2
    crowd.slots.give_back("a1", 2)
    assert crowd.slots.take_up_to(notifier, 64) == 0, "attempts that were made have used their tokens up"
    crowd.clock.advance(0.5)
    assert crowd.slots.take_up_to(notifier, 64) == 1


def test_a_rated_notifier_leases_nothing_while_something_of_it_waits_in_line() -> None:
    notifier = a_notifier(rate_per_second=2)
    crowd = crowd_of(notifier, fast=2)
    assert crowd.lanes.enter(a_claim(notifier, 1))
    assert not crowd.lanes.enter(a_claim(notifier, 2))
    assert not crowd.slots.take(notifier)


def test_threads_never_take_more_than_there_are() -> None:
    notifiers = [a_notifier(f"{'abcd'[number]}1") for number in range(4)]
    slots = crowd_of(*notifiers, leases=50).slots
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda number: slots.take(notifiers[number % 4]), range(400))) == 50
    assert slots.taken == 50


@given(
    steps=st.lists(st.tuples(st.sampled_from(["a1", "a2", "a3", "b1"]), st.integers(0, 5), st.booleans()), max_size=40)
)
def test_the_limits_hold_in_any_order(steps: list[tuple[str, int, bool]]) -> None:
    notifiers = {name: a_notifier(name) for name in ("a1", "a2", "a3", "b1")}
    slots = crowd_of(*notifiers.values(), leases=16, per_notifier=1).slots
    taken = dict.fromkeys(notifiers, 0)
    for name, count, gives_back in steps:
        if gives_back:
            if 0 < count <= taken[name]:
                slots.give_back(name, count)
                taken[name] -= count
        else:
            of_app = sum(held for each, held in taken.items() if each[0] == name[0])
            got = slots.take_up_to(notifiers[name], count)
            assert got == min(count, 4 - taken[name], 8 - of_app, 16 - sum(taken.values()))
            taken[name] += got
        assert slots.taken == sum(taken.values()) <= 16


def test_slow_notifiers_together_lease_no_more_than_their_lane_has_room_for() -> None:
    slow = [a_notifier(f"{app}1", app) for app in "abcdef"]
    crowd = crowd_of(*slow, slow=20)
    for notifier in slow:
        crowd.standings.of(notifier).note_latency(100)
    assert sum(crowd.slots.take_up_to(notifier, 64) for notifier in slow) == 20
    assert crowd.slots.is_slow_full
    crowd.slots.undo("a1", 5)
    assert crowd.slots.take_up_to(slow[5], 64) == 5


def test_what_timed_out_is_followed_by_one_attempt_and_not_by_all_that_wait() -> None:
    hanging = a_notifier()
    crowd = crowd_of(hanging)
    assert crowd.slots.take(hanging)
    claim = a_claim(hanging)
    assert crowd.lanes.enter(claim)
    crowd.clock.advance(1.1)
    crowd.lanes.sweep()
    crowd.end(claim, TIMED_OUT)
    crowd.slots.give_back(hanging.id)
    assert crowd.slots.take_up_to(hanging, 64) == 1
