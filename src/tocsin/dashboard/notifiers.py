"""The notifiers of an app: all of them, each with how it fares, and what can be done with it."""

from datetime import timedelta
from typing import Annotated

from fastapi import Path, Response

from tocsin.access import Access, Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.notifier_views import NotifierPage, Outcome, gets
from tocsin.dashboard.places import CurrentUser, ReadsNotifiers, TestsNotifiers, WritesNotifiers
from tocsin.dashboard.reasons import reason_of
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import VisitOf
from tocsin.errors import Conflict, InvalidInput
from tocsin.model import DeliveryState
from tocsin.notifier_rules import NotifierWish
from tocsin.store.deliveries import DeliveryFilter

router = page_router()

NotifierRef = Annotated[str, Path(max_length=100)]

SHOWN = 50
"""So many notifiers are on a page of the list."""

PAUSES = {"1": timedelta(hours=1), "8": timedelta(hours=8), "24": timedelta(hours=24)}


@router.get("/apps/{app}/notifiers")
async def list_notifiers(
    access: ReadsNotifiers, visit: VisitOf, verbs: VerbsOf, done: str = "", after: str = ""
) -> Response:
    """Oldest first; `after` is the id of the last one on the page before."""
    catalogue, platforms = verbs.notifiers.catalogue, verbs.notifiers.platforms
    all_there = await verbs.notifiers.list(access.app)
    rest = [notifier for notifier in all_there if notifier.id > after]
    found = [
        (
            notifier,
            platforms[notifier.platform],
            gets(visit.words, catalogue, notifier),
            reason_of(notifier.state, notifier.state_reason),
            verbs.notifiers.waits_for(notifier.platform),
        )
        for notifier in rest[:SHOWN]
    ]
    return visit.show(
        "notifiers/list.html",
        access=access,
        notifiers=found,
        last=await verbs.statistics.last_outcomes(access.app) if access.may(Right.DELIVERIES_READ) else {},
        is_removed=done == "removed",
        is_later=len(rest) < len(all_there),
        after=rest[SHOWN - 1].id if len(rest) > SHOWN else None,
    )


@router.get("/apps/{app}/notifiers/{notifier}")
async def show_notifier(
    access: ReadsNotifiers,
    notifier: NotifierRef,
    user: CurrentUser,
    visit: VisitOf,
    verbs: VerbsOf,
    event: str = "",
    done: str = "",
) -> Response:
    return await NotifierPage(access, user, visit, verbs).show(notifier, event=event, done=done)


@router.get("/apps/{app}/notifiers/{notifier}/finish")
async def finish(
    access: WritesNotifiers,
    notifier: NotifierRef,
    user: CurrentUser,
    visit: VisitOf,
    verbs: VerbsOf,
    event: str = "",
) -> Response:
    """The last step of adding it: how its messages look, a test, and the switch."""
    return await NotifierPage(access, user, visit, verbs).show(notifier, is_new=True, event=event)


@router.post("/apps/{app}/notifiers/{notifier}/test")
async def test_notifier(
    access: TestsNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    """Of a test nothing is kept that another page could show: this one does."""
    delivery, attempt = await verbs.notifiers.test(access.app, user, notifier)
    outcome = Outcome(delivery=delivery, attempt=attempt)
    page = NotifierPage(access, user, visit, verbs)
    return await page.show(notifier, is_new="is_new" in visit.form, test=outcome)


@router.post("/apps/{app}/notifiers/{notifier}/on")
async def switch_on(
    access: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    await verbs.notifiers.edit(access.app, user, notifier, NotifierWish(active=True))
    return visit.go(address_of(access, notifier, "added" if "is_new" in visit.form else "on"))


@router.post("/apps/{app}/notifiers/{notifier}/off")
async def switch_off(
    access: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    await verbs.notifiers.edit(access.app, user, notifier, NotifierWish(active=False))
    return visit.go(address_of(access, notifier, "off"))


@router.post("/apps/{app}/notifiers/{notifier}/pause")
async def pause(
    access: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    page = NotifierPage(access, user, visit, verbs)
    length = visit.form.get("length", "")
    until = visit.times.now() + PAUSES[length] if length in PAUSES else None
    try:
        if length == "until" and (until := visit.times.read(visit.form.get("until", ""))) is None:
            raise ValueError("must be a date and a time, such as 2026-01-31 14:30")  # noqa: TRY301 - read where others are
        await verbs.notifiers.pause(access.app, notifier, until=until)
    except ValueError as error:
        return await page.show(notifier, status=422, problems={"until": [str(error)]})
    except InvalidInput as error:
        return await page.show(notifier, status=422, problems=error.fields)
    except Conflict as error:
        return await page.show(notifier, status=409, problem=error.message)
    return visit.go(address_of(access, notifier, "paused"))


@router.post("/apps/{app}/notifiers/{notifier}/resume")
async def resume(access: WritesNotifiers, notifier: NotifierRef, visit: VisitOf, verbs: VerbsOf) -> Response:
    await verbs.notifiers.resume(access.app, notifier)
    return visit.go(address_of(access, notifier, "resumed"))


@router.get("/apps/{app}/notifiers/{notifier}/remove")
async def ask_removal(access: WritesNotifiers, notifier: NotifierRef, visit: VisitOf, verbs: VerbsOf) -> Response:
    found = await verbs.notifiers.get(access.app, notifier)
    only = DeliveryFilter(notifier_id=found.id, state=DeliveryState.PENDING)
    _, waiting = await verbs.history.list_deliveries(access.app, only, limit=1, offset=0)
    return visit.show("notifiers/remove.html", access=access, notifier=found, waiting=waiting)


@router.post("/apps/{app}/notifiers/{notifier}/remove")
async def remove(
    access: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    await verbs.notifiers.remove(access.app, user, notifier)
    return visit.go(f"/apps/{access.app.name}/notifiers?done=removed")


def address_of(access: Access, notifier_id: str, done: str) -> str:
    """A notifier's page, saying what has been done."""
    return f"/apps/{access.app.name}/notifiers/{notifier_id}?done={done}"
