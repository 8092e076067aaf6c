"""Alert rules of an app: which metric over which limit is told to which notifiers."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import Path, Response

from tocsin.access import Access, Right
from tocsin.alerts import AlertWish
from tocsin.api.context import VerbsOf
from tocsin.dashboard.places import CurrentUser, ReadsNotifiers, WritesNotifiers
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.dates import format_duration
from tocsin.errors import InvalidInput
from tocsin.model import Alert
from tocsin.verbs import Verbs

DONE = frozenset({"added", "changed", "removed", "on", "off"})

router = page_router()

AlertId = Annotated[str, Path(max_length=100)]


class Row(msgspec.Struct, frozen=True):
    """A rule as the list shows it: its limit with the unit, its durations, and the notifiers that there still are."""

    alert: Alert
    metric: str
    limit: str
    lasting: str
    remind_every: str
    notifiers: list[tuple[str, str]]


@router.get("/apps/{app}/alerts")
async def list_alerts(access: ReadsNotifiers, visit: VisitOf, verbs: VerbsOf, done: str = "") -> Response:
    names = {notifier.id: notifier.name for notifier in await verbs.notifiers.list(access.app)}
    return visit.show(
        "alerts/list.html",
        access=access,
        rows=[_row(verbs, visit, alert, names) for alert in await verbs.alerts.list(access.app)],
        done_word=done if done in DONE else None,
        may_write=access.may(Right.NOTIFIERS_WRITE),
    )


@router.get("/apps/{app}/alerts/new")
async def show_new(access: WritesNotifiers, visit: VisitOf, verbs: VerbsOf) -> Response:
    return await _show_form(visit, verbs, access, values={"container_type": "web", "duration_before_trigger": "5m"})


@router.post("/apps/{app}/alerts/new")
async def add_alert(access: WritesNotifiers, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    try:
        await verbs.alerts.add(access.app, user, _wish(visit, verbs))
    except InvalidInput as error:
        return await _show_again(visit, verbs, access, error)
    return visit.go(f"/apps/{access.app.name}/alerts?done=added")


@router.get("/apps/{app}/alerts/{alert_id}/edit")
async def show_edit(alert_id: AlertId, access: WritesNotifiers, visit: VisitOf, verbs: VerbsOf) -> Response:
    alert = await verbs.alerts.get(access.app, alert_id)
    values = {
        "container_type": alert.container_type,
        "metric": alert.metric,
        "limit": f"{alert.limit * (100 if _is_ratio(verbs, alert.metric) else 1):.15g}",
        "side": "below" if alert.send_when_below else "above",
        "duration_before_trigger": format_duration(alert.duration_before_trigger),
        "remind_every": format_duration(alert.remind_every) if alert.remind_every else "",
    }
    return await _show_form(visit, verbs, access, values=values, chosen=alert.notifiers, alert=alert)


@router.post("/apps/{app}/alerts/{alert_id}/edit")
async def edit_alert(alert_id: AlertId, access: WritesNotifiers, visit: VisitOf, verbs: VerbsOf) -> Response:
    alert = await verbs.alerts.get(access.app, alert_id)
    try:
        await verbs.alerts.edit(access.app, alert_id, _wish(visit, verbs))
    except InvalidInput as error:
        return await _show_again(visit, verbs, access, error, alert=alert)
    return visit.go(f"/apps/{access.app.name}/alerts?done=changed")


@router.post("/apps/{app}/alerts/{alert_id}/switch")
async def switch_alert(alert_id: AlertId, access: WritesNotifiers, visit: VisitOf, verbs: VerbsOf) -> Response:
    """On or off, as the button said: pressed twice, it does the same."""
    is_off = visit.form.get("to") == "off"
    await verbs.alerts.edit(access.app, alert_id, AlertWish(disabled=is_off))
    return visit.go(f"/apps/{access.app.name}/alerts?done={'off' if is_off else 'on'}")


@router.get("/apps/{app}/alerts/{alert_id}/remove")
async def ask_to_remove(alert_id: AlertId, access: WritesNotifiers, visit: VisitOf, verbs: VerbsOf) -> Response:
    alert = await verbs.alerts.get(access.app, alert_id)
    return visit.show("alerts/remove.html", access=access, row=_row(verbs, visit, alert, {}))


@router.post("/apps/{app}/alerts/{alert_id}/remove")
async def remove_alert(
    alert_id: AlertId, access: WritesNotifiers, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    await verbs.alerts.remove(access.app, user, alert_id)
    return visit.go(f"/apps/{access.app.name}/alerts?done=removed")


def _wish(visit: Visit, verbs: Verbs) -> AlertWish:
    """What the form asks for: ratios are entered in per cent. Raises InvalidInput."""
    form = visit.form
    metric = form.get("metric", "")
    try:
        limit = float(form.get("limit", "").strip().replace(",", "."))
    except ValueError:
        raise InvalidInput({"limit": ["must be a number"]}) from None
    return AlertWish(
        container_type=form.get("container_type", "").strip(),
        metric=metric,
        limit=limit / 100 if _is_ratio(verbs, metric) else limit,
        send_when_below=form.get("side") == "below",
        duration_before_trigger=form.get("duration_before_trigger", "").strip(),
        remind_every=form.get("remind_every", "").strip(),
        notifiers=form.all("notifiers"),
    )


def _is_ratio(verbs: Verbs, metric: str) -> bool:
    return any(each.id == metric and each.unit == "ratio" for each in verbs.notifiers.catalogue.alert_metrics)


def _row(verbs: Verbs, visit: Visit, alert: Alert, names: Mapping[str, str]) -> Row:
    metric = next((each for each in verbs.notifiers.catalogue.alert_metrics if each.id == alert.metric), None)
    unit = "count" if metric is None else metric.unit
    return Row(
        alert=alert,
        metric=alert.metric if metric is None else metric.display_name,
        limit=visit.words(f"alerts.units.{unit}", number=f"{alert.limit * (100 if unit == 'ratio' else 1):.15g}"),
        lasting=format_duration(alert.duration_before_trigger),
        remind_every=format_duration(alert.remind_every) if alert.remind_every else "",
        notifiers=[(each, names[each]) for each in alert.notifiers if each in names],
    )


async def _show_again(
    visit: Visit, verbs: Verbs, access: Access, error: InvalidInput, *, alert: Alert | None = None
) -> Response:
    """The form with what was typed, and what is wrong with it."""
    return await _show_form(
        visit,
        verbs,
        access,
        values=visit.form,
        chosen=visit.form.all("notifiers"),
        alert=alert,
        problems=error.fields,
    )


async def _show_form(
    visit: Visit,
    verbs: Verbs,
    access: Access,
    *,
    values: Mapping[str, str],
    chosen: Sequence[str] = (),
    alert: Alert | None = None,
    problems: Mapping[str, Any] | None = None,
) -> Response:
    return visit.show(
        "alerts/form.html",
        status=422 if problems else 200,
        access=access,
        alert=alert,
        metrics=verbs.notifiers.catalogue.alert_metrics,
        notifiers=await verbs.notifiers.list(access.app),
        values=values,
        chosen=chosen,
        problems=problems or {},
    )
