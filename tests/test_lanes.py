"""Lanes: how many attempts at once, in all and for each notifier, and who is next."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tocsin.lanes import Lanes
from tocsin.model import Notifier
from tocsin.store.port import Claim

AT = datetime(2026, 1, 2, tzinfo=UTC)


def claim(notifier_id: str, number: int = 1) -> Claim:
    notifier = Notifier(
        id=notifier_id, app_id="a", name="n", platform="webhook", secret="s", created_at=AT, updated_at=AT
    )
    return Claim(
        delivery_id=f"{notifier_id}-{number}",
        app_id="a",
        event_id="e",
        event_type="t",
        attempt=1,
        lease_token="l",
        claimed_at=AT,
        expires_at=AT,
        notifier=notifier,
        body=b"{}",
    )


def test_a_line_that_may_go_on_takes_the_place_of_any_attempt_that_ends() -> None:
    lanes = Lanes(limit=2, limit_per_notifier=2)
    assert [lanes.enter(claim(notifier_id)) for notifier_id in "abaa"] == [True, True, False, False]
    assert lanes.leave("a") is not None
    assert lanes.leave("b") is not None


def test_what_is_over_the_notifiers_limit_waits_and_follows_in_order() -> None:
    lanes = Lanes(limit=10, limit_per_notifier=2)
    assert [lanes.enter(claim("a", number)) for number in range(4)] == [True, True, False, False]
    assert lanes.enter(claim("b"))
    following = lanes.leave("a")
    assert following is not None
    assert following.delivery_id == "a-2"
    following = lanes.leave("a")
    assert following is not None
    assert following.delivery_id == "a-3"
    assert lanes.leave("a") is None


def test_a_notifier_held_up_by_the_others_is_served_when_one_of_theirs_ends() -> None:
    lanes = Lanes(limit=2, limit_per_notifier=2)
    assert lanes.enter(claim("a", 1))
    assert lanes.enter(claim("a", 2))
    assert not lanes.enter(claim("a", 3))
    assert not lanes.enter(claim("b", 1))
    assert [found.notifier.id if (found := lanes.leave("a")) else None for _ in range(2)] == ["b", "a"]


def test_nobody_overtakes_within_a_line() -> None:
    lanes = Lanes(limit=1, limit_per_notifier=1)
    assert lanes.enter(claim("a", 1))
    assert not lanes.enter(claim("a", 2))
    following = lanes.leave("a")
    assert following is not None
    assert following.delivery_id == "a-2"
    assert not lanes.enter(claim("a", 3))


def test_claims_are_withdrawn_from_their_lines_alone() -> None:
    lanes = Lanes(limit=1, limit_per_notifier=1)
    assert lanes.enter(claim("a", 1))
    for waiting in (claim("a", 2), claim("b", 1), claim("b", 2)):
        assert not lanes.enter(waiting)
    withdrawn = lanes.withdraw(lambda one: one.notifier.id == "b")
    assert [one.delivery_id for one in withdrawn] == ["b-1", "b-2"]
    assert lanes.waiting_notifiers() == ["a"]
    following = lanes.leave("a")
    assert following is not None
    assert following.delivery_id == "a-2"
    assert lanes.leave("a") is None
    assert lanes.withdraw(lambda _: True) == []


@given(
    limit=st.integers(1, 6),
    per_notifier=st.integers(1, 4),
    steps=st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 20)), max_size=80),
)
def test_limits_hold_nothing_is_lost_and_no_slot_is_idle_while_someone_may_use_it(
    limit: int, per_notifier: int, steps: list[str | int]
) -> None:
    lanes = Lanes(limit=limit, limit_per_notifier=per_notifier)
    under_way: list[str] = []
    entered: Counter[str] = Counter()
    order: dict[str, list[int]] = defaultdict(list)

    def begin(one: Claim) -> None:
        under_way.append(one.notifier.id)
        order[one.notifier.id].append(int(one.delivery_id.partition("-")[2]))

    for step in steps:
        if isinstance(step, str):
            one = claim(step, entered[step])
            entered[step] += 1
            if lanes.enter(one):
                begin(one)
        elif under_way:
            ended = under_way.pop(step % len(under_way))
            following = lanes.leave(ended)
            if following is not None:
                begin(following)
        counts = Counter(under_way)
        assert len(under_way) <= limit
        assert all(count <= per_notifier for count in counts.values())
        if len(under_way) < limit:
            assert all(counts[waiting] == per_notifier for waiting in lanes.waiting_notifiers())
    while under_way:
        following = lanes.leave(under_way.pop())
        if following is not None:
            begin(following)
    assert {name: list(range(count)) for name, count in entered.items()} == dict(order)
