"""Which notifiers of an app get an event. Pure: the notifiers and alert rules are given, nothing is looked up.

Stop before: `ingest`, inside the store's transaction. Stop after: `worker`, which claims the deliveries made.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from tocsin.model import Alert, Notifier

ALERT_TYPE = "alert"


def wants(
    notifier: Notifier,
    *,
    event_type: str,
    event_type_id: str | None,
    named_ids: Collection[str] = (),
) -> bool:
    """Whether a notifier gets an event of this type.

    It does when it takes events at all, and sends all events or selected the event's type; an alert also reaches a
    notifier that sends all alerts or is named by the alert's rule. `event_type_id` is None for types that cannot be
    selected.
    """
    if not notifier.takes_events:
        return False
    if notifier.send_all_events or event_type_id in notifier.selected_event_ids:
        return True
    return event_type == ALERT_TYPE and (notifier.send_all_alerts or notifier.id in named_ids)


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


def named_by_rules(
    alerts: Iterable[Alert],
    *,
    alert_id: str | None = None,
    metric: str | None = None,
    container_type: str | None = None,
    limits: Collection[float] = (),
    send_when_below: bool | None = None,
) -> frozenset[str]:
    """The notifiers named by the alert rules that an alert event can have come from.

    An event that carries `alert_id` comes from that rule; others are matched by metric and by each fact they state.
    """
    named: set[str] = set()
    for alert in alerts:
        if alert_id is not None:
            matches = alert.id == alert_id
        else:
            matches = (
                not alert.disabled
                and alert.metric == metric
                and container_type in {None, alert.container_type}
                and send_when_below in {None, alert.send_when_below}
                and (not limits or alert.limit in limits)
            )
        if matches:
            named.update(alert.notifiers)
    return frozenset(named)
