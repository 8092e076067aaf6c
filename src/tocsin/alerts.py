"""Alert rules of an app: which metric over which limit is told to which notifiers. Measuring is done by the sender."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.audit import Action, Note
from tocsin.catalogue import Catalogue
from tocsin.clock import Clock
from tocsin.dates import parse_duration
from tocsin.errors import InvalidInput, NotFound
from tocsin.ids import new_uuid7
from tocsin.ingest import Ingest
from tocsin.model import Alert, App, User
from tocsin.notifier_rules import is_printable
from tocsin.store import alerts as verbs
from tocsin.store.audit import with_note
from tocsin.store.port import Store

MAX_CONTAINER_TYPE_LENGTH = 255
MAX_METADATA_BYTES = 16 * 1024
_MAX_NANOSECONDS = (1 << 63) - 1

Duration = int | float | str
"""Nanoseconds as a whole number, or Go's spelling such as `5m30s`."""


class AlertWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks of an alert rule; None is not given."""

    container_type: str | None = None
    metric: str | None = None
    limit: float | None = None
    disabled: bool | None = None
    send_when_below: bool | None = None
    duration_before_trigger: Duration | None = None
    remind_every: Duration | None = None
    notifiers: Sequence[str] | None = None
    metadata: Mapping[str, Any] | None = None


class Alerts:
    def __init__(self, *, store: Store, clock: Clock, ingest: Ingest, catalogue: Catalogue) -> None:
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._metrics = {metric.id: metric for metric in catalogue.alert_metrics}

    async def list(self, app: App) -> list[Alert]:
        """The alert rules of an app, oldest first."""
        return await self._store.read(verbs.list_alerts, app.id)

    async def get(self, app: App, alert_id: str) -> Alert:
        return _found(await self._store.read(verbs.find_alert, app.id, alert_id))

    async def add(self, app: App, user: User, wish: AlertWish) -> Alert:
        given = self._given(wish)
        missing = [name for name in ("container_type", "metric", "limit") if name not in given]
        if missing:
            raise InvalidInput({name: ["is required"] for name in missing})
        now = self._clock.now()
        alert = Alert(id=new_uuid7("al"), app_id=app.id, created_at=now, updated_at=now, **given)
        told = {
            "alert_id": alert.id,
            "container_type": alert.container_type,
            "metric": alert.metric,
            "limit": alert.limit,
            "limit_text": self._limit_text(alert),
            "send_when_below": alert.send_when_below,
        }
        event = self._ingest.own_event(event_type="new_alert", type_data=told, user=user, app=app)
        await self._ingest.write(partial(_add, alert=alert), event, self._note(Action.ALERT_ADDED, alert))
        return alert

    async def edit(self, app: App, alert_id: str, wish: AlertWish) -> Alert:
        """Change what is given; the catalogue knows no event that tells of it."""
        given = self._given(wish) | {"updated_at": self._clock.now()}
        before = await self.get(app, alert_id)
        change = partial(_edit, app_id=app.id, alert_id=alert_id, given=given)
        return await self._store.write(with_note(change, self._note(Action.ALERT_CHANGED, before, sorted(given))))

    async def remove(self, app: App, user: User, alert_id: str) -> None:
        alert = await self.get(app, alert_id)
        told = {"alert_id": alert.id, "container_type": alert.container_type, "metric": alert.metric}
        event = self._ingest.own_event(event_type="delete_alert", type_data=told, user=user, app=app)
        change = partial(verbs.remove_alert, app_id=app.id, alert_id=alert_id)
        await self._ingest.write(change, event, self._note(Action.ALERT_REMOVED, alert))

    def _note(self, action: Action, alert: Alert, fields: Sequence[str] = ()) -> Note:
        details: dict[str, Any] = {"metric": alert.metric, "container_type": alert.container_type}
        if fields:
            details["fields"] = [name for name in fields if name != "updated_at"]
        return Note(action=action, at=self._clock.now(), app_id=alert.app_id, object_id=alert.id, details=details)

    def _given(self, wish: AlertWish) -> dict[str, Any]:
        """The fields that are given, as an alert holds them. Raises InvalidInput that names all that are wrong."""
        given: dict[str, Any] = {}
        wrong: dict[str, list[str]] = {}
        readers: dict[str, Callable[[Any], object]] = {
            "container_type": _read_container_type,
            "metric": self._read_metric,
            "limit": _read_limit,
            "duration_before_trigger": read_nanoseconds,
            "remind_every": read_nanoseconds,
            "notifiers": lambda ids: tuple(dict.fromkeys(ids)),
            "metadata": _read_metadata,
        }
        for name in wish.__struct_fields__:
            value = getattr(wish, name)
            if value is None:
                continue
            try:
                given[name] = readers[name](value) if name in readers else value
            except ValueError as error:
                wrong[name] = [str(error)]
        if wrong:
            raise InvalidInput(wrong)
        return given

    def _read_metric(self, name: str) -> str:
        # The command line client's help once spells it rpm-per-container.
        metric = name if name in self._metrics else name.replace("-", "_")
        if metric not in self._metrics:
            raise ValueError(f"must be one of {', '.join(self._metrics)}")
        return metric

    def _limit_text(self, alert: Alert) -> str:
        match self._metrics[alert.metric].unit:
            case "ratio":
                return f"{alert.limit * 100:.15g}%"
            case "ms":
                return f"{alert.limit:.15g} ms"
            case "rpm":
                return f"{alert.limit:.15g} rpm"
            case _:
                return f"{alert.limit:.15g}"


def read_nanoseconds(given: Duration) -> int:
    """A duration as a whole number of nanoseconds. Raises ValueError."""
    if isinstance(given, str):
        return parse_duration(given)
    if isinstance(given, float) and not given.is_integer():
        raise ValueError("must be a duration such as 5m30s, or a whole number of nanoseconds")
    if not 0 <= given <= _MAX_NANOSECONDS:
        raise ValueError("must lie between 0 and 292 years")
    return int(given)


def _read_container_type(text: str) -> str:
    if not is_printable(text, MAX_CONTAINER_TYPE_LENGTH):
        raise ValueError(f"must be 1 to {MAX_CONTAINER_TYPE_LENGTH} printable characters")
    return text


def _read_limit(limit: float) -> float:
    if not isfinite(limit):
        raise ValueError("must be a finite number")
    return float(limit)


def _read_metadata(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    if len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        raise ValueError(f"must not be larger than {MAX_METADATA_BYTES // 1024} KiB")
    return dict(metadata) or None


def _found(alert: Alert | None) -> Alert:
    if alert is None:
        raise NotFound("alert")
    return alert


# What follows runs inside a transaction, so that a notifier cannot be removed while a rule comes to name it.


def _add(connection: sa.Connection, alert: Alert) -> None:
    _check_notifiers(connection, alert)
    verbs.add_alert(connection, alert)


def _edit(connection: sa.Connection, app_id: str, alert_id: str, given: Mapping[str, Any]) -> Alert:
    alert = msgspec.structs.replace(_found(verbs.find_alert_to_change(connection, app_id, alert_id)), **given)
    if "notifiers" in given:
        _check_notifiers(connection, alert)
    verbs.edit_alert(connection, alert)
    return alert


def _check_notifiers(connection: sa.Connection, alert: Alert) -> None:
    foreign = verbs.list_foreign_notifiers(connection, alert.app_id, alert.notifiers)
    if foreign:
        shown = ", ".join(ascii(each)[:80] for each in foreign[:5])
        raise InvalidInput({"notifiers": [f"has no notifier of this app: {shown}"]})
