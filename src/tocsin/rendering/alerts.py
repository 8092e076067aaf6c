"""Sentences about metrics: alerts that fire and clear, alerts and autoscalers that are set up."""

from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft, Renderer
from tocsin.rendering.read import Facts
from tocsin.rendering.words import capital, figure, known, part, percent

METRICS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "cpu": ("CPU", "ratio"),
        "memory": ("memory", "ratio"),
        "swap": ("swap", "ratio"),
        "p95_response_time": ("response time (95th percentile)", "ms"),
        "5XX": ("number of 5xx responses", "count"),
        "all": ("number of requests", "rpm"),
        "rpm_per_container": ("number of requests per container", "rpm"),
    }
)
_SUFFIXES: Mapping[str, str] = MappingProxyType({"ms": " ms", "rpm": " a minute"})


def alert(facts: Facts) -> Draft:
    metric = _metric(facts)
    value, limit = _quantity(facts, "value"), _quantity(facts, "limit")
    if not metric:
        return _unnamed(facts)
    subject = f"{facts.app}: {metric}{part(' of ', facts.text('container_type', 'sender_name'))}"
    if facts.flag("activated") is False:
        title = f"{subject} is back{part(' to ', value, ',')} within its limit{part(' of ', limit)}"
        return Draft(title, severity=Severity.SUCCESS)
    side = "under" if facts.flag("send_when_below") else "over"
    title = f"{subject} is {part('', value, ', ')}{side} its limit{part(' of ', limit)}"
    return Draft(title, severity=Severity.WARNING)


def _unnamed(facts: Facts) -> Draft:
    if facts.flag("activated") is False:
        return Draft(f"{facts.app}: an alert is over", severity=Severity.SUCCESS)
    return Draft(f"{facts.app}: an alert was triggered", severity=Severity.WARNING)


def new_alert(facts: Facts) -> Draft:
    limit = _quantity(facts, "limit")
    side = "under" if facts.flag("send_when_below") else "over"
    when = part(f": {_where(facts)} {side} ", limit) or part(" on ", _metric(facts) and _where(facts))
    return Draft(facts.by(f"added an alert to {facts.app}{when}", f"An alert was added to {facts.app}{when}"))


def delete_alert(facts: Facts) -> Draft:
    on = part(" on ", _metric(facts) and _where(facts))
    title = facts.by(f"removed an alert{on} from {facts.app}", f"An alert{on} was removed from {facts.app}")
    return Draft(title)


def new_autoscaler(facts: Facts) -> Draft:
    what, how = f"the autoscaling of {_containers(facts)}", _goal(facts)
    title = facts.by(f"set up {what}{how}", f"{capital(what)} was set up{how}")
    return Draft(title, fields=_range(facts))


def edit_autoscaler(facts: Facts) -> Draft:
    what, how = f"the autoscaling of {_containers(facts)}", _goal(facts)
    title = facts.by(f"changed {what}{how}", f"{capital(what)} was changed{how}")
    return Draft(title, fields=_range(facts))


def delete_autoscaler(facts: Facts) -> Draft:
    what = f"the autoscaling of {_containers(facts)}"
    title = facts.by(f"removed {what}", f"{capital(what)} was removed")
    return Draft(title, fields=known([("Metric", _metric(facts))]))


def _goal(facts: Facts) -> str:
    low, high = (figure(facts.number(key)) for key in ("min_containers", "max_containers"))
    target = _quantity(facts, "target")
    metric = _metric(facts)
    kept = part(" for ", metric, part(" at ", target)) if metric else ""
    return f"{part(': ', low, part(' to ', high, ' containers')) if high else ''}{kept}"


def _range(facts: Facts) -> tuple[tuple[str, str], ...]:
    return known(
        [
            ("Metric", _metric(facts)),
            ("Target", _quantity(facts, "target")),
            ("At least", figure(facts.number("min_containers"))),
            ("At most", figure(facts.number("max_containers"))),
        ]
    )


def _metric(facts: Facts) -> str:
    name = facts.text("metric")
    return METRICS[name][0] if name in METRICS else name


def _where(facts: Facts) -> str:
    return f"{_metric(facts) or 'the metric'}{part(' of ', facts.text('container_type'))}"


def _containers(facts: Facts) -> str:
    return part("", facts.text("container_type"), f" of {facts.app}") or facts.app


def _quantity(facts: Facts, key: str) -> str:
    """A metric's value in its unit; for a metric that is not known, as the sender words it."""
    number = facts.number(key, f"raw_{key}")
    unit = METRICS.get(facts.text("metric"), ("", ""))[1]
    if number is None or not unit:
        return facts.text(f"{key}_text") or figure(number)
    return percent(number) if unit == "ratio" else f"{figure(number)}{_SUFFIXES.get(unit, '')}"


SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        "alert": alert,
        "new_alert": new_alert,
        "delete_alert": delete_alert,
        "new_autoscaler": new_autoscaler,
        "edit_autoscaler": edit_autoscaler,
        "delete_autoscaler": delete_autoscaler,
    }
)
