"""Lanes: how many attempts at once, in all, for each notifier, host and app; who is next; and what hangs."""

from collections import Counter, defaultdict
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.crowd import DELIVERED, LOOSE, REFUSED, TIMED_OUT, Crowd, a_claim, a_notifier
from tocsin.model import Attempt, Notifier
from tocsin.standings import Limits
from tocsin.store.port import Claim


def crowd_of(*proven: Notifier, **limits: Any) -> Crowd:
    crowd = Crowd(msgspec.structs.replace(LOOSE, **limits))
    crowd.prove(*proven)
    return crowd


def enter(crowd: Crowd, notifier: Notifier, count: int = 1) -> list[Claim]:
    """So many claims come; those that may begin."""
    claims = [a_claim(notifier, number) for number in range(count)]
    return [claim for claim in claims if crowd.lanes.enter(claim)]


def ids(claims: list[Claim]) -> list[str]:
    return [claim.notifier.id for claim in claims]


def test_what_is_over_the_notifiers_limit_waits_and_follows_in_order() -> None:
    one, other = a_notifier("a1"), a_notifier("b1")
    crowd = crowd_of(one, other, per_notifier=2)
    begun = enter(crowd, one, 4)
    assert len(begun) == 2
    assert len(enter(crowd, other)) == 1
    assert [claim.delivery_id for claim in crowd.end(begun[0])] == ["a1-2"]
    assert [claim.delivery_id for claim in crowd.end(begun[1])] == ["a1-3"]
    assert crowd.following() == []


def test_a_new_notifier_is_sent_one_and_then_twice_as_many() -> None:
    crowd, notifier = crowd_of(), a_notifier()
    under_way = enter(crowd, notifier, 40)
    counts = []
    while under_way:
        counts.append(len(under_way))
        under_way = [following for claim in under_way for following in crowd.end(claim)]
    assert counts[0] == 1
    assert max(counts) == 16
    assert sum(counts) == 40


def test_nobody_overtakes_within_a_line() -> None:
    notifier = a_notifier()
    crowd = crowd_of(notifier, fast=1)
    [first] = enter(crowd, notifier, 2)
    [second] = crowd.end(first)
    assert not crowd.lanes.enter(a_claim(notifier, 7))
    assert [claim.delivery_id for claim in crowd.end(second)] == ["a1-7"]


def test_apps_take_turns_whatever_the_number_of_their_notifiers() -> None:
    many, one = [a_notifier(f"a{number}") for number in range(8)], a_notifier("b1")
    crowd = crowd_of(*many, one, per_host=2)
    under_way = [claim for notifier in many for claim in enter(crowd, notifier, 2)]
    assert ids(under_way) == ["a0", "a0"]
    assert enter(crowd, one, 3) == []
    order = []
    while under_way:
        following = crowd.end(under_way.pop(0))
        order += ids(following)
        under_way += following
    assert order == [
        "a1",
        "b1",
        "a2",
        "b1",
        "a3",
        "b1",
        *(f"a{number}" for number in (4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7)),
    ]


def test_a_host_and_port_has_its_bound_and_others_go_on() -> None:
    notifiers = [a_notifier(f"a{number}", "shared") for number in range(4)]
    elsewhere = a_notifier("a9", "elsewhere")
    crowd = crowd_of(*notifiers, elsewhere, per_host=2)
    begun = [claim for notifier in notifiers for claim in enter(crowd, notifier)]
    assert ids(begun) == ["a0", "a1"]
    assert ids(enter(crowd, elsewhere)) == ["a9"]
    assert ids(crowd.end(begun[0])) == ["a2"]
    assert ids(crowd.end(begun[1])) == ["a3"]


def test_an_app_has_at_most_half_of_the_fast_slots() -> None:
    mine = [a_notifier(f"a{number}", f"h{number}") for number in range(4)]
    other = a_notifier("b1")
    crowd = crowd_of(*mine, other, fast=4)
    assert len([claim for notifier in mine for claim in enter(crowd, notifier)]) == 2
    assert len(enter(crowd, other, 3)) == 2


def test_an_attempt_of_over_a_second_leaves_the_fast_slots_of_all_three_kinds() -> None:
    hanging = [a_notifier(f"a{number}", "shared") for number in range(4)]
    crowd = crowd_of(*hanging, fast=4, per_host=2)
    begun = [claim for notifier in hanging for claim in enter(crowd, notifier)]
    assert len(begun) == 2, "the host's bound, and half of the fast slots"
    crowd.clock.advance(0.09)
    crowd.lanes.sweep()
    assert crowd.following() == []
    crowd.clock.advance(0.1)
    crowd.lanes.sweep()
    assert ids(crowd.following()) == ["a2", "a3"], "others wait for their places"
    crowd.clock.advance(1)
    crowd.lanes.sweep()
    assert (crowd.lanes.under_way, crowd.lanes.slow_under_way) == (4, 4)


def test_what_nobody_waits_for_keeps_its_place_for_a_second() -> None:
    usual = a_notifier()
    crowd = crowd_of(usual)
    crowd.standings.of(usual).note_latency(5)
    enter(crowd, usual)
    crowd.clock.advance(0.9)
    crowd.lanes.sweep()
    assert (crowd.lanes.slow_under_way, crowd.standings.of(usual).is_slow) == (0, False)
    crowd.clock.advance(0.1)
    crowd.lanes.sweep()
    assert (crowd.lanes.slow_under_way, crowd.standings.of(usual).is_slow) == (1, True)


def test_a_notifier_that_hangs_is_not_sent_more_than_the_slow_lane_takes() -> None:
    hanging, healthy = a_notifier("a1"), a_notifier("b1")
    crowd = crowd_of(hanging, healthy, slow=2, slow_per_host=2)
    crowd.lanes.enter(a_claim(hanging))
    crowd.clock.advance(2)
    crowd.lanes.sweep()
    assert len(enter(crowd, hanging, 5)) == 0, "an app has half of the slow lane: it hangs there already"
    assert len(enter(crowd, healthy, 16)) == 16


def test_a_slow_notifier_is_fast_again_when_nothing_of_it_hangs() -> None:
    notifier = a_notifier()
    crowd = crowd_of(notifier, slow=2)
    first = a_claim(notifier)
    assert crowd.lanes.enter(first)
    crowd.clock.advance(1.5)
    crowd.lanes.sweep()
    assert enter(crowd, notifier, 9) == []
    assert len(crowd.end(first)) == 9
    assert crowd.lanes.slow_under_way == 0


def test_what_timed_out_begins_in_the_slow_lane_and_leaves_it_with_a_success() -> None:
    notifier = a_notifier()
    crowd = crowd_of(notifier)
    crowd.end(*enter(crowd, notifier), attempt=TIMED_OUT)
    [probe] = enter(crowd, notifier, 4)
    assert crowd.lanes.slow_under_way == 1
    assert len(crowd.end(probe)) == 2
    assert crowd.lanes.slow_under_way == 0


def test_leases_in_the_slow_lane_do_not_count_against_the_others() -> None:
    notifiers = [a_notifier(f"a{number}") for number in range(4)]
    crowd = crowd_of(*notifiers, leases=4)
    taken = [crowd.slots.take(notifier) for notifier in notifiers]
    assert taken == [True, True, False, False]
    begun = [claim for notifier in notifiers[:2] for claim in enter(crowd, notifier)]
    crowd.clock.advance(1)
    crowd.lanes.sweep()
    assert [crowd.slots.take(notifier) for notifier in notifiers[2:]] == [True, True]
    for claim in begun:
        crowd.slots.give_back(claim.notifier.id)
        crowd.end(claim)
    assert crowd.slots.taken == 2
    assert [crowd.slots.take(notifier) for notifier in notifiers[:2]] == [False, False], "counted as before"


def test_a_destination_of_few_connections_has_its_own_bound_and_neither_moves_nor_is_slow() -> None:
    mails = [a_notifier(f"a{number}", "mail") for number in range(4)]
    crowd = crowd_of(*mails, connections={"mail": 2})
    begun = [claim for notifier in mails for claim in enter(crowd, notifier)]
    assert len(begun) == 2
    crowd.clock.advance(10)
    crowd.lanes.sweep()
    assert (crowd.following(), crowd.lanes.slow_under_way) == ([], 0)
    assert len(crowd.end(begun[0], TIMED_OUT)) == 1


def test_without_room_in_the_slow_lane_attempts_stay_where_they_are() -> None:
    notifiers = [a_notifier(f"{app}{number}", f"{app}{number}") for number in range(3) for app in "ab"]
    crowd = crowd_of(*notifiers, fast=4, slow=1, slow_in_all=2)
    assert len([claim for notifier in notifiers for claim in enter(crowd, notifier)]) == 4
    crowd.clock.advance(2)
    crowd.lanes.sweep()
    assert crowd.lanes.slow_under_way == 2
    assert len(crowd.following()) == 2
    assert crowd.lanes.under_way == 6


def test_those_without_a_success_yet_leave_sockets_to_the_others() -> None:
    new = [a_notifier(f"a{number}", f"h{number}") for number in range(5)]
    proven = a_notifier("b1")
    crowd = crowd_of(proven, untried=3)
    assert len([claim for notifier in new for claim in enter(crowd, notifier)]) == 3
    crowd.clock.advance(2)
    crowd.lanes.sweep()
    assert crowd.following() == [], "whether or not they hang"
    assert len(enter(crowd, proven, 3)) == 3


def test_a_worker_takes_its_share_of_a_host() -> None:
    notifiers = [a_notifier(f"a{number}", "shared") for number in range(8)]
    begun = 0
    for own in range(3):
        crowd = crowd_of(*notifiers, per_host=5)
        crowd.lanes.divide(3, own)
        begun += len([claim for notifier in notifiers for claim in enter(crowd, notifier)])
    assert begun == 5


def test_a_share_that_grows_lets_go_what_waited() -> None:
    notifiers = [a_notifier(f"a{number}", "shared") for number in range(8)]
    crowd = crowd_of(*notifiers, per_host=4)
    crowd.lanes.divide(2, 0)
    assert len([claim for notifier in notifiers for claim in enter(crowd, notifier)]) == 2
    crowd.lanes.divide(1, 0)
    assert len(crowd.following()) == 2


def test_claims_are_withdrawn_from_their_lines_alone() -> None:
    one, other = a_notifier("a1"), a_notifier("a2")
    crowd = crowd_of(one, other, fast=1)
    [begun] = enter(crowd, one, 2)
    assert enter(crowd, other, 2) == []
    assert crowd.lanes.waiting == 3
    withdrawn = crowd.lanes.withdraw(lambda claim: claim.notifier.id == "a2")
    assert [claim.delivery_id for claim in withdrawn] == ["a2-0", "a2-1"]
    assert (crowd.lanes.waiting_notifiers(), crowd.lanes.waiting) == (["a1"], 1)
    assert [claim.delivery_id for claim in crowd.end(begun)] == ["a1-1"]
    assert crowd.lanes.withdraw(lambda _: True) == []


def test_a_host_that_changes_counts_where_each_attempt_began() -> None:
    before = a_notifier("a1", "old")
    neighbour = a_notifier("a2", "old")
    crowd = crowd_of(before, neighbour, per_host=1)
    [begun] = enter(crowd, before)
    after = msgspec.structs.replace(before, type_data={"host": "new"})
    assert ids(enter(crowd, after)) == ["a1"]
    assert enter(crowd, neighbour) == []
    assert ids(crowd.end(begun)) == ["a2"]


NAMES = [f"{app}{number}" for app in "abc" for number in (1, 2)]
HOSTS = {name: f"h{number % 3}" for number, name in enumerate(NAMES)}
ENDS: dict[str, Attempt] = {"delivered": DELIVERED, "refused": REFUSED, "timed out": TIMED_OUT}
STEPS = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(sorted(ENDS)), st.integers(0, 30)),
    st.tuples(st.just("advance"), st.sampled_from([0.1, 0.3, 1.0])),
    st.tuples(st.just("withdraw"), st.sampled_from(NAMES)),
)


class Play:
    """Plays steps, and knows what is under way and in which order each notifier's claims began."""

    def __init__(self, limits: Limits) -> None:
        self.crowd = Crowd(limits)
        self.under_way: list[Claim] = []
        self.entered: Counter[str] = Counter()
        self.begun: dict[str, list[int]] = defaultdict(list)
        self.withdrawn: Counter[str] = Counter()

    def step(self, kind: str, value: Any) -> None:
        lanes = self.crowd.lanes
        if kind == "enter":
            claim = a_claim(a_notifier(value, HOSTS[value]), self.entered[value])
            self.entered[value] += 1
            if lanes.enter(claim):
                self.begin(claim)
        elif kind == "advance":
            self.crowd.clock.advance(value)
            lanes.sweep()
        elif kind == "withdraw":
            self.withdrawn[value] += len(lanes.withdraw(lambda claim: claim.notifier.id == value))
        elif self.under_way:
            claim = self.under_way.pop(value % len(self.under_way))
            following = lanes.leave(claim)
            if following is not None:
                self.begin(following)
            lanes.judge(claim.notifier.id, ENDS[kind])
        for claim in self.crowd.following():
            self.begin(claim)

    def begin(self, claim: Claim) -> None:
        self.under_way.append(claim)
        self.begun[claim.notifier.id].append(int(claim.delivery_id.partition("-")[2]))

    def check_limits(self) -> None:
        lanes, limits = self.crowd.lanes, self.crowd.limits
        attempts = list(lanes._attempts.values())
        fast = [attempt.claim.notifier for attempt in attempts if attempt.lane is lanes._fast]
        assert len(attempts) == len(self.under_way) == lanes.under_way
        assert len(fast) <= limits.fast
        assert lanes.slow_under_way == len(attempts) - len(fast) <= limits.slow_in_all
        assert max(Counter(each.app_id for each in fast).values(), default=0) <= limits.fast // 2
        assert max(Counter(HOSTS[each.id] for each in fast).values(), default=0) <= limits.per_host
        assert max(Counter(ids(self.under_way)).values(), default=0) <= limits.per_notifier

    def check_nobody_waits_for_nothing(self) -> None:
        lanes, limits = self.crowd.lanes, self.crowd.limits
        attempts = list(lanes._attempts.values())
        for notifier_id in lanes.waiting_notifiers():
            standing = self.crowd.standings.find(notifier_id)
            assert standing is not None
            lane = lanes._slow if standing.is_slow else lanes._fast
            here = [attempt.claim.notifier for attempt in attempts if attempt.lane is lane]
            at_host = sum(HOSTS[each.id] == standing.host for each in here)
            at_app = sum(each.app_id == notifier_id[0] for each in here)
            assert (
                standing.under_way >= standing.limit
                or len(here) >= lane.limit
                or at_host >= (limits.slow_per_host if standing.is_slow else limits.per_host)
                or at_app >= max(1, lane.limit // 2)
                or (not standing.is_tried and len(attempts) >= limits.untried)
            )


@given(
    steps=st.lists(STEPS, max_size=120),
    fast=st.integers(2, 6),
    slow=st.integers(1, 3),
    per_host=st.integers(1, 3),
    per_notifier=st.integers(1, 4),
)
def test_no_cap_is_ever_exceeded_nothing_is_lost_and_nobody_waits_for_nothing(
    steps: list[tuple[str, Any]], fast: int, slow: int, per_host: int, per_notifier: int
) -> None:
    play = Play(
        Limits(
            fast=fast,
            slow=slow,
            slow_in_all=slow + 4,
            per_host=per_host,
            slow_per_host=1,
            per_notifier=per_notifier,
            untried=5,
        )
    )
    for kind, value in steps:
        play.step(kind, value)
        play.check_limits()
        play.check_nobody_waits_for_nothing()
    while play.under_way:
        play.step("delivered", 0)
    assert play.crowd.lanes.waiting_notifiers() == []
    for name, count in play.entered.items():
        assert play.begun[name] == sorted(play.begun[name])
        assert len(play.begun[name]) == count - play.withdrawn[name]
    assert not play.crowd.lanes._fast._hosts.keys() - set(HOSTS.values())


@given(ends=st.lists(st.integers(0, 30), min_size=40, max_size=40), is_one_host=st.booleans())
def test_whoever_waits_is_served_within_a_bounded_number_of_ends(ends: list[int], *, is_one_host: bool) -> None:
    """Whichever attempt ends, and however much the others have waiting."""
    names = [f"a{number}" for number in range(6)] + ["b1", "b2", "c1", "d1"]
    notifiers = {name: a_notifier(name, "h" if is_one_host else f"h{name}") for name in names}
    limits = {"per_host": 4} if is_one_host else {"fast": 4}
    crowd = crowd_of(*notifiers.values(), per_notifier=2, **limits)
    under_way = [claim for notifier in notifiers.values() for claim in enter(crowd, notifier, 60)]
    since = dict.fromkeys(names, 0)
    for number, which in enumerate(ends):
        [following] = crowd.end(under_way.pop(which % len(under_way)))
        under_way.append(following)
        since[following.notifier.id] = number
        for name in names:
            at_app = sum(claim.app_id == name[0] for claim in under_way)
            if ids(under_way).count(name) == 2 or (not is_one_host and at_app == 2):
                since[name] = number  # it waits for an end of its own, or of its app
            neighbours = sum(other[0] == name[0] for other in names)
            assert number - since[name] <= neighbours * len("abcd")
