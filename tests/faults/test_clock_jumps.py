"""What is counted when the clock of a running server is set. What the store makes of that has tests of its own."""

import msgspec

from faults.scenarios.clock_jumps import early, unordered
from tests.faults.test_checker import SECOND_NS, accepted, arrival

SCHEDULE = (0.0, 2.0, 10.0)


def test_an_attempt_that_comes_before_its_predecessor_could_is_early() -> None:
    first, second, third = (arrival(1, attempt=number, at_ns=0) for number in (1, 2, 3))
    # Set forward once, the clock may make one attempt come at once.
    assert early([first, second], SCHEDULE) == 0
    late = msgspec.structs.replace(third, at_ns=2 * SECOND_NS)
    assert early([first, second, late], SCHEDULE) == 0
    assert early([first, second, third], SCHEDULE) == 1


def test_an_id_that_does_not_rise_is_out_of_order() -> None:
    one = msgspec.structs.replace(accepted(1), sent_ns=1, accepted_ns=2)
    two = msgspec.structs.replace(accepted(2), sent_ns=3, accepted_ns=4)
    assert unordered([one, two]) == 0
    assert unordered([msgspec.structs.replace(one, event_id="event-3"), two]) == 1
    at_once = msgspec.structs.replace(two, sent_ns=1)
    assert unordered([msgspec.structs.replace(one, event_id="event-3"), at_once]) == 0
