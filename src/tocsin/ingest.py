"""Accepting events: checked, given an id, and stored with their deliveries in one transaction.

Stop before: `api.events`, which decodes a request. Stops after: `routing` inside the store's transaction, then
`worker`, which gets the deliveries that were stored already leased.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.dates import format_instant
from tocsin.errors import InvalidInput, TooLarge
from tocsin.ids import new_hex_id
from tocsin.model import App, EventUser, User
from tocsin.routing import ALERT_TYPE
from tocsin.store.events import with_event
from tocsin.store.port import Accepted, AlertFacts, Dispatch, IdempotencyKey, NewEvent, NewEvents, Store

T = TypeVar("T")

MAX_EVENT_BYTES = 256 * 1024
MAX_EVENTS = 1000
MAX_TYPE_LENGTH = 255


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a client reports it. `type_data` is JSON text, passed on as it came."""

    type: str
    type_data: msgspec.Raw
    user: EventUser | None = None
    created_at: datetime | None = None
    dedup_key: str | None = None


class Deliverer(Protocol):
    """The worker, as ingest sees it."""

    def start(self, accepted: Accepted) -> None:
        """Send what was handed over, and look after what waits."""
        ...


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """The event object, in the order of the API's documentation."""

    id: str
    created_at: str
    user: EventUser
    app_id: str
    app_name: str
    type: str
    type_data: msgspec.Raw


class _UserBody(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a user rather than of an app."""

    id: str
    created_at: str
    user: EventUser
    type: str
    type_data: msgspec.Raw


class _AlertData(msgspec.Struct, frozen=True, kw_only=True):
    alert_id: Any = None
    metric: Any = None
    container_type: Any = None
    limit: Any = None
    raw_limit: Any = None
    send_when_below: Any = None


class _AddonData(msgspec.Struct, frozen=True, kw_only=True):
    status: Any = msgspec.UNSET


_ENCODER = msgspec.json.Encoder()
_ALERT = msgspec.json.Decoder(_AlertData)
_ADDON = msgspec.json.Decoder(_AddonData)


class Ingest:
    """Accepts events, of clients and of Tocsin itself."""

    def __init__(self, *, store: Store, clock: Clock, dispatch: Dispatch, deliverer: Deliverer | None) -> None:
        self._store = store
        self._clock = clock
        self._dispatch = dispatch
        self._deliverer = deliverer

    async def accept(
        self, app: App, user: User, drafts: Sequence[Draft], idempotency: IdempotencyKey | None = None
    ) -> Accepted:
        """Store a request's events, all or none; durable when this returns.

        Raises InvalidInput (fields named `events[3].type`, or without the index for a single one), TooLarge, and
        Conflict for an idempotency key that was used with another request.
        """
        if not drafts:
            raise InvalidInput({"events": ["must hold at least one event"]})
        if len(drafts) > MAX_EVENTS:
            raise TooLarge(f"at most {MAX_EVENTS} events in a request")
        now = self._clock.now()
        default_user = EventUser(username=user.username, email=user.email, id=user.id)
        events = []
        for position, draft in enumerate(drafts):
            where = f"events[{position}]." if len(drafts) > 1 else ""
            events.append(_new_event(app, draft, draft.user or default_user, user.id, now, where))
        new = NewEvents(app_id=app.id, events=tuple(events), idempotency=idempotency)
        accepted = await self._store.add_events(new)
        if self._deliverer is not None and (accepted.claims or accepted.waiting):
            self._deliverer.start(accepted)
        return accepted

    def own_event(
        self,
        *,
        event_type: str,
        type_data: Mapping[str, Any],
        user: User,
        app: App | None = None,
    ) -> NewEvent:
        """An event that Tocsin itself reports: of an app, or of a user when there is no app."""
        now = self._clock.now()
        draft = Draft(type=event_type, type_data=msgspec.Raw(_ENCODER.encode(type_data)))
        by = EventUser(username=user.username, email=user.email, id=user.id)
        if app is not None:
            return _new_event(app, draft, by, user.id, now, "")
        event_id = new_hex_id()
        body = _UserBody(
            id=event_id, created_at=format_instant(now), user=by, type=event_type, type_data=draft.type_data
        )
        return NewEvent(
            id=event_id,
            app_id=None,
            user_id=user.id,
            type=event_type,
            body=_ENCODER.encode(body),
            received_at=now,
        )

    async def write(self, change: Callable[[sa.Connection], T], event: NewEvent) -> T:
        """Make a change in the store and report it, in one transaction."""
        return await self._store.write(with_event, change, event, self._dispatch)


def hash_request(body: bytes) -> bytes:
    """What an idempotency key remembers of a request."""
    return hashlib.sha256(body).digest()


def _new_event(app: App, draft: Draft, by: EventUser, user_id: str, now: datetime, where: str) -> NewEvent:
    _check(draft, where)
    event_id = new_hex_id()
    body = _ENCODER.encode(
        _Body(
            id=event_id,
            created_at=format_instant(draft.created_at or now),
            user=by,
            app_id=app.id,
            app_name=app.name,
            type=draft.type,
            type_data=draft.type_data,
        )
    )
    if len(body) > MAX_EVENT_BYTES:
        raise TooLarge(f"{where}event is larger than {MAX_EVENT_BYTES // 1024} KiB")
    return NewEvent(
        id=event_id,
        app_id=app.id,
        user_id=user_id,
        type=draft.type,
        body=body,
        received_at=now,
        dedup_key=draft.dedup_key,
        alert=_alert_facts(draft.type_data) if draft.type == ALERT_TYPE else None,
    )


def _check(draft: Draft, where: str) -> None:
    """Refuse what no client could show, and the few shapes that are known to crash existing ones."""
    if not draft.type or len(draft.type) > MAX_TYPE_LENGTH or not draft.type.isprintable():
        raise InvalidInput({f"{where}type": [f"must be 1 to {MAX_TYPE_LENGTH} printable characters"]})
    if not bytes(draft.type_data).startswith(b"{"):
        raise InvalidInput({f"{where}type_data": ["must be an object"]})
    if draft.type == "addon_updated":
        # The command line client indexes both entries of this list and crashes when they are missing.
        status = _ADDON.decode(draft.type_data).status
        if status is not msgspec.UNSET and not (isinstance(status, list) and len(status) >= 2):
            raise InvalidInput({f"{where}type_data.status": ["must list the status before and after"]})
        if status is msgspec.UNSET:
            raise InvalidInput({f"{where}type_data.status": ["is required: the status before and after"]})


def _alert_facts(type_data: msgspec.Raw) -> AlertFacts:
    data = _ALERT.decode(type_data)
    limits = (limit for limit in (data.raw_limit, data.limit) if isinstance(limit, int | float))
    return AlertFacts(
        alert_id=data.alert_id if isinstance(data.alert_id, str) else None,
        metric=data.metric if isinstance(data.metric, str) else None,
        container_type=data.container_type if isinstance(data.container_type, str) else None,
        limits=tuple(float(limit) for limit in limits),
        send_when_below=data.send_when_below if isinstance(data.send_when_below, bool) else None,
    )
