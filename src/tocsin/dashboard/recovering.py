"""Sending again what a notifier missed: chosen, counted, and only then done."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from fastapi import Path, Response

from tocsin.access import Access, Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.fields import Fields
from tocsin.dashboard.places import CurrentUser, WritesDeliveries
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.times import Times
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import Conflict, InvalidInput
from tocsin.history import Replayed, ReplayWish
from tocsin.model import DeliveryReason, DeliveryState, Notifier
from tocsin.notifier_rules import NotifierWish
from tocsin.store.deliveries import UNDELIVERED
from tocsin.verbs import Verbs

SINCE_HOURS = 24
"""From when what was missed is looked for, unless something else is chosen."""

STATES = sorted(UNDELIVERED)
REASONS = [each for each in DeliveryReason if each not in {DeliveryReason.HELD, DeliveryReason.WAITING_FOR_SETUP}]
MAX_TYPES = 100

FIELDS = {"to": "target", "rate_per_second": "rate"}
"""What the form calls otherwise than the verb does."""

router = page_router()

NotifierId = Annotated[str, Path(max_length=100)]


@router.get("/apps/{app}/notifiers/{notifier_id}/recover")
async def ask_what(
    notifier_id: NotifierId, access: WritesDeliveries, visit: VisitOf, verbs: VerbsOf, done: str = ""
) -> Response:
    """The form; after it was done also how many there were, which is no secret and nothing to rely on."""
    notifier = await verbs.notifiers.get(access.app, notifier_id)
    fields = Fields([("since", visit.times.field(visit.times.before(hours=SINCE_HOURS)))])
    count = int(done) if done.isascii() and done.isdigit() and len(done) < 10 else None
    return await _show(visit, verbs, access, notifier, fields, Drawn(done=count))


@router.post("/apps/{app}/notifiers/{notifier_id}/recover")
async def recover(
    notifier_id: NotifierId, access: WritesDeliveries, user: CurrentUser, visit: VisitOf, verbs: VerbsOf
) -> Response:
    """Counts; with `confirmed`, what only the page that told the count sends, does it."""
    notifier = await verbs.notifiers.get(access.app, notifier_id)
    form = visit.form
    is_confirmed = "confirmed" in form
    try:
        wish = read_wish(form, visit.times, is_dry_run=not is_confirmed)
        if form.get("enable"):
            access.require(Right.NOTIFIERS_WRITE)
        edit = partial(verbs.notifiers.edit, access.app, user, notifier_id, NotifierWish(active=True))
        enable = edit if form.get("enable") and not notifier.active else None
        replayed = await verbs.history.recover(access.app, notifier_id, wish, enable=enable)
    except InvalidInput as error:
        return await _show(visit, verbs, access, notifier, form, Drawn(problems=error.fields))
    except Conflict as error:
        problem = visit.words.sentence(error.message)
        return await _show(visit, verbs, access, notifier, form, Drawn(problem=problem))
    if not is_confirmed:
        return await _show(visit, verbs, access, notifier, form, Drawn(counted=replayed))
    return visit.go(f"/apps/{access.app.name}/notifiers/{notifier_id}/recover?done={replayed.count}")


def read_wish(form: Fields, times: Times, *, is_dry_run: bool) -> ReplayWish:
    """What the form asks for. Raises InvalidInput that names all fields that are wrong."""
    wrong: dict[str, list[str]] = {}
    read: dict[str, Any] = {}
    for name in ("since", "until"):
        try:
            read[name] = times.read(form.get(name, ""))
        except ValueError as error:
            wrong[name] = [str(error)]
    if "since" not in wrong and read["since"] is None:
        wrong["since"] = ["is required"]
    for name, known in (("states", STATES), ("reasons", REASONS)):
        if not set(form.all(name)) <= set(known):
            wrong[name] = [f"must be of {', '.join(known)}"]
    types = form.get("types", "").replace(",", " ").split()
    if len(types) > MAX_TYPES:
        wrong["types"] = [f"must be {MAX_TYPES} at most"]
    rate = form.get("rate", "").strip().replace(",", ".")
    try:
        read["rate"] = float(rate) if rate else None
    except ValueError:
        wrong["rate"] = ["must be a number"]
    if wrong:
        raise InvalidInput(wrong)
    return ReplayWish(
        since=read["since"],
        until=read["until"],
        types=types,
        states=frozenset(map(DeliveryState, form.all("states"))) or UNDELIVERED,
        reasons=frozenset(map(DeliveryReason, form.all("reasons"))),
        to=form.get("target") or None,
        rate_per_second=read["rate"],
        is_dry_run=is_dry_run,
    )


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """What the page tells beside the form."""

    problems: Mapping[str, Sequence[str]] = {}
    problem: str | None = None
    counted: Replayed | None = None
    done: int | None = None


async def _show(visit: Visit, verbs: Verbs, access: Access, notifier: Notifier, form: Fields, drawn: Drawn) -> Response:
    problems = {FIELDS.get(name, name): reasons for name, reasons in drawn.problems.items()}
    return visit.show(
        "deliveries/recover.html",
        status=422 if drawn.problems or drawn.problem else 200,
        access=access,
        notifier=notifier,
        others=[each for each in await verbs.notifiers.list(access.app) if each.id != notifier.id],
        form=form,
        chosen={name: form.all(name) for name in ("states", "reasons")},
        states=STATES,
        reasons=REASONS,
        problems=problems,
        problem_found=drawn.problem,
        counted=drawn.counted,
        done=drawn.done,
        may_enable=access.may(Right.NOTIFIERS_WRITE) and not notifier.active,
    )
