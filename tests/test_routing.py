"""Which notifiers get an event."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.model import Alert, Notifier, NotifierState
from tocsin.routing import AlertFacts, Router, differences, matching_rules, named_by_rules, wants

AT = datetime(2026, 1, 2, tzinfo=UTC)
DEPLOYMENT_ID = "5343eccd646aa40000000001"
ALERT_ID = "5343eccd646aa40000000002"


def notifier(**changes) -> Notifier:
    values = {"id": "no-1", "app_id": "a" * 24, "name": "n", "platform": "webhook", "secret": "s"}
    return Notifier(**values | {"created_at": AT, "updated_at": AT} | changes)


def rule(**changes) -> Alert:
    values = {"id": "al-1", "app_id": "a" * 24, "container_type": "web", "metric": "cpu", "limit": 0.8}
    return Alert(**values | {"notifiers": ("no-1",), "created_at": AT, "updated_at": AT} | changes)


@pytest.mark.parametrize(
    ("settings", "gets_deployment", "gets_alert", "gets_unlisted"),
    [
        ({}, False, False, False),
        ({"send_all_events": True}, True, True, True),
        ({"selected_event_ids": (DEPLOYMENT_ID,)}, True, False, False),
        ({"selected_event_ids": (ALERT_ID,)}, False, True, False),
        ({"selected_event_ids": ("other", ALERT_ID, DEPLOYMENT_ID)}, True, True, False),
        ({"send_all_alerts": True}, False, True, False),
        ({"send_all_alerts": True, "selected_event_ids": (DEPLOYMENT_ID,)}, True, True, False),
    ],
)
def test_a_notifier_gets_what_it_asked_for(settings, gets_deployment, gets_alert, gets_unlisted) -> None:
    asked = notifier(**settings)
    assert wants(asked, event_type="deployment", event_type_id=DEPLOYMENT_ID) is gets_deployment
    assert wants(asked, event_type="alert", event_type_id=ALERT_ID) is gets_alert
    assert wants(asked, event_type="of_our_own", event_type_id=None) is gets_unlisted


def test_an_alert_reaches_the_notifiers_that_its_rule_names() -> None:
    assert wants(notifier(), event_type="alert", event_type_id=ALERT_ID, named_ids={"no-1"})
    assert not wants(notifier(), event_type="alert", event_type_id=ALERT_ID, named_ids={"no-2"})


def test_a_name_in_a_rule_means_nothing_for_other_events() -> None:
    assert not wants(notifier(), event_type="deployment", event_type_id=DEPLOYMENT_ID, named_ids={"no-1"})


def test_a_paused_notifier_still_gets_deliveries() -> None:
    assert wants(notifier(send_all_events=True, state=NotifierState.PAUSED), event_type="x", event_type_id=None)


NOTIFIERS = st.lists(
    st.builds(
        notifier,
        id=st.integers(0, 30).map(lambda number: f"no-{number}"),
        active=st.booleans(),
        send_all_alerts=st.booleans(),
        send_all_events=st.booleans(),
        selected_event_ids=st.sets(st.sampled_from([DEPLOYMENT_ID, ALERT_ID, "other"])).map(tuple),
    ),
    unique_by=lambda one: one.id,
    max_size=8,
)
EVENTS = st.sampled_from([("deployment", DEPLOYMENT_ID), ("alert", ALERT_ID), ("of_our_own", None)])


NAMED = st.sets(st.integers(0, 30).map(lambda number: f"no-{number}"))


def route(router: Router, event: tuple[str, str | None], named=()) -> list[Notifier]:
    event_type, event_type_id = event
    return list(router.route(event_type=event_type, event_type_id=event_type_id, named_ids=named))


@given(notifiers=NOTIFIERS, events=st.lists(st.tuples(EVENTS, NAMED), max_size=8))
def test_an_event_goes_to_each_that_wants_it_in_order_whatever_came_before(notifiers, events) -> None:
    router = Router(notifiers)
    for (event_type, event_type_id), named in events:
        assert route(router, (event_type, event_type_id), named) == [
            one for one in notifiers if wants(one, event_type=event_type, event_type_id=event_type_id, named_ids=named)
        ]


@given(notifiers=NOTIFIERS, event=EVENTS, named=NAMED)
def test_routing_keeps_the_order_and_sends_each_once_and_none_that_is_off(notifiers, event, named) -> None:
    chosen = route(Router(notifiers), event, named)
    assert all(one.active for one in chosen)
    assert [one for one in notifiers if one in chosen] == chosen
    assert all(one in chosen for one in notifiers if one.active and one.send_all_events)
    assert len({one.id for one in chosen}) == len(chosen)


@given(notifiers=NOTIFIERS, event=EVENTS)
def test_more_names_never_take_an_event_away(notifiers, event) -> None:
    router = Router(notifiers)
    few = route(router, event)
    many = route(router, event, [one.id for one in notifiers])
    assert [one for one in many if one in few] == few


class Watched(Sequence[Notifier]):
    """Notifiers that tell which of them were looked at."""

    def __init__(self, notifiers: list[Notifier]) -> None:
        self._notifiers = notifiers
        self.seen: set[str] = set()

    def __getitem__(self, place):
        self.seen.add(self._notifiers[place].id)
        return self._notifiers[place]

    def __len__(self) -> int:
        return len(self._notifiers)


@pytest.mark.parametrize("event", [("deployment", DEPLOYMENT_ID), ("alert", ALERT_ID)])
def test_from_the_second_event_of_a_type_on_nobody_is_looked_at_who_does_not_want_it(event) -> None:
    selected = {3: (DEPLOYMENT_ID, ALERT_ID)}
    watched = Watched([notifier(id=f"no-{i}", selected_event_ids=selected.get(i, ("other",))) for i in range(30)])
    router = Router(watched)
    first = route(router, event, ["no-7"])
    watched.seen.clear()
    assert route(router, event, ["no-7"]) == first
    assert watched.seen <= {one.id for one in first} <= {"no-3", "no-7"}


def test_types_that_nobody_selected_share_one_answer() -> None:
    router = Router([notifier(id=f"no-{number}", send_all_events=True) for number in range(30)])
    deployments = router.route(event_type="deployment", event_type_id=DEPLOYMENT_ID)
    assert len(deployments) == 30
    assert router.route(event_type="of_our_own", event_type_id=None) is deployments
    assert router.route(event_type="alert", event_type_id=ALERT_ID, named_ids=["no-7"]) is deployments


@pytest.mark.parametrize(
    ("facts", "matches"),
    [
        ({"metric": "cpu"}, True),
        ({"metric": "memory"}, False),
        ({}, False),
        ({"metric": "cpu", "container_type": "web"}, True),
        ({"metric": "cpu", "container_type": "worker"}, False),
        ({"metric": "cpu", "limits": (0.8,)}, True),
        ({"metric": "cpu", "limits": (80.0, 0.8)}, True),
        ({"metric": "cpu", "limits": (0.9,)}, False),
        ({"metric": "cpu", "send_when_below": False}, True),
        ({"metric": "cpu", "send_when_below": True}, False),
        ({"alert_id": "al-1"}, True),
        ({"alert_id": "al-1", "metric": "memory"}, True),
        ({"alert_id": "al-2", "metric": "cpu"}, False),
    ],
)
def test_a_rule_matches_an_alert_by_its_id_or_by_what_it_states(facts, matches) -> None:
    assert named_by_rules([rule()], AlertFacts(**facts)) == (frozenset({"no-1"}) if matches else frozenset())


def test_a_disabled_rule_matches_only_an_alert_that_names_it() -> None:
    assert named_by_rules([rule(disabled=True)], AlertFacts(metric="cpu")) == frozenset()
    assert named_by_rules([rule(disabled=True)], AlertFacts(alert_id="al-1")) == {"no-1"}


def test_all_matching_rules_name_notifiers() -> None:
    rules = [rule(), rule(id="al-2", notifiers=("no-2", "no-1")), rule(id="al-3", metric="memory", notifiers=("no-3",))]
    assert matching_rules(rules, AlertFacts(metric="cpu")) == rules[:2]
    assert named_by_rules(rules, AlertFacts(metric="cpu")) == {"no-1", "no-2"}


def test_a_rule_says_by_what_an_event_differs_from_it() -> None:
    said = AlertFacts(metric="cpu", container_type="worker", limits=(0.9,), send_when_below=True)
    assert differences(rule(), AlertFacts(metric="cpu")) == ()
    assert differences(rule(disabled=True), said) == ("disabled", "container_type", "limit", "send_when_below")
    assert differences(rule(disabled=True, metric="memory"), said) == ("metric",)
