"""Which notifiers of an app get an event. Pure: the notifiers and alert rules are given, nothing is looked up.

Stop before: `ingest`, inside the store's transaction. Stop after: `worker`, which claims the deliveries made.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cached_property

import msgspec

from tocsin.model import Alert, Notifier, NotifierState

ALERT_TYPE = "alert"


class AlertFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an `alert` event says of the rule that fired, as far as it says it."""

    alert_id: str | None = None
    metric: str | None = None
    container_type: str | None = None
    limits: tuple[float, ...] = ()
    send_when_below: bool | None = None


class Way(StrEnum):
    """How an event can come to a notifier that is active; one is enough."""

    SEND_ALL_EVENTS = "send_all_events"
    SELECTED = "selected_event_ids"
    SEND_ALL_ALERTS = "send_all_alerts"
    ALERT_RULES = "alert_rules"


def ways(
    notifier: Notifier,
    *,
    event_type: str,
    event_type_id: str | None,
    named_ids: Collection[str] = (),
) -> Iterator[tuple[Way, bool]]:
    """Each way, and whether an event of this type takes it.

    `event_type_id` is None for types that cannot be selected; `named_ids` are those whom the alert's rules name.
    """
    yield Way.SEND_ALL_EVENTS, notifier.send_all_events
    yield Way.SELECTED, event_type_id in notifier.selected_event_ids
    is_alert = event_type == ALERT_TYPE
    yield Way.SEND_ALL_ALERTS, is_alert and notifier.send_all_alerts
    yield Way.ALERT_RULES, is_alert and notifier.id in named_ids


def wants(
    notifier: Notifier,
    *,
    event_type: str,
    event_type_id: str | None,
    named_ids: Collection[str] = (),
) -> bool:
    """Whether a notifier gets an event of this type: it does when it takes events and there is a way."""
    found = ways(notifier, event_type=event_type, event_type_id=event_type_id, named_ids=named_ids)
    return notifier.takes_events and any(leads for _, leads in found)


def hears(notifier: Notifier, about: str | None) -> bool:
    """Whether a notifier gets what is told of the life of the one with the id `about`: others do, while all is well.

    None stands for any other event.
    """
    return about is None or (notifier.id != about and notifier.state is NotifierState.ACTIVE)


class Router:
    """An app's notifiers, in the order in which they get an event.

    Who wants a type of event is found once, when the first comes: from then on an event costs what it reaches, however
    many notifiers the app has. Types that all those and only those want who send all events share one answer.
    """

    def __init__(self, notifiers: Sequence[Notifier]) -> None:
        """Each notifier stands in `notifiers` once."""
        self._notifiers = notifiers
        self._wanting: dict[tuple[bool, str | None], tuple[Notifier, ...]] = {}

    def route(
        self, *, event_type: str, event_type_id: str | None, named_ids: Collection[str] = ()
    ) -> tuple[Notifier, ...]:
        """The notifiers that get an event, in the order given, each once.

        `event_type_id` is one of the catalogue's, or None: what it is answered with is kept.
        """
        kind = (event_type == ALERT_TYPE, event_type_id)
        wanting = self._wanting.get(kind)
        if wanting is None:
            wanting = self._wanting[kind] = self._find(event_type, event_type_id)
        if not named_ids or event_type != ALERT_TYPE:
            return wanting
        return self._with_named(wanting, named_ids)

    def _find(self, event_type: str, event_type_id: str | None) -> tuple[Notifier, ...]:
        found = tuple(
            notifier
            for notifier in self._notifiers
            if wants(notifier, event_type=event_type, event_type_id=event_type_id)
        )
        return self._all_events if len(found) == len(self._all_events) else found

    def _with_named(self, wanting: tuple[Notifier, ...], named_ids: Collection[str]) -> tuple[Notifier, ...]:
        places = self._places
        every = {places[notifier.id] for notifier in wanting}
        every.update(
            places[notifier_id]
            for notifier_id in named_ids
            if notifier_id in places and self._notifiers[places[notifier_id]].takes_events
        )
        return tuple(self._notifiers[place] for place in sorted(every)) if len(every) > len(wanting) else wanting

    @cached_property
    def _all_events(self) -> tuple[Notifier, ...]:
        """Those that are in the answer for every type, and so the whole of an answer that is as long."""
        return tuple(notifier for notifier in self._notifiers if notifier.takes_events and notifier.send_all_events)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {notifier.id: place for place, notifier in enumerate(self._notifiers)}


def differences(alert: Alert, facts: AlertFacts) -> tuple[str, ...]:
    """The fields of an alert rule by which an event that states these facts cannot have come from it, if any.

    A rule over another metric is not looked at any further.
    """
    if alert.metric != facts.metric:
        return ("metric",)
    found: tuple[str, ...] = ()
    if alert.disabled:
        found += ("disabled",)
    if facts.container_type is not None and facts.container_type != alert.container_type:
        found += ("container_type",)
    if facts.limits and alert.limit not in facts.limits:
        found += ("limit",)
    if facts.send_when_below is not None and facts.send_when_below != alert.send_when_below:
        found += ("send_when_below",)
    return found


def matching_rules(alerts: Iterable[Alert], facts: AlertFacts) -> list[Alert]:
    """The alert rules that an alert event can have come from.

    An event that carries `alert_id` comes from that rule; others are matched by metric and by each fact they state.
    """
    if facts.alert_id is not None:
        return [alert for alert in alerts if alert.id == facts.alert_id]
    return [alert for alert in alerts if not differences(alert, facts)]


def named_by_rules(alerts: Iterable[Alert], facts: AlertFacts) -> frozenset[str]:
    """The notifiers named by the alert rules that an alert event can have come from."""
    return frozenset(notifier_id for alert in matching_rules(alerts, facts) for notifier_id in alert.notifiers)
