"""The one door to the database: what a store offers, and the values that go through it.

Plain verbs (`store.users`, `store.apps`, ...) are functions over a SQLAlchemy connection, shared by every database
and run by `read` and `write`. The hot ones (add_events, claim, settle) are methods, written for each driver.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.model import Alert, Attempt, DeliveryReason, DeliveryState, Notifier
from tocsin.routing import AlertFacts, Router

P = ParamSpec("P")
T = TypeVar("T")
Verb = Callable[Concatenate[sa.Connection, P], T]

AnyVerb = TypeVar("AnyVerb", bound=Callable[..., object])


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """How a plain write gets on with the rest.

    `takes_turn`: it was thought out for a database with one writer, so that such writes run one at a time, across all
    processes. `brings_work`: there may be something to deliver, or to look after, when it is done. `changes_nouns`:
    what processes remember (users, apps, notifiers) may be another after it.
    """

    takes_turn: bool = True
    brings_work: bool = True
    changes_nouns: bool = True


_ORDINARY = Conduct()


def conducts(conduct: Conduct) -> Callable[[AnyVerb], AnyVerb]:
    """Mark a plain verb that does not conduct itself as the others do."""

    def mark(verb: AnyVerb) -> AnyVerb:
        verb.conduct = conduct  # type: ignore[attr-defined]  # functions take attributes
        return verb

    return mark


def conduct_of(verb: Callable[..., object]) -> Conduct:
    found: Conduct = getattr(verb, "conduct", _ORDINARY)
    return found


Wake = Callable[[frozenset[str] | None], None]
"""Told the notifiers for which deliveries may be due now; None when anything may have changed."""

INLINE_FANOUT = 200
"""Deliveries made inside the ingest transaction; an event with more notifiers records the duty to make them."""


class NewEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event to store. `dedup_key` makes a second one with the same key answer with the first (CloudEvents).

    `about` is the notifier whose life it tells of.
    """

    id: str
    app_id: str | None
    user_id: str | None
    type: str
    body: bytes
    received_at: datetime
    dedup_key: str | None = None
    alert: AlertFacts | None = None
    about: str | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    key: str
    request_hash: bytes


class NewEvents(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The events of one request, stored all or none."""

    app_id: str
    events: tuple[NewEvent, ...]
    idempotency: IdempotencyKey | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The right to make one attempt, until the lease ends. `attempt` counts from 1."""

    delivery_id: str
    app_id: str
    event_id: str
    event_type: str
    attempt: int
    lease_token: str
    claimed_at: datetime
    expires_at: datetime
    notifier: Notifier
    body: bytes


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The stored events' bodies in the order they came, and what their storing left to do.

    `claims` were handed over already leased; `waiting` names notifiers whose deliveries are due and unclaimed;
    `has_fanout` says that deliveries are still to be made.
    """

    bodies: tuple[bytes, ...]
    is_replay: bool = False
    claims: tuple[Claim, ...] = ()
    waiting: frozenset[str] = frozenset()
    has_fanout: bool = False


class Settlement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an attempt ended and what becomes of its delivery."""

    delivery_id: str
    lease_token: str
    attempt: Attempt
    state: DeliveryState
    reason: DeliveryReason | None = None
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """Claims, and for each notifier asked for that gave fewer than asked, when its next delivery is due."""

    claims: tuple[Claim, ...]
    next_due: Mapping[str, datetime | None]


class AppRoutes(msgspec.Struct, frozen=True, dict=True):
    """What routing needs to know of an app: its notifiers and alert rules, oldest first."""

    notifiers: tuple[Notifier, ...]
    alerts: tuple[Alert, ...]

    @cached_property
    def router(self) -> Router:
        """Remembered as long as this is: used on the writer's thread alone, or on the event loop alone."""
        return Router(self.notifiers)


class Dispatch(Protocol):
    """What the store asks while it stores an event; called inside the transaction, on the writer's thread."""

    def route(self, event: NewEvent, routes: AppRoutes) -> Sequence[Notifier]:
        """The notifiers that get this event."""
        ...

    def expires_at(self, event: NewEvent, notifier: Notifier) -> datetime:
        """When an undelivered delivery is given up."""
        ...

    def may_send(self, notifier: Notifier) -> bool:
        """Whether deliveries of this notifier can be sent by this process at all."""
        ...

    def take_slot(self, notifier: Notifier) -> bool:
        """Reserve one attempt for a delivery of this notifier, so that it is stored already leased."""
        ...

    def give_back_slot(self, notifier_id: str) -> None:
        """Undo `take_slot`: the transaction did not commit."""
        ...

    def lease_until(self, claimed_at: datetime) -> datetime: ...


class Store(Protocol):
    """A database, open. Every awaited method raises StoreError while the database cannot answer."""

    @property
    def place(self) -> str:
        """Where it is, for logs; without secrets."""
        ...

    async def read(self, verb: Verb[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain verb on a connection that cannot write."""
        ...

    async def write(self, verb: Verb[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a plain verb in a transaction: durable when this returns, undone when it raises."""
        ...

    def add_events(self, new: NewEvents, answer: Callable[[Accepted | Exception], None]) -> None:
        """Store the events of a request with their deliveries and idempotency row, durably, all or none.

        `answer` gets, never before this returns, what was stored, or Conflict when the idempotency key was used with
        another request, or the StoreError.
        """
        ...

    @property
    def claim_pace_seconds(self) -> float:
        """How far apart a worker's claims best begin: what has become due and free meanwhile is claimed in one go."""
        ...

    def share(self) -> tuple[int, int]:
        """How many workers there are, and which of them, from 0, this one is. Who asks is one from then on."""
        ...

    async def claim(self, slots: Mapping[str, int]) -> Claimed:
        """Lease due deliveries, at most as many for each notifier as given. Their attempt is counted by this."""
        ...

    def settle(self, settlement: Settlement, answer: Callable[[bool | Exception], None]) -> None:
        """Record an attempt and move its delivery on.

        `answer` gets, never before this returns: True once it is durable, False when the lease was lost and nothing
        moved, or the StoreError.

        May be repeated: what was recorded already is answered with True.
        """
        ...

    async def prune(self, *, finished_before: datetime, keys_before: datetime) -> None:
        """Remove what is older, in short transactions: what is over with its events, and idempotency keys."""
        ...

    def on_change_elsewhere(self, forget: Callable[[], None]) -> None:
        """Call `forget` (on the event loop) when another process has changed something that may be remembered here."""
        ...

    async def check_durability(self) -> str | None:
        """What keeps commits from surviving a power cut, or None."""
        ...

    async def check_room(self) -> str | None:
        """Why no events are stored although the database can write, or None. It may be a second old."""
        ...

    def on_wake(self, wake: Wake) -> None:
        """Call `wake` (on the event loop) when work may have come: after each plain write, each recorded fan-out."""
        ...

    async def close(self) -> None:
        """Carry out what was asked for before, and then no more."""
        ...
