"""Why a notifier gets an event or not, in words: the steps of `routing`, one by one. Pure.

The steps take the notifier and the alert rules as they are now. What was stored is the delivery.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from tocsin.dates import format_instant
from tocsin.model import Alert, Delivery, DeliveryState, Notifier, NotifierState
from tocsin.routing import ALERT_TYPE, AlertFacts, Way, differences, hears, matching_rules, wants, ways
from tocsin.store.known import Known
from tocsin.store.port import NewEvent


class StepName(StrEnum):
    """What is looked at, in this order. Of the four ways after `event_type` one is enough; the last two only delay."""

    EXISTS = "exists"
    ACTIVE = "active"
    ABOUT = "about"
    EVENT_TYPE = "event_type"
    SEND_ALL_EVENTS = "send_all_events"
    SELECTED_EVENT_IDS = "selected_event_ids"
    SEND_ALL_ALERTS = "send_all_alerts"
    ALERT_RULES = "alert_rules"
    STATE = "state"
    PLATFORM = "platform"


class Step(msgspec.Struct, frozen=True):
    """One thing that was looked at, whether it lets the event through, and a sentence about it."""

    step: StepName
    passed: bool
    detail: str


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An event as routing sees it; one that is only a draft has no deliveries.

    `type_name` and `type_id` are those of the event type that can be selected, if there is one; `owed` names the
    notifiers whose deliveries are still to be made.
    """

    event: NewEvent
    is_draft: bool
    type_name: str | None
    type_id: str | None
    alerts: Sequence[Alert]
    named_ids: frozenset[str]
    owed: frozenset[str] = frozenset()

    @property
    def facts(self) -> AlertFacts:
        return self.event.alert or AlertFacts()

    @property
    def is_alert(self) -> bool:
        return self.event.type == ALERT_TYPE


def steps_of(case: Case, known: Known, waits_for: str | None) -> tuple[Step, ...]:
    """Everything that is looked at; `waits_for` is the operator's setting that the platform lacks."""
    notifier = known.notifier
    gates = (_was_there(case, known), _is_active(notifier), _about(case, notifier))
    return (*gates, *_ways(case, notifier), _state(notifier), _platform(notifier, waits_for))


def is_wanted(case: Case, known: Known) -> bool:
    """Whether the notifier gets the event, as both are known now."""
    notifier, event = known.notifier, case.event
    return (
        _was_there(case, known).passed
        and hears(notifier, event.about)
        and wants(notifier, event_type=event.type, event_type_id=case.type_id, named_ids=case.named_ids)
    )


def note(case: Case, notifier: Notifier) -> str | None:
    """What the steps cannot know: how things stood when the event came, if they were changed since."""
    came_at = case.event.received_at
    if case.is_draft:
        return None
    changed = [("the notifier was", notifier.updated_at)]
    if case.alerts:
        changed.append(("alert rules were", max(alert.updated_at for alert in case.alerts)))
    told = [f"{what} changed at {format_instant(at)}" for what, at in changed if at > came_at]
    if not told:
        return None
    what = " and ".join(told)
    return f"{what}, after the event came: the steps take things as they are now, the delivery is the fact"


def summary(case: Case, known: Known, steps: Sequence[Step], delivery: Delivery | None) -> str:
    """What came of it, in a sentence."""
    if delivery is not None:
        return _told(delivery)
    if not is_wanted(case, known):
        closed = [step.detail for step in steps[:3] if not step.passed]
        why = closed[0] if closed else "nothing in its settings asks for it"
        return f"{'would not be sent' if case.is_draft else 'not sent'}: {why}"
    if case.is_draft:
        waits = [step.detail for step in steps[-2:] if not step.passed]
        return f"would be kept, and sent later: {waits[0]}" if waits else "would be sent at once"
    if known.notifier.id in case.owed:
        return "to be sent: its delivery is still to be made"
    return "not sent as far as is known: it would be wanted now, and there is no delivery on record"


def _was_there(case: Case, known: Known) -> Step:
    added_at, removed_at, came_at = known.notifier.created_at, known.removed_at, case.event.received_at
    if added_at > came_at:
        after = f"it was added at {format_instant(added_at)}, after the event came at {format_instant(came_at)}"
        return Step(StepName.EXISTS, False, after)
    if removed_at is None:
        return Step(StepName.EXISTS, True, f"it is there since {format_instant(added_at)}")
    when = f"it was removed at {format_instant(removed_at)}"
    if removed_at <= came_at:
        return Step(StepName.EXISTS, False, f"{when}, before the event came at {format_instant(came_at)}")
    return Step(StepName.EXISTS, True, f"it was there when the event came; {when}")


def _is_active(notifier: Notifier) -> Step:
    if notifier.active:
        return Step(StepName.ACTIVE, True, "it is switched on")
    if notifier.takes_events:
        return Step(StepName.ACTIVE, True, "it is disabled, and its deliveries wait")
    return Step(StepName.ACTIVE, False, "it is switched off")


def _about(case: Case, notifier: Notifier) -> Step:
    about = case.event.about
    if about is None:
        return Step(StepName.ABOUT, True, "the event tells of no notifier's life")
    if about == notifier.id:
        return Step(StepName.ABOUT, False, "the event tells of this very notifier, and goes by others")
    if not hears(notifier, about):
        return Step(StepName.ABOUT, False, "what is told of other notifiers goes by those that are active alone")
    return Step(StepName.ABOUT, True, "the event tells of another notifier")


def _ways(case: Case, notifier: Notifier) -> list[Step]:
    event_type, name = case.event.type, case.type_name
    can_be_selected = case.type_id is not None
    told = f"{event_type} goes by the event type {name}" if name else f"{event_type} is no event type one can select"
    steps = [Step(StepName.EVENT_TYPE, can_be_selected, told)]
    found = ways(notifier, event_type=event_type, event_type_id=case.type_id, named_ids=case.named_ids)
    steps += [Step(StepName(way.value), leads, _way(case, notifier, way, leads=leads)) for way, leads in found]
    return steps


def _way(case: Case, notifier: Notifier, way: Way, *, leads: bool) -> str:
    match way:
        case Way.SEND_ALL_EVENTS:
            return "it takes all events" if leads else "it does not take all events"
        case Way.SELECTED:
            if case.type_name is None:
                return "there is nothing to select for this type"
            return f"it selected {case.type_name}" if leads else f"it did not select {case.type_name}"
        case _ if not case.is_alert:
            return "the event is no alert"
        case Way.SEND_ALL_ALERTS:
            return "it takes all alerts" if leads else "it does not take all alerts"
        case Way.ALERT_RULES:
            return _rules(case, notifier)


def _rules(case: Case, notifier: Notifier) -> str:
    """What each alert rule that names the notifier has to do with the event."""
    naming = [alert for alert in case.alerts if notifier.id in alert.notifiers]
    if not naming:
        return "no alert rule names it"
    matching = {alert.id for alert in matching_rules(case.alerts, case.facts)}
    return "; ".join(_rule(case, alert, matches=alert.id in matching) for alert in naming)


def _rule(case: Case, alert: Alert, *, matches: bool) -> str:
    side = "below" if alert.send_when_below else "above"
    what = f"rule {alert.id} ({alert.metric} of {alert.container_type} {side} {alert.limit:g}) names it"
    if case.facts.alert_id is not None:
        by_id = "the event comes from this rule" if matches else f"the event comes from rule {case.facts.alert_id}"
        return f"{what}: {by_id}"
    if matches:
        return f"{what}: the event can have come from this rule"
    return f"{what}: the event cannot have come from it, by its {', '.join(differences(alert, case.facts))}"


def _state(notifier: Notifier) -> Step:
    state = notifier.state
    if state is NotifierState.ACTIVE:
        return Step(StepName.STATE, True, "what is due is sent")
    told = _with_reason(f"it is {state.value}", notifier)
    if notifier.held_until is not None:
        told += f", until {format_instant(notifier.held_until)}"
    return Step(StepName.STATE, False, told)


def _platform(notifier: Notifier, waits_for: str | None) -> Step:
    if waits_for is None:
        return Step(StepName.PLATFORM, True, f"{notifier.platform} is set up")
    return Step(StepName.PLATFORM, False, f"it waits until the operator sets {waits_for}")


def _with_reason(text: str, notifier: Notifier) -> str:
    return f"{text}: {notifier.state_reason}" if notifier.state_reason else text


def _told(delivery: Delivery) -> str:
    attempts = f"{delivery.attempt_count} attempt{'' if delivery.attempt_count == 1 else 's'}"
    ended = "" if delivery.finished_at is None else f" at {format_instant(delivery.finished_at)}"
    why = "" if delivery.reason is None else f" ({delivery.reason.value})"
    match delivery.state:
        case DeliveryState.DELIVERED:
            return f"delivered{ended}, after {attempts}"
        case DeliveryState.SENDING:
            return f"being sent: attempt {delivery.attempt_count} is under way"
        case DeliveryState.PENDING:
            due = "" if delivery.next_attempt_at is None else f" at {format_instant(delivery.next_attempt_at)}"
            return f"waiting{why}: attempt {delivery.attempt_count + 1} is due{due}"
        case _:
            return f"{delivery.state.value}{why}{ended}, after {attempts}"
