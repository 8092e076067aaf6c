"""The front page: a user's apps at a glance; for a visitor what this is, whether it is ready, and where to go."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from fastapi import Query, Request, Response
from markupsafe import Markup

from tocsin.access import Access
from tocsin.api.context import VerbsOf
from tocsin.dashboard.charts import draw_sparkline
from tocsin.dashboard.overview import TROUBLE
from tocsin.dashboard.places import CurrentUser
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import InvalidInput
from tocsin.model import User
from tocsin.statistics import ENDS, Glance
from tocsin.verbs import Verbs

SHOWN = 20
"""Apps on a page."""

MAX_NAME = 48

router = page_router()

Text = Annotated[str, Query()]


class Seen(msgspec.Struct, frozen=True):
    """An app, what the reader is to it, and its day."""

    access: Access
    glance: Glance
    sparkline: Markup


@router.get("/")
async def show_home(request: Request, visit: VisitOf, verbs: VerbsOf, q: Text = "", after: Text = "") -> Response:
    if visit.signed_in is None:
        problems: dict[str, Any] = dict(await request.app.state.readiness())
        return visit.show("status.html", problems=problems)
    return await _show(visit, verbs, visit.signed_in.user, search=q, after=after)


@router.post("/apps")
async def add_app(user: CurrentUser, visit: VisitOf, verbs: VerbsOf) -> Response:
    name = visit.form.get("name", "").strip()
    try:
        app = await verbs.apps.add_app(user, name)
    except InvalidInput as error:
        return await _show(visit, verbs, user, problems=error.fields, name=name, status=422)
    return visit.go(f"/apps/{app.name}")


async def _show(
    visit: Visit,
    verbs: Verbs,
    user: User,
    *,
    search: str = "",
    after: str = "",
    problems: Mapping[str, Sequence[str]] | None = None,
    name: str = "",
    status: int = 200,
) -> Response:
    search, after = search[:MAX_NAME], after[:MAX_NAME]
    accesses = await verbs.apps.list_accesses(user, search=search, after=after, limit=SHOWN + 1)
    shown = accesses[:SHOWN]
    glances = await verbs.statistics.glance([access.app for access in shown], visit.times.zone)
    query = {"q": search} if search else {}
    is_more = len(accesses) > SHOWN
    return visit.show(
        "overview/home.html",
        status=status,
        ends=ENDS,
        trouble=TROUBLE,
        seen=[_seen(access, glances[access.app.id], visit) for access in shown],
        search=search,
        is_first=not after,
        first=f"/?{urlencode(query)}" if query else "/",
        more=f"/?{urlencode({**query, 'after': shown[-1].app.name})}" if is_more else None,
        problems=problems or {},
        name=name,
    )


def _seen(access: Access, glance: Glance, visit: Visit) -> Seen:
    t = visit.words
    sums = {state: t.number(glance.counts.by_state.get(state, 0)) for state in ENDS}
    hours = [tuple(hour.get(state, 0) for state in ENDS) for hour in glance.by_hour]
    return Seen(access, glance, draw_sparkline(hours, ENDS, t("home.sparkline", **sums)))
