"""Why an event was sent to a notifier, or was not; also for an event that is only a draft."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from tocsin.api.bodies import read_bytes
from tocsin.api.context import CurrentUser, Meta, Page, PageQuery, ReadsDeliveries, ReadsNotifiers, VerbsOf, pagination
from tocsin.api.deliveries import AttemptOut, DeliveryOut
from tocsin.api.events import EventIn, draft_of, refusal_of
from tocsin.api.events_document import EVENTS_SCHEMAS
from tocsin.api.instants import InstantOut
from tocsin.api.nesting import check_depth
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.api.timeline import EventOut, EventRef
from tocsin.errors import InvalidInput
from tocsin.explain import Details, Explained, Explanation, Planned
from tocsin.explanation import Step, StepName
from tocsin.ingest import Draft
from tocsin.model import NotifierState
from tocsin.preview import ShownMail, ShownRequest
from tocsin.store.known import Known

router = APIRouter(prefix="/v1/apps/{app}", tags=["Events"])

_WHOLE = (
    "With `notifier_id` that one whole, else a page of the app's notifiers, each without what is said to be null there."
)
_ID = "no-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70"


class StepOut(BaseModel):
    """One thing that was looked at, whether it lets the event through, and a sentence about it.

    Of `send_all_events`, `selected_event_ids`, `send_all_alerts` and `alert_rules` one is enough; `event_type` says
    whether the type can be selected at all; `state` and `platform` only delay.
    """

    step: StepName
    passed: bool
    detail: str

    @classmethod
    def of(cls, step: Step) -> "StepOut":
        return cls(step=step.step, passed=step.passed, detail=step.detail)


class NotifierBrief(BaseModel):
    """The notifier as it is now."""

    id: str
    name: str
    platform: str
    active: bool
    state: NotifierState
    state_reason: str | None
    held_until: InstantOut | None
    created_at: InstantOut
    updated_at: InstantOut
    removed_at: InstantOut | None

    @classmethod
    def of(cls, known: Known) -> "NotifierBrief":
        names = [name for name in cls.model_fields if name != "removed_at"]
        return cls(**{name: getattr(known.notifier, name) for name in names}, removed_at=known.removed_at)


class DeliverySeen(DeliveryOut):
    """The newest delivery, with its attempts where one notifier is asked for."""

    attempts: list[AttemptOut] | None


class RequestOut(BaseModel):
    """The request that the platform makes: the URL as scheme and host, signatures and credentials masked."""

    method: str
    url: str
    headers: dict[str, str]
    body: str

    @classmethod
    def of(cls, request: ShownRequest) -> "RequestOut":
        return cls(method=request.method, url=request.url, headers=dict(request.headers), body=request.body)


class MailOut(BaseModel):
    """A mail that goes to each of these addresses by itself; the link to unsubscribe is masked."""

    recipients: list[str]
    subject: str
    text: str

    @classmethod
    def of(cls, mail: ShownMail) -> "MailOut":
        return cls(recipients=list(mail.recipients), subject=mail.subject, text=mail.text)


class PlannedOut(BaseModel):
    """An attempt to come if those before it fail; chance moves it by up to a quarter of its delay."""

    number: int
    due_at: InstantOut

    @classmethod
    def of(cls, planned: Planned) -> "PlannedOut":
        return cls(number=planned.number, due_at=planned.due_at)


class NotifierExplained(BaseModel):
    """One notifier and the event.

    `is_wanted` is what the steps come to; `note` says when something was changed after the event came, for the steps
    know only what is now. `deliveries` has up to 100, replays too, newest first. Of `request`, `mails` and `problem`
    one is given: what would be sent, or why it cannot be made. `schedule` and `expires_at` are those of the newest
    delivery, or of one that were made now. From `deliveries` on all are null unless `notifier_id` is given.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    notifier: NotifierBrief
    is_wanted: bool
    summary: str
    """What came of it, or would, in a sentence."""
    note: str | None
    steps: list[StepOut]
    delivery: DeliverySeen | None
    deliveries: list[DeliveryOut] | None
    request: RequestOut | None
    mails: list[MailOut] | None
    problem: str | None
    schedule: list[PlannedOut] | None
    expires_at: InstantOut | None

    @classmethod
    def of(cls, explained: Explained) -> "NotifierExplained":
        delivery, details = explained.delivery, explained.details
        seen = None
        if delivery is not None:
            attempts = None if details is None else [AttemptOut.of(attempt) for attempt in details.attempts]
            seen = DeliverySeen(**DeliveryOut.of(delivery).__dict__, attempts=attempts)
        return cls(
            notifier=NotifierBrief.of(explained.known),
            is_wanted=explained.is_wanted,
            summary=explained.summary,
            note=explained.note,
            steps=[StepOut.of(step) for step in explained.steps],
            delivery=seen,
            **_whole(details),
        )


def _whole(details: Details | None) -> dict[str, Any]:
    if details is None:
        return dict.fromkeys(("deliveries", "request", "mails", "problem", "schedule", "expires_at"))
    preview = details.preview
    return {
        "deliveries": [DeliveryOut.of(delivery) for delivery in details.deliveries],
        "request": None if preview.request is None else RequestOut.of(preview.request),
        "mails": None if preview.mails is None else [MailOut.of(mail) for mail in preview.mails],
        "problem": preview.problem,
        "schedule": [PlannedOut.of(planned) for planned in details.schedule],
        "expires_at": details.expires_at,
    }


class ExplanationOut(BaseModel):
    event: EventOut
    notifiers: list[NotifierExplained]


class ExplainAnswer(BaseModel):
    explain: ExplanationOut
    meta: Meta


class _ExplainIn(msgspec.Struct, frozen=True, kw_only=True):
    event: EventIn | msgspec.UnsetType = msgspec.UNSET
    notifier_id: str | None = None


class _RequestIn(_ExplainIn, frozen=True, kw_only=True):
    explain: _ExplainIn | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_RequestIn)

_DRAFT = {
    "title": "ExplainInBody",
    "type": "object",
    "required": ["explain"],
    "properties": {
        "explain": {
            "title": "ExplainIn",
            "type": "object",
            "required": ["event"],
            "properties": {
                "event": EVENTS_SCHEMAS["EventIn"]
                | {
                    "title": "EventDraft",
                    "description": "An event as it would be posted; nothing of it is stored.",
                    "properties": EVENTS_SCHEMAS["EventIn"]["properties"]
                    | {"user": EVENTS_SCHEMAS["EventUserIn"] | {"title": "EventDraftUser"}},
                },
                "notifier_id": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "description": "The notifier that is asked about; a page of all of them when it is not given.",
                },
            },
        }
    },
}
_EXAMPLE = {
    "explain": {"event": {"type": "deployment", "type_data": {"status": "success"}}, "notifier_id": _ID},
}


@router.get(
    "/events/{event}/explain",
    operation_id="explain_event",
    summary="Tell why an event was sent to a notifier, or was not, and what came of it",
    description=_WHOLE,
    response_model=ExplainAnswer,
    responses=answers(*IN_APP, 422),
)
async def explain_event(
    app: ReadsDeliveries,
    event: EventRef,
    page: Page,
    verbs: VerbsOf,
    notifier_id: Annotated[
        str | None, Query(description="The notifier that is asked about; it may be removed.", examples=[_ID])
    ] = None,
) -> Response:
    found = await verbs.explain.stored(app, event, notifier_id or None, limit=page.limit, offset=page.offset)
    return _answer(found, page)


@router.post(
    "/explain",
    operation_id="explain_draft",
    summary="Tell which notifiers would get an event, and what would be sent; nothing is stored",
    description=_WHOLE,
    response_model=ExplainAnswer,
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _DRAFT, "example": _EXAMPLE}}}
    },
)
async def explain_draft(
    app: ReadsNotifiers, user: CurrentUser, page: Page, verbs: VerbsOf, request: Request
) -> Response:
    draft, notifier_id = _read(await read_bytes(request))
    found = await verbs.explain.draft(app, user, draft, notifier_id, limit=page.limit, offset=page.offset)
    return _answer(found, page)


def _read(body: bytes) -> tuple[Draft, str | None]:
    """The event and the notifier that a body asks about: read as events are, so that `type_data` stays as it came."""
    try:
        body.decode()
        check_depth(body)
        sent = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refusal_of(error, body, root="explain") from error
    asked = sent if sent.explain is msgspec.UNSET else sent.explain
    if asked.event is msgspec.UNSET:
        raise InvalidInput({"event": ['is required: send {"explain": {"event": {"type": "...", "type_data": {}}}}']})
    if "\0" in (asked.notifier_id or ""):
        raise InvalidInput({"notifier_id": ["must not hold NUL characters"]})
    return draft_of(asked.event, "event."), asked.notifier_id or None


def _answer(found: Explanation, page: PageQuery) -> Response:
    """The event goes out as the bytes that webhooks get."""
    notifiers = b",".join(NotifierExplained.of(each).model_dump_json().encode() for each in found.notifiers)
    meta = pagination(page, found.total).model_dump_json().encode()
    told = b'{"explain":{"event":%b,"notifiers":[%b]},"meta":%b}' % (found.event.body, notifiers, meta)
    return Response(told, media_type="application/json")
