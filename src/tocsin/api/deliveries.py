"""Deliveries: what was sent to whom, how each attempt went, and sending again."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from annotated_types import MaxLen
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AfterValidator, BaseModel, FiniteFloat, WithJsonSchema

from tocsin.access import Right
from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import (
    CurrentAccess,
    CurrentPrincipal,
    Meta,
    Page,
    ReadsDeliveries,
    VerbsOf,
    WritesDeliveries,
    pagination,
)
from tocsin.api.instants import InstantIn, InstantOut
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.errors import InvalidInput
from tocsin.history import Replayed, ReplayWish
from tocsin.ingest import MAX_TYPE_LENGTH
from tocsin.model import Attempt, AttemptOutcome, Delivery, DeliveryReason, DeliveryState, Reason
from tocsin.notifier_rules import NotifierWish
from tocsin.store.deliveries import UNDELIVERED, DeliveryFilter
from tocsin.store.pages import MAX_COUNT

router = APIRouter(prefix="/v1/apps/{app}", tags=["Deliveries"])

DeliveryRef = Annotated[
    str, Path(description="The delivery's id.", examples=["de-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70"])
]


_DELIVERY_ID = re.compile(r"de-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


_EXAMPLE = {
    "since": "2026-01-02T03:04:05Z",
    "until": "2026-01-03T03:04:05Z",
    "types": ["deployment"],
    "dry_run": True,
}


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


MAX_WORDS = 100
UNDELIVERED_STATES = sorted(UNDELIVERED)
END_STATES = sorted(UNDELIVERED | {DeliveryState.DELIVERED})
END_REASONS = [each for each in DeliveryReason if each not in {DeliveryReason.HELD, DeliveryReason.WAITING_FOR_SETUP}]


def _among(words: Sequence[str]) -> AfterValidator:
    def read(given: str) -> str:
        if given not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return given

    return AfterValidator(read)


def _enum(words: Sequence[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(words)})


EventTypes = Annotated[tuple[Annotated[str, MaxLen(MAX_TYPE_LENGTH)], ...], MaxLen(MAX_WORDS)]
EndReasons = Annotated[tuple[Annotated[str, _among(END_REASONS), _enum(END_REASONS)], ...], MaxLen(MAX_WORDS)]
EndStates = Annotated[tuple[Annotated[str, _among(END_STATES), _enum(END_STATES)], ...], MaxLen(MAX_WORDS)]
UndeliveredStates = Annotated[
    tuple[Annotated[str, _among(UNDELIVERED_STATES), _enum(UNDELIVERED_STATES)], ...], MaxLen(MAX_WORDS)
]


class _Replaying(Sent):
    since: InstantIn
    """Events received from then on."""
    until: InstantIn | None = None
    """Events received before that."""
    types: EventTypes = ()
    """Events of these types alone, such as `deployment`; all when empty."""
    reasons: EndReasons = ()
    """What ended for one of these reasons alone; whatever they are when empty."""
    to: str | None = None
    """Another notifier of the app, that gets it instead: what is on its way to that one, or arrived, is left out."""
    rate_per_second: FiniteFloat | None = None
    """How many are due in a second; 10, and never more than the notifier or its platform takes."""
    dry_run: bool = False
    """Counts and sends nothing."""

    def wish(self, states: Sequence[str]) -> ReplayWish:
        return ReplayWish(
            since=self.since,
            until=self.until,
            types=self.types,
            states=frozenset(map(DeliveryState, states)),
            reasons=frozenset(map(DeliveryReason, self.reasons)),
            to=self.to,
            rate_per_second=self.rate_per_second,
            is_dry_run=self.dry_run,
        )


class RecoverIn(_Replaying):
    """What is recovered, of the events received in a time."""

    states: UndeliveredStates = ()
    """What ended in one of these states; in either when empty."""
    enable: bool = False
    """Whether the notifier is made active before that, as its owner would who knows that its receiver is mended."""


class ReplayManyIn(_Replaying):
    """What is sent again, of the events received in a time."""

    notifier_id: str
    """The notifier whose deliveries are looked at; one that was removed will do when `to` is given."""
    states: EndStates = ()
    """What ended in one of these states; in any when empty."""


class ReplayIn(Sent):
    notifier_id: str | None = None
    """Another notifier of the app, that gets it instead."""


class ReplayedOut(BaseModel):
    """How many are sent again, how fast, and when the last is due: null when there are none."""

    count: int
    rate_per_second: float
    last_attempt_at: InstantOut | None

    @classmethod
    def of(cls, replayed: Replayed) -> "ReplayedOut":
        return cls(**{name: getattr(replayed, name) for name in cls.model_fields})


class RecoverAnswer(BaseModel):
    recover: ReplayedOut


class ReplayAnswer(BaseModel):
    replay: ReplayedOut


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
    app: ReadsDeliveries,
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
async def get_delivery(app: ReadsDeliveries, delivery: DeliveryRef, verbs: VerbsOf) -> DeliveryDetailsAnswer:
    found, attempts = await verbs.history.get_delivery(app, delivery)
    return DeliveryDetailsAnswer(delivery=DeliveryDetails.of(found, attempts))


@router.post(
    "/deliveries/{delivery}/replay",
    operation_id="replay_delivery",
    summary="Send the same event again, to the same notifier or another, as a new delivery",
    status_code=201,
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(ReplayIn, "replay", required=False, example={}),
)
async def replay_delivery(
    app: WritesDeliveries, delivery: DeliveryRef, verbs: VerbsOf, request: Request
) -> DeliveryAnswer:
    sent = await read_body(request, ReplayIn, "replay")
    return DeliveryAnswer(delivery=DeliveryOut.of(await verbs.history.replay(app, delivery, to=sent.notifier_id)))


@router.post(
    "/deliveries/{delivery}/cancel",
    operation_id="cancel_delivery",
    summary="End a delivery that waits for its next attempt",
    description="It ends as `cancelled`, `by_user`. One that is being sent at this moment, or is over, gives 409.",
    responses=answers(*IN_APP, 409),
)
async def cancel_delivery(app: WritesDeliveries, delivery: DeliveryRef, verbs: VerbsOf) -> DeliveryAnswer:
    return DeliveryAnswer(delivery=DeliveryOut.of(await verbs.history.cancel(app, delivery)))


_ORDER = "Of each event the last delivery decides. Replays are due one after the other, the oldest event's first."


@router.post(
    "/deliveries/replay",
    operation_id="send_again",
    summary="Send again what a notifier got or did not get, of the events received in a time",
    description=f"{_ORDER} What is on its way is left out; what arrived goes out anew each time it is asked for.",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(
        ReplayManyIn,
        "replay",
        example=_EXAMPLE | {"notifier_id": "no-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70", "states": ["delivered"]},
    ),
)
async def send_again(app: WritesDeliveries, verbs: VerbsOf, request: Request) -> ReplayAnswer:
    sent = await read_body(request, ReplayManyIn, "replay")
    wish = sent.wish(sent.states or [*UNDELIVERED, DeliveryState.DELIVERED])
    return ReplayAnswer(replay=ReplayedOut.of(await verbs.history.replay_many(app, sent.notifier_id, wish)))


@router.post(
    "/notifiers/{notifier}/recover",
    operation_id="recover_notifier",
    summary="Send again what a notifier did not get, of the events received in a time",
    description=f"{_ORDER} What was recovered, and is on its way or arrived, is left out.",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(RecoverIn, "recover", example=_EXAMPLE),
)
async def recover_notifier(
    app: WritesDeliveries,
    access: CurrentAccess,
    notifier: Annotated[str, Path(description="The notifier's id.")],
    principal: CurrentPrincipal,
    verbs: VerbsOf,
    request: Request,
) -> RecoverAnswer:
    sent = await read_body(request, RecoverIn, "recover")
    if sent.enable:
        principal.require(Right.NOTIFIERS_WRITE)
        access.require(Right.NOTIFIERS_WRITE)
    wish = sent.wish(sent.states or list(UNDELIVERED))
    enable = (
        partial(verbs.notifiers.edit, app, principal.user, notifier, NotifierWish(active=True)) if sent.enable else None
    )
    replayed = await verbs.history.recover(app, notifier, wish, enable=enable)
    return RecoverAnswer(recover=ReplayedOut.of(replayed))
