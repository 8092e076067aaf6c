from tocsin.clock import ManualClock
from tocsin.remembered import Remembered


def remembered(size: int = 3) -> tuple[ManualClock, Remembered[str, int]]:
    clock = ManualClock()
    return clock, Remembered(clock, seconds=5, size=size)


def test_a_value_is_kept_for_its_time():
    clock, seen = remembered()
    seen.keep("a", 1, version=seen.version)
    clock.advance(4.9)
    assert seen.get("a") == 1
    clock.advance(0.1)
    assert seen.get("a") is None


def test_a_value_may_be_kept_for_less_but_not_for_more():
    clock, seen = remembered()
    seen.keep("short", 1, version=seen.version, seconds=1)
    seen.keep("long", 2, version=seen.version, seconds=100)
    clock.advance(1)
    assert (seen.get("short"), seen.get("long")) == (None, 2)
    clock.advance(4)
    assert seen.get("long") is None


def test_only_stale_values_are_dropped():
    _, seen = remembered()
    for key, value in (("a", 1), ("b", 2)):
        seen.keep(key, value, version=seen.version)
    seen.drop(lambda value: value == 1)
    assert (seen.get("a"), seen.get("b")) == (None, 2)


def test_what_was_looked_up_before_a_drop_is_not_kept():
    _, seen = remembered()
    version = seen.version
    seen.drop(lambda value: value == 1)
    seen.keep("a", 1, version=version)
    assert seen.get("a") is None


def test_the_oldest_makes_room():
    _, seen = remembered(size=3)
    for value, key in enumerate("abcd"):
        seen.keep(key, value, version=seen.version)
    assert [seen.get(key) for key in "abcd"] == [None, 1, 2, 3]
