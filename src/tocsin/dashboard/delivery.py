"""One delivery: what became of it and why, attempt by attempt; sending it again, to another, or not at all."""

from typing import Annotated, Any

from fastapi import Path, Response

from tocsin.access import Access, Right
from tocsin.api.context import VerbsOf
from tocsin.dashboard.deliveries import titles_of
from tocsin.dashboard.live import SeenOf, StreamsOf, digest_of, may_read
from tocsin.dashboard.places import ReadsDeliveries, WritesDeliveries
from tocsin.dashboard.routes import page_router
from tocsin.dashboard.visit import Visit, VisitOf
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.explain import Explained
from tocsin.model import App, Attempt, Delivery, DeliveryState
from tocsin.verbs import Verbs

DONE = frozenset({"replayed", "cancelled"})
SHOWN_BODY = 30_000
"""So many characters of what is sent stand on the page."""

router = page_router()

DeliveryId = Annotated[str, Path(max_length=100)]


@router.get("/apps/{app}/deliveries/{delivery_id}")
async def show_delivery(
    delivery_id: DeliveryId, access: ReadsDeliveries, visit: VisitOf, verbs: VerbsOf, done: str = ""
) -> Response:
    return await _show(visit, verbs, access, delivery_id, done=done if done in DONE else "")


@router.get("/apps/{app}/deliveries/{delivery_id}/live")
async def follow_delivery(
    delivery_id: DeliveryId, access: ReadsDeliveries, visit: VisitOf, verbs: VerbsOf, streams: StreamsOf, seen: SeenOf
) -> Response:
    """Tells when the delivery's page is another."""
    await verbs.history.get_delivery(access.app, delivery_id)

    async def look() -> str:
        return _digest(*await verbs.history.get_delivery(access.app, delivery_id))

    return streams.follow(visit, look, may_read(verbs, access.app, Right.DELIVERIES_READ), seen=seen)


@router.get("/apps/{app}/deliveries/{delivery_id}/replay")
async def ask_to_replay(
    delivery_id: DeliveryId, access: WritesDeliveries, visit: VisitOf, verbs: VerbsOf, to: str = ""
) -> Response:
    return await _ask_to_replay(visit, verbs, access, delivery_id, to=to)


@router.post("/apps/{app}/deliveries/{delivery_id}/replay")
async def replay(delivery_id: DeliveryId, access: WritesDeliveries, visit: VisitOf, verbs: VerbsOf) -> Response:
    to = visit.form.get("target", "")
    try:
        made = await verbs.history.replay(access.app, delivery_id, to=to or None)
    except (Conflict, InvalidInput) as error:
        problem = visit.words.sentence(
            error.message if isinstance(error, Conflict) else "is not a notifier of this app"
        )
        return await _ask_to_replay(visit, verbs, access, delivery_id, to=to, problem=problem)
    return visit.go(f"/apps/{access.app.name}/deliveries/{made.id}?done=replayed")


@router.get("/apps/{app}/deliveries/{delivery_id}/cancel")
async def ask_to_cancel(delivery_id: DeliveryId, access: WritesDeliveries, visit: VisitOf, verbs: VerbsOf) -> Response:
    return await _ask_to_cancel(visit, verbs, access, delivery_id)


@router.post("/apps/{app}/deliveries/{delivery_id}/cancel")
async def cancel(delivery_id: DeliveryId, access: WritesDeliveries, visit: VisitOf, verbs: VerbsOf) -> Response:
    try:
        await verbs.history.cancel(access.app, delivery_id)
    except Conflict as error:
        return await _ask_to_cancel(visit, verbs, access, delivery_id, problem=visit.words.sentence(error.message))
    return visit.go(f"/apps/{access.app.name}/deliveries/{delivery_id}?done=cancelled")


async def _show(visit: Visit, verbs: Verbs, access: Access, delivery_id: str, *, done: str) -> Response:
    delivery, attempts = await verbs.history.get_delivery(access.app, delivery_id)
    explained = await _explain(verbs, access.app, delivery)
    is_newest = explained is not None and explained.delivery is not None and explained.delivery.id == delivery.id
    details = explained.details if explained is not None and is_newest else None
    notifiers = await verbs.notifiers.list(access.app)
    other = next((notifier.id for notifier in notifiers if notifier.id != delivery.notifier_id), None)
    address = f"/apps/{access.app.name}/deliveries/{delivery.id}"
    return visit.show(
        "deliveries/delivery.html",
        access=access,
        delivery=delivery,
        title=(await titles_of(verbs, access.app, [delivery])).get(delivery.event_id),
        attempts=attempts,
        explained=explained,
        details=details,
        shown_body=SHOWN_BODY,
        others=[] if explained is None or explained.details is None else explained.details.deliveries,
        is_there=any(notifier.id == delivery.notifier_id for notifier in notifiers),
        to_another=None if other is None else f"{address}/replay?to={other}",
        may_act=access.may(Right.DELIVERIES_WRITE),
        is_pending=delivery.state is DeliveryState.PENDING,
        done=done,
        stream=f"{address}/live",
        digest=_digest(delivery, attempts),
    )


async def _explain(verbs: Verbs, app: App, delivery: Delivery) -> Explained | None:
    """None when the event is no longer kept, or the notifier is none that is told of."""
    try:
        explanation = await verbs.explain.stored(app, delivery.event_id, delivery.notifier_id, limit=1, offset=0)
    except NotFound:
        return None
    return explanation.notifiers[0]


async def _ask_to_replay(
    visit: Visit, verbs: Verbs, access: Access, delivery_id: str, *, to: str, problem: str | None = None
) -> Response:
    delivery, _ = await verbs.history.get_delivery(access.app, delivery_id)
    notifiers = await verbs.notifiers.list(access.app)
    known = {notifier.id for notifier in notifiers}
    return visit.show(
        "deliveries/replay.html",
        status=422 if problem else 200,
        access=access,
        delivery=delivery,
        notifiers=notifiers,
        to=to if to in known else delivery.notifier_id,
        problem_found=problem,
    )


async def _ask_to_cancel(
    visit: Visit, verbs: Verbs, access: Access, delivery_id: str, *, problem: str | None = None
) -> Response:
    delivery, _ = await verbs.history.get_delivery(access.app, delivery_id)
    return visit.show(
        "deliveries/cancel.html",
        status=422 if problem else 200,
        access=access,
        delivery=delivery,
        is_pending=delivery.state is DeliveryState.PENDING,
        problem_found=problem,
    )


def _digest(delivery: Delivery, attempts: list[Attempt]) -> str:
    shown: tuple[Any, ...] = (delivery.state, delivery.reason, delivery.attempt_count, delivery.next_attempt_at)
    return digest_of((*shown, len(attempts)))
