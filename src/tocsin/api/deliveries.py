"""Deliveries: what was sent to whom, how each attempt went, and sending again."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import CurrentApp, Meta, Page, VerbsOf, pagination
from tocsin.api.instants import InstantIn, InstantOut
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.errors import InvalidInput
from tocsin.model import Attempt, AttemptOutcome, Delivery, DeliveryReason, DeliveryState, Reason
from tocsin.store.deliveries import DeliveryFilter
from tocsin.store.pages import MAX_COUNT

router = APIRouter(prefix="/v1/apps/{app}", tags=["Deliveries"])

DeliveryRef = Annotated[
    str, Path(description="The delivery's id.", examples=["de-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70"])
]


_DELIVERY_ID = re.compile(r"de-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class DeliveryOut(BaseModel):
    """One event for one notifier."""

    id: str
    app_id: str
    event_id: str
    event_type: str
    notifier_id: str
    notifier_name: str
    platform: str
    state: DeliveryState
    reason: DeliveryReason | None
    attempt_count: int
    next_attempt_at: InstantOut | None
    created_at: InstantOut
    expires_at: InstantOut
    finished_at: InstantOut | None
    replay_of: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryOut":
        return cls(**{name: getattr(delivery, name) for name in cls.model_fields})


class AttemptOut(BaseModel):
    """One try of a delivery; `response_body` holds the first 4 KiB as text."""

    number: int
    started_at: InstantOut
    duration_ms: int | None
    outcome: AttemptOutcome
    reason: Reason | None
    response_status: int | None
    response_body: str | None
    error: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> "AttemptOut":
        return cls(**{name: getattr(attempt, name) for name in cls.model_fields})


class DeliveryDetails(DeliveryOut):
    """A delivery with its attempts, oldest first."""

    attempts: list[AttemptOut]

    @classmethod
    def of(cls, delivery: Delivery, attempts: Sequence[Attempt] = ()) -> "DeliveryDetails":
        made = [AttemptOut.of(attempt) for attempt in attempts]
        return cls(**{name: getattr(delivery, name) for name in DeliveryOut.model_fields}, attempts=made)


class DeliveryAnswer(BaseModel):
    delivery: DeliveryOut


class DeliveryDetailsAnswer(BaseModel):
    delivery: DeliveryDetails


class DeliveriesAnswer(BaseModel):
    deliveries: list[DeliveryOut]
    meta: Meta


class RecoverIn(Sent):
    """Which time is gone over, by when events were received; `dry_run` counts and sends nothing."""

    since: InstantIn
    until: InstantIn | None = None
    dry_run: bool = False


class Recovered(BaseModel):
    count: int


class RecoverAnswer(BaseModel):
    recover: Recovered


def get_filter(
    notifier_id: Annotated[str | None, Query(description="Only those to this notifier.")] = None,
    event_id: Annotated[str | None, Query(description="Only those of this event.")] = None,
    state: Annotated[
        str | None, Query(description="Only those in this state.", json_schema_extra={"enum": list(DeliveryState)})
    ] = None,
    before: Annotated[str | None, Query(description="Only those made before the one with this id.")] = None,
) -> DeliveryFilter:
    if state and state not in list(DeliveryState):
        raise InvalidInput({"state": [f"must be one of {', '.join(DeliveryState)}"]})
    if before and not _DELIVERY_ID.fullmatch(before):
        raise InvalidInput({"before": ["must be the id of a delivery"]})
    return DeliveryFilter(
        notifier_id=notifier_id or None,
        event_id=event_id or None,
        state=DeliveryState(state) if state else None,
        before=before or None,
    )


@router.get(
    "/deliveries",
    operation_id="list_deliveries",
    summary="List deliveries, newest first",
    description=(
        f"`total_count` counts to {MAX_COUNT}, and further only as far as the page leads on. "
        "`before` leads as far as one likes, at the same cost for each page."
    ),
    responses=answers(*IN_APP, 422),
)
async def list_deliveries(
    app: CurrentApp,
    page: Page,
    verbs: VerbsOf,
    only: Annotated[DeliveryFilter, Depends(get_filter)],
) -> DeliveriesAnswer:
    found, total = await verbs.history.list_deliveries(app, only, limit=page.limit, offset=page.offset)
    return DeliveriesAnswer(deliveries=[DeliveryOut.of(delivery) for delivery in found], meta=pagination(page, total))


@router.get(
    "/deliveries/{delivery}",
    operation_id="get_delivery",
    summary="Show a delivery with its attempts",
    responses=answers(*IN_APP),
)
async def get_delivery(app: CurrentApp, delivery: DeliveryRef, verbs: VerbsOf) -> DeliveryDetailsAnswer:
    found, attempts = await verbs.history.get_delivery(app, delivery)
    return DeliveryDetailsAnswer(delivery=DeliveryDetails.of(found, attempts))


@router.post(
    "/deliveries/{delivery}/replay",
    operation_id="replay_delivery",
    summary="Send the same event to the same notifier again, as a new delivery",
    status_code=201,
    responses=answers(*IN_APP, 409),
)
async def replay_delivery(app: CurrentApp, delivery: DeliveryRef, verbs: VerbsOf) -> DeliveryAnswer:
    return DeliveryAnswer(delivery=DeliveryOut.of(await verbs.history.replay(app, delivery)))


@router.post(
    "/notifiers/{notifier}/recover",
    operation_id="recover_notifier",
    summary="Replay what a notifier did not get, of the events received in a time",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(
        RecoverIn,
        "recover",
        example={"since": "2026-01-02T03:04:05Z", "until": "2026-01-03T03:04:05Z", "dry_run": True},
    ),
)
async def recover_notifier(
    app: CurrentApp,
    notifier: Annotated[str, Path(description="The notifier's id.")],
    verbs: VerbsOf,
    request: Request,
) -> RecoverAnswer:
    sent = await read_body(request, RecoverIn, "recover")
    count = await verbs.history.recover(app, notifier, since=sent.since, until=sent.until, is_dry_run=sent.dry_run)
    return RecoverAnswer(recover=Recovered(count=count))
