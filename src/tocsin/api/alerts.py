"""Alert rules of an app."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, BeforeValidator, model_validator

from tocsin.alerts import AlertWish
from tocsin.api.bodies import Sent, described_body, read_body
from tocsin.api.context import CurrentUser, ReadsNotifiers, VerbsOf, WritesNotifiers
from tocsin.api.instants import InstantOut
from tocsin.api.problems import IN_APP, WITH_BODY, answers
from tocsin.dates import format_duration
from tocsin.model import Alert

router = APIRouter(prefix="/v1/apps/{app}/alerts", tags=["Alerts"])

AlertRef = Annotated[str, Path(description="The alert's id.", examples=["al-019b7e6a-1c2f-7a40-8d3b-5e9f2c6a1b70"])]

EXAMPLE = {
    "container_type": "web",
    "metric": "cpu",
    "limit": 0.8,
    "duration_before_trigger": 180_000_000_000,
    "remind_every": "5m0s",
}


def _refuse_boolean(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError("must not be true or false")  # noqa: TRY004 - pydantic and our errors speak of values
    return given


Number = Annotated[float, BeforeValidator(_refuse_boolean)]
DurationIn = Annotated[int | float | str, BeforeValidator(_refuse_boolean)]


class AlertIn(Sent):
    """An alert rule to add or to change: what is not given takes its default, or stays.

    Durations are whole nanoseconds or Go's spelling such as `5m30s`; an empty one is none.
    """

    container_type: str | None = None
    metric: str | None = None
    limit: Number | None = None
    disabled: bool | None = None
    send_when_below: bool | None = None
    duration_before_trigger: DurationIn | None = None
    remind_every: DurationIn | None = None
    notifiers: list[str] | None = None
    metadata: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_empty_durations(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        empty = {name: 0 for name in ("duration_before_trigger", "remind_every") if data.get(name) == ""}
        return data | empty


class AlertOut(BaseModel):
    """`duration_before_trigger` is in nanoseconds, `remind_every` a text such as `5m30s` and empty for never."""

    id: str
    app_id: str
    container_type: str
    metric: str
    limit: float
    disabled: bool
    send_when_below: bool
    duration_before_trigger: int
    remind_every: str
    notifiers: list[str]
    metadata: dict[str, Any] | None
    created_at: InstantOut
    updated_at: InstantOut

    @classmethod
    def of(cls, alert: Alert) -> "AlertOut":
        values = {name: getattr(alert, name) for name in cls.model_fields}
        remind_every = format_duration(alert.remind_every) if alert.remind_every else ""
        return cls(**values | {"remind_every": remind_every, "notifiers": list(alert.notifiers)})


class AlertAnswer(BaseModel):
    alert: AlertOut


class AlertsAnswer(BaseModel):
    alerts: list[AlertOut]


@router.get("", operation_id="list_alerts", summary="List the alerts of an app", responses=answers(*IN_APP))
async def list_alerts(app: ReadsNotifiers, verbs: VerbsOf) -> AlertsAnswer:
    return AlertsAnswer(alerts=[AlertOut.of(alert) for alert in await verbs.alerts.list(app)])


@router.post(
    "",
    operation_id="add_alert",
    summary="Add an alert",
    status_code=201,
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(AlertIn, "alert", example=EXAMPLE),
)
async def add_alert(app: WritesNotifiers, user: CurrentUser, verbs: VerbsOf, request: Request) -> AlertAnswer:
    return _answer(await verbs.alerts.add(app, user, await _read_wish(request)))


@router.get("/{alert}", operation_id="get_alert", summary="Show an alert", responses=answers(*IN_APP))
async def get_alert(app: ReadsNotifiers, alert: AlertRef, verbs: VerbsOf) -> AlertAnswer:
    return _answer(await verbs.alerts.get(app, alert))


@router.patch(
    "/{alert}",
    operation_id="edit_alert",
    summary="Change an alert",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(AlertIn, "alert", example={"disabled": True}),
)
@router.put(
    "/{alert}",
    operation_id="edit_alert_by_put",
    summary="Change an alert: the same as PATCH",
    responses=answers(*IN_APP, *WITH_BODY),
    openapi_extra=described_body(AlertIn, "alert", example={"disabled": True}),
)
async def edit_alert(app: WritesNotifiers, alert: AlertRef, verbs: VerbsOf, request: Request) -> AlertAnswer:
    return _answer(await verbs.alerts.edit(app, alert, await _read_wish(request)))


@router.delete(
    "/{alert}",
    operation_id="remove_alert",
    summary="Remove an alert",
    status_code=204,
    responses=answers(*IN_APP),
)
async def remove_alert(app: WritesNotifiers, alert: AlertRef, user: CurrentUser, verbs: VerbsOf) -> None:
    await verbs.alerts.remove(app, user, alert)


async def _read_wish(request: Request) -> AlertWish:
    sent = await read_body(request, AlertIn, "alert")
    return AlertWish(**sent.model_dump())


def _answer(alert: Alert) -> AlertAnswer:
    return AlertAnswer(alert=AlertOut.of(alert))
