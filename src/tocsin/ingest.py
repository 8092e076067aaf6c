"""Accepting events: checked, given an id, and stored with their deliveries in one transaction.

Stop before: `api.events`, which decodes a request. Stops after: `routing` inside the store's transaction, then
`worker`, which gets the deliveries that were stored already leased.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.audit import Note
from tocsin.clock import Clock
from tocsin.dates import format_instant
from tocsin.errors import InvalidInput, Overloaded, TooLarge
from tocsin.ids import new_hex_id
from tocsin.model import App, EventUser, User
from tocsin.routing import ALERT_TYPE, AlertFacts
from tocsin.store.audit import with_note
from tocsin.store.events import with_event
from tocsin.store.port import Accepted, Dispatch, IdempotencyKey, NewEvent, NewEvents, Store
from tocsin.waiters import fill

T = TypeVar("T")

MAX_EVENT_BYTES = 256 * 1024
MAX_EVENTS = 1000
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Events that wait for the database in this process; beyond that it is better to let senders wait."""

MAX_TYPE_LENGTH = 255


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as a client reports it. `type_data` is JSON text, passed on as it came.

    `where` stands before the fields that are named as wrong, such as `events[3].`.
    """

    type: str
    type_data: msgspec.Raw
    user: EventUser | None = None
    created_at: datetime | None = None
    dedup_key: str | None = None
    where: str = ""


class Deliverer(Protocol):
    """The worker, as ingest sees it."""

    def start(self, accepted: Accepted) -> None:
        """Send what was handed over, and look after what waits."""
        ...


class _Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
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


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


class Ingest:
    """Accepts events, of clients and of Tocsin itself."""

    def __init__(self, *, store: Store, clock: Clock, dispatch: Dispatch, deliverer: Deliverer | None) -> None:
        self._store = store
        self._clock = clock
        self._dispatch = dispatch
        self._deliverer = deliverer
        self._pending_bytes = 0

    async def accept(
        self, app: App, user: User, drafts: Sequence[Draft], idempotency: IdempotencyKey | None = None
    ) -> Accepted:
        """Store a request's events, all or none; durable when this returns.

        Raises InvalidInput, TooLarge, and Conflict for an idempotency key that was used with another request.
        """
        waiter: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self.begin(app, user, drafts, idempotency, partial(fill, waiter))
        return await waiter

    def begin(
        self,
        app: App,
        user: User,
        drafts: Sequence[Draft],
        idempotency: IdempotencyKey | None,
        answer: Callable[[Accepted | Exception], None],
    ) -> None:
        """As `accept`, for whoever has no task to wait in: `answer` gets what came of it, never before this returns.

        Raises what is known at once, and Overloaded while the database is far behind.
        """
        if self._pending_bytes > MAX_PENDING_BYTES:
            raise Overloaded("the database is behind with storing events; try again in a moment")
        if not drafts:
            raise InvalidInput({"events": ["must hold at least one event"]})
        if len(drafts) > MAX_EVENTS:
            raise TooLarge(f"at most {MAX_EVENTS} events in a request")
        now = self._clock.now()
        default_user = EventUser(username=user.username, email=user.email, id=user.id)
        events = tuple(_new_event(app, draft, draft.user or default_user, user.id, now) for draft in drafts)
        new = NewEvents(app_id=app.id, events=events, idempotency=idempotency)
        pending_bytes = sum([len(event.body) for event in events])
        self._pending_bytes += pending_bytes
        self._store.add_events(new, partial(self._added, answer, pending_bytes))

    def _added(
        self, answer: Callable[[Accepted | Exception], None], pending_bytes: int, result: Accepted | Exception
    ) -> None:
        """See to what the storing left to do, whether or not anybody is still there to be answered."""
        self._pending_bytes -= pending_bytes
        try:
            answer(result)
        finally:
            if self._deliverer is not None and isinstance(result, Accepted) and (result.claims or result.waiting):
                self._deliverer.start(result)

    def preview(self, app: App, user: User, draft: Draft) -> NewEvent:
        """The event that a draft would be stored as; raises what would be refused."""
        by = draft.user or EventUser(username=user.username, email=user.email, id=user.id)
        return _new_event(app, draft, by, user.id, self._clock.now())

    def own_event(
        self,
        *,
        event_type: str,
        type_data: Mapping[str, Any],
        user: User,
        app: App | None = None,
    ) -> NewEvent:
        """As the function `own_event`, now."""
        return own_event(event_type=event_type, type_data=type_data, user=user, app=app, at=self._clock.now())

    async def write(self, change: Callable[[sa.Connection], T], event: NewEvent, note: Note) -> T:
        """Make a change in the store, report it and record it in the audit log, in one transaction."""
        reported = partial(with_event, change=change, event=event, dispatch=self._dispatch)
        return await self._store.write(with_note(reported, note))


def own_event(
    *, event_type: str, type_data: Mapping[str, Any], user: User, app: App | None = None, at: datetime
) -> NewEvent:
    """An event that Tocsin itself reports: of an app, or of a user when there is no app."""
    draft = Draft(type=event_type, type_data=msgspec.Raw(_ENCODER.encode(type_data)))
    by = EventUser(username=user.username, email=user.email, id=user.id)
    if app is not None:
        return _new_event(app, draft, by, user.id, at)
    event_id = new_hex_id()
    body = _UserBody(id=event_id, created_at=format_instant(at), user=by, type=event_type, type_data=draft.type_data)
    return NewEvent(
        id=event_id, app_id=None, user_id=user.id, type=event_type, body=_ENCODER.encode(body), received_at=at
    )


def hash_request(body: bytes) -> bytes:
    """What an idempotency key remembers of a request."""
    return hashlib.sha256(body).digest()


def _new_event(app: App, draft: Draft, by: EventUser, user_id: str, now: datetime) -> NewEvent:
    type_data = _check(draft)
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
        raise TooLarge(f"{draft.where.removesuffix('.') or 'the event'} is larger than {MAX_EVENT_BYTES // 1024} KiB")
    return NewEvent(
        id=event_id,
        app_id=app.id,
        user_id=user_id,
        type=draft.type,
        body=body,
        received_at=now,
        dedup_key=draft.dedup_key,
        alert=alert_facts(type_data) if draft.type == ALERT_TYPE else None,
    )


def _check(draft: Draft) -> dict[str, Any]:
    """What `type_data` holds. Refuses what no platform could show, and what is known to crash existing clients."""
    if not draft.type or len(draft.type) > MAX_TYPE_LENGTH or not draft.type.isprintable():
        raise InvalidInput({f"{draft.where}type": [f"must be 1 to {MAX_TYPE_LENGTH} printable characters"]})
    try:
        # The decoder of the request passes over the numbers in raw JSON.
        type_data = _DECODER.decode(draft.type_data)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidInput({f"{draft.where}type_data": ["holds a number that is out of range"]}) from error
    if not isinstance(type_data, dict):
        raise InvalidInput({f"{draft.where}type_data": ["must be an object"]})
    if draft.type == "addon_updated":
        # The command line client indexes both entries of this list and crashes when they are missing.
        status = type_data.get("status", ())
        if not isinstance(status, list | tuple) or len(status) < 2:
            missing = "is required: the status before and after"
            wrong = "must list the status before and after"
            raise InvalidInput({f"{draft.where}type_data.status": [wrong if "status" in type_data else missing]})
    return type_data


def alert_facts(data: Mapping[str, Any]) -> AlertFacts:
    """What the `type_data` of an alert event says of its rule."""

    def text(name: str) -> str | None:
        value = data.get(name)
        return value if isinstance(value, str) else None

    below = data.get("send_when_below")
    return AlertFacts(
        alert_id=text("alert_id"),
        metric=text("metric"),
        container_type=text("container_type"),
        limits=tuple(figure for name in ("raw_limit", "limit") if (figure := _figure(data.get(name))) is not None),
        send_when_below=below if isinstance(below, bool) else None,
    )


def _figure(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None  # a whole number may have hundreds of digits; no rule has such a limit
