"""Which notifiers of an app get an event. Pure: the notifiers and alert rules are given, nothing is looked up.

Stop before: `ingest`, inside the store's transaction. Stop after: `worker`, which claims the deliveries made.
"""

from collections.abc import Collection, Iterable

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

    It does when it is active and sends all events or selected the event's type; an alert also reaches a notifier
    that sends all alerts or is named by the alert's rule. `event_type_id` is None for types that cannot be selected.
    """
    if not notifier.active:
        return False
    if notifier.send_all_events or event_type_id in notifier.selected_event_ids:
        return True
    return event_type == ALERT_TYPE and (notifier.send_all_alerts or notifier.id in named_ids)


def route(
    notifiers: Iterable[Notifier],
    *,
    event_type: str,
    event_type_id: str | None,
    named_ids: Collection[str] = (),
) -> list[Notifier]:
    """The notifiers that get an event, in the order given, each once."""
    return [
        notifier
        for notifier in notifiers
        if wants(notifier, event_type=event_type, event_type_id=event_type_id, named_ids=named_ids)
    ]


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
