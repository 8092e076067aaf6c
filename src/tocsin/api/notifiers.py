"""Notifiers of an app."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, FiniteFloat

from tocsin.access import Right
from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import (
    CurrentAccess,
    CurrentPrincipal,
    CurrentUser,
    ReadsNotifiers,
    ReadsSecrets,
    TestsNotifiers,
    VerbsOf,
    WritesNotifiers,
)
from tocsin.api.deliveries import DeliveryDetails, DeliveryDetailsAnswer
from tocsin.api.instants import InstantIn, InstantOut
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.model import App, Notifier, NotifierState
from tocsin.notifier_rules import NotifierWish
from tocsin.platforms.base import SettingKind
from tocsin.platforms.settings import mask_settings
from tocsin.platforms.signing import Algorithm
from tocsin.verbs import Verbs

router = APIRouter(prefix="/v1/apps/{app}/notifiers", tags=["Notifiers"])

NotifierRef = Annotated[
    str, Path(description="The notifier's id.", examples=["no-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70"])
]

EXAMPLE = {
    "platform_id": "5982f145d48c3600273ef08a",
    "name": "My custom webhook",
    "active": True,
    "send_all_events": True,
    "type_data": {"webhook_url": "https://example.com/hooks/tocsin"},
}


class NotifierIn(Sent):
    """A notifier to add or to change: what is not given takes its default, or stays.

    A `type_data` that is not empty replaces the whole. `selected_events`, names of event types, is the older way to
    say `selected_event_ids`, which wins. `rate_per_second` bounds the attempts, `retry_schedule` has the seconds before
    each, `expires_after` the seconds until a delivery is given up; 0 or an empty list asks for the platform's own.
    """

    platform_id: str | None = None
    type: str | None = None
    name: str | None = None
    active: bool | None = None
    send_all_alerts: bool | None = None
    send_all_events: bool | None = None
    selected_event_ids: list[str] | None = None
    selected_events: list[str] | None = None
    type_data: dict[str, Any] | None = None
    rate_per_second: FiniteFloat | None = None
    retry_schedule: list[FiniteFloat] | None = None
    expires_after: int | None = None


class PauseIn(Sent):
    """Until when deliveries are held; without it, until `resume`."""

    until: InstantIn | None = None


class RotateIn(Sent):
    """How to rotate: without `algorithm` it stays what it is. The present secret is good for 24 more hours, unless
    `revoke_now`.
    """

    algorithm: Algorithm | None = None
    revoke_now: bool = False


class NotifierOut(BaseModel):
    """`state`, `state_reason` and `held_until` tell how deliveries fare; `active` is the owner's switch.

    Of `rate_per_second`, `retry_schedule` and `expires_after`, null is the platform's own.
    """

    id: str
    app_id: str
    app: str
    name: str
    type: str
    platform_id: str
    active: bool
    state: NotifierState
    state_reason: str | None
    held_until: InstantOut | None
    failing_since: InstantOut | None
    send_all_alerts: bool
    send_all_events: bool
    selected_event_ids: list[str]
    type_data: dict[str, Any]
    rate_per_second: float | None
    retry_schedule: list[float] | None
    expires_after: int | None
    created_at: InstantOut
    updated_at: InstantOut

    @classmethod
    def of(cls, app: App, notifier: Notifier, verbs: Verbs, *, is_whole: bool = True) -> "NotifierOut":
        """As it is shown; its settings are masked unless `is_whole`, which is for those who may write it."""
        platform = verbs.notifiers.platforms[notifier.platform]
        settings = notifier.type_data if is_whole else mask_settings(platform, notifier.type_data)
        # Clients expect every list of a platform, as in the document's example of an e-mail notifier.
        lists: dict[str, Any] = {one.name: [] for one in platform.settings if one.kind is not SettingKind.URL}
        return cls(
            id=notifier.id,
            app_id=app.id,
            app=app.name,
            name=notifier.name,
            type=notifier.platform,
            platform_id=platform.id,
            active=notifier.active,
            state=notifier.state,
            state_reason=notifier.state_reason,
            held_until=notifier.held_until,
            failing_since=notifier.failing_since,
            send_all_alerts=notifier.send_all_alerts,
            send_all_events=notifier.send_all_events,
            selected_event_ids=list(notifier.selected_event_ids),
            type_data=lists | settings,
            rate_per_second=notifier.rate_per_second,
            retry_schedule=None if notifier.retry_schedule is None else list(notifier.retry_schedule),
            expires_after=notifier.expires_after,
            created_at=notifier.created_at,
            updated_at=notifier.updated_at,
        )


async def _sees_settings(access: CurrentAccess, principal: CurrentPrincipal) -> bool:
    """Whether who asks may write notifiers, and so is given their settings whole."""
    return access.may(Right.NOTIFIERS_WRITE) and principal.carries(Right.NOTIFIERS_WRITE)


SeesSettings = Annotated[bool, Depends(_sees_settings)]


class NotifierAnswer(BaseModel):
    notifier: NotifierOut


class NotifiersAnswer(BaseModel):
    notifiers: list[NotifierOut]


class RotatedAnswer(BaseModel):
    """What to verify the `webhook-signature` header with, as Standard Webhooks libraries take it.

    With `hmac-sha256` that is the secret, `whsec_...`; with `ed25519` the public key, `whpk_...`. Until
    `previous_until` messages carry a signature with the one before as well.
    """

    secret: str
    algorithm: Algorithm
    previous_until: InstantOut | None


class SecretAnswer(RotatedAnswer):
    """What to verify with, and `previous_secret`, which was verified with before, as long as it is good."""

    previous_secret: str | None


@router.get("", operation_id="list_notifiers", summary="List the notifiers of an app", responses=answers(*IN_APP))
async def list_notifiers(app: ReadsNotifiers, is_whole: SeesSettings, verbs: VerbsOf) -> NotifiersAnswer:
    found = await verbs.notifiers.list(app)
    return NotifiersAnswer(notifiers=[NotifierOut.of(app, one, verbs, is_whole=is_whole) for one in found])


@router.post(
    "",
    operation_id="add_notifier",
    summary="Add a notifier",
    status_code=201,
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(NotifierIn, "notifier", example=EXAMPLE),
)
async def add_notifier(app: WritesNotifiers, user: CurrentUser, verbs: VerbsOf, request: Request) -> NotifierAnswer:
    wish = await _read_wish(request)
    return _answer(app, await verbs.notifiers.add(app, user, wish), verbs)


@router.get("/{notifier}", operation_id="get_notifier", summary="Show a notifier", responses=answers(*IN_APP))
async def get_notifier(
    app: ReadsNotifiers, notifier: NotifierRef, is_whole: SeesSettings, verbs: VerbsOf
) -> NotifierAnswer:
    found = await verbs.notifiers.get(app, notifier)
    return NotifierAnswer(notifier=NotifierOut.of(app, found, verbs, is_whole=is_whole))


@router.patch(
    "/{notifier}",
    operation_id="edit_notifier",
    summary="Change a notifier",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(NotifierIn, "notifier", example={"active": False}),
)
@router.put(
    "/{notifier}",
    operation_id="edit_notifier_by_put",
    summary="Change a notifier: the same as PATCH",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(NotifierIn, "notifier", example={"active": False}),
)
async def edit_notifier(
    app: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, verbs: VerbsOf, request: Request
) -> NotifierAnswer:
    wish = await _read_wish(request)
    return _answer(app, await verbs.notifiers.edit(app, user, notifier, wish), verbs)


@router.delete(
    "/{notifier}",
    operation_id="remove_notifier",
    summary="Remove a notifier; what waits for it is cancelled, and alert rules no longer name it",
    status_code=204,
    responses=answers(*IN_APP),
)
async def remove_notifier(app: WritesNotifiers, notifier: NotifierRef, user: CurrentUser, verbs: VerbsOf) -> None:
    await verbs.notifiers.remove(app, user, notifier)


@router.post(
    "/{notifier}/test",
    operation_id="test_notifier",
    summary="Send a made-up deployment event at once, once, whatever the notifier's state; nothing of it is kept",
    responses=answers(*IN_APP),
)
async def test_notifier(
    app: TestsNotifiers, notifier: NotifierRef, user: CurrentUser, verbs: VerbsOf
) -> DeliveryDetailsAnswer:
    delivery, attempt = await verbs.notifiers.test(app, user, notifier)
    return DeliveryDetailsAnswer(delivery=DeliveryDetails.of(delivery, [attempt]))


@router.post(
    "/{notifier}/pause",
    operation_id="pause_notifier",
    summary="Hold a notifier's deliveries back, to be sent later",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(PauseIn, "pause", required=False, example={"until": "2099-01-02T03:04:05Z"}),
)
async def pause_notifier(
    app: WritesNotifiers, notifier: NotifierRef, verbs: VerbsOf, request: Request
) -> NotifierAnswer:
    pause = await read_body(request, PauseIn, "pause")
    return _answer(app, await verbs.notifiers.pause(app, notifier, until=pause.until), verbs)


@router.post(
    "/{notifier}/resume",
    operation_id="resume_notifier",
    summary="Send what was held back; harmless for a notifier that is not paused",
    responses=answers(*IN_APP, 409),
)
async def resume_notifier(app: WritesNotifiers, notifier: NotifierRef, verbs: VerbsOf) -> NotifierAnswer:
    return _answer(app, await verbs.notifiers.resume(app, notifier), verbs)


@router.get(
    "/{notifier}/secret",
    operation_id="get_secret",
    summary="Show the signing secret of a notifier whose platform signs",
    responses=answers(*IN_APP),
)
async def get_secret(app: ReadsSecrets, notifier: NotifierRef, verbs: VerbsOf) -> SecretAnswer:
    found = await verbs.notifiers.secrets(app, notifier)
    return SecretAnswer(
        secret=found.secret,
        algorithm=found.algorithm,
        previous_secret=found.previous_secret,
        previous_until=found.previous_until,
    )


@router.post(
    "/{notifier}/secret/rotate",
    operation_id="rotate_secret",
    summary="Sign with a new secret from the next attempt on, and for 24 hours with the one before as well",
    responses=answers(*IN_APP, *WITH_BODY, 409),
    openapi_extra=described_body(RotateIn, "rotate", required=False, example={"algorithm": "ed25519"}),
)
async def rotate_secret(app: WritesNotifiers, notifier: NotifierRef, verbs: VerbsOf, request: Request) -> RotatedAnswer:
    wish = await read_body(request, RotateIn, "rotate")
    made = await verbs.notifiers.rotate_secret(app, notifier, algorithm=wish.algorithm, revoke_now=wish.revoke_now)
    # Not the one before: whoever may rotate need not be one who may read secrets.
    return RotatedAnswer(secret=made.secret, algorithm=made.algorithm, previous_until=made.previous_until)


@router.delete(
    "/{notifier}/secret/previous",
    operation_id="revoke_previous_secret",
    summary="Sign no more with the secret before the present one; harmless when there is none",
    status_code=204,
    responses=answers(*IN_APP, 409),
)
async def revoke_previous_secret(app: WritesNotifiers, notifier: NotifierRef, verbs: VerbsOf) -> None:
    await verbs.notifiers.revoke_previous_secret(app, notifier)


async def _read_wish(request: Request) -> NotifierWish:
    sent = await read_body(request, NotifierIn, "notifier")
    return NotifierWish(**sent.model_dump())


def _answer(app: App, notifier: Notifier, verbs: Verbs) -> NotifierAnswer:
    return NotifierAnswer(notifier=NotifierOut.of(app, notifier, verbs))
