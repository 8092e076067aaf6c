"""An app's overview: how its deliveries fare, its notifiers, and what happened last; renaming and removing it."""

from typing import Annotated

from fastapi import Query, Response

from tocsin.access import Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.events import tell
from tocsin.dashboard.overview import SHARES, TROUBLE, chart_ends, chart_latency, lasting, rows_of, share_of
from tocsin.dashboard.places import CurrentUser, ReadsApp, WritesApp
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf
from tocsin.errors import InvalidInput
from tocsin.statistics import ENDS, SPANS

LAST = 5
"""Events, and deliveries that failed, that are shown."""

SHOWN = 40
"""Notifiers that are shown."""

router = page_router()


@router.get("/apps/{app}")
async def show_app(access: ReadsApp, visit: VisitOf, verbs: VerbsOf, span: Annotated[str, Query()] = "24h") -> Response:
    for right in (Right.NOTIFIERS_READ, Right.EVENTS_READ, Right.DELIVERIES_READ):
        access.require(right)
    app = access.app
    chosen = span if span in SPANS else "24h"
    series = await verbs.statistics.series(app, SPANS[chosen])
    counts = await verbs.statistics.by_notifier(app, SPANS[chosen])
    last = await verbs.statistics.last_outcomes(app)
    events_today = await verbs.statistics.events_today([app], visit.times.zone)
    bodies, _ = await verbs.history.list_events(app, limit=LAST, offset=0)
    failed = await verbs.statistics.last_failed(counts, limit=LAST)
    rows = rows_of(await verbs.notifiers.list(app), counts, last, visit)
    return visit.show(
        "overview/app.html",
        access=access,
        span=chosen,
        spans=[(name, f"/apps/{app.name}?span={name}") for name in SPANS],
        ends=ENDS,
        percentiles=list(SHARES),
        events_today=events_today[app.id],
        whole=series.whole,
        share=share_of(series.whole, visit),
        p95=lasting(series.whole.percentile_ms(SHARES["p95"]), visit),
        charts={"ends": chart_ends(series, visit), "latency": chart_latency(series, visit)},
        rows=rows[:SHOWN],
        notifier_count=len(rows),
        trouble=[row.notifier for row in rows if row.notifier.state in TROUBLE[:2]][:LAST],
        messages=[each.message for each in tell(bodies)],
        failed=failed,
    )


@router.get("/apps/{app}/settings")
async def show_settings(access: WritesApp, visit: VisitOf) -> Response:
    return visit.show("overview/settings.html", access=access, name=access.app.name, problems={})


@router.post("/apps/{app}/settings")
async def rename_app(access: WritesApp, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    name = visit.form.get("name", "").strip()
    try:
        renamed = await verbs.apps.rename_app(user, access.app, name)
    except InvalidInput as error:
        return visit.show("overview/settings.html", status=422, access=access, name=name, problems=error.fields)
    return visit.go(f"/apps/{renamed.name}")


@router.post("/apps/{app}/remove")
async def remove_app(access: WritesApp, user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    """Whoever removes an app enters its name, so that nobody does it by mistake."""
    name = visit.form.get("current_name", "").strip()
    try:
        await verbs.apps.remove_app(user, access.app, current_name=name or "-")
    except InvalidInput as error:
        return visit.show(
            "overview/settings.html", status=422, access=access, name=access.app.name, problems=error.fields
        )
    return visit.go("/")
