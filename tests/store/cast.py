"""The cast of the store's tests: who owns what, events as they arrive, and a dispatch that does as it is told."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.clock import ManualClock
from tocsin.ids import first_hex_id, new_hex_id, new_uuid7
from tocsin.model import (
    Alert,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Notifier,
    NotifierState,
    Reason,
)
from tocsin.store import notifiers as notifier_verbs
from tocsin.store import schema
from tocsin.store.deliveries import DeliveryFilter, list_attempts, list_deliveries
from tocsin.store.port import Accepted, AppRoutes, Claim, IdempotencyKey, NewEvent, NewEvents, Settlement, Store
from tocsin.waiters import fill

OWNER = "us-owner"
APP = "a" * 24
OTHER_APP = "b" * 24
LEASE = timedelta(seconds=45)
LIFETIME = timedelta(days=7)


def add_events(store: Store, new: NewEvents) -> "asyncio.Future[Accepted]":
    """`Store.add_events` for those who wait."""
    waiter: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
    store.add_events(new, partial(fill, waiter))
    return waiter


class FakeDispatch:
    """Routes to each notifier it is `given` that takes events; hands over while `free` slots are left, and counts."""

    def __init__(self) -> None:
        self.free = 0
        self.taken: Counter[str] = Counter()
        self.given: list[AppRoutes] = []
        self.refuses_type: str | None = None
        self.unsendable: set[str] = set()

    def route(self, event: NewEvent, routes: AppRoutes) -> Sequence[Notifier]:
        if event.type == self.refuses_type:
            raise ZeroDivisionError("routing failed")
        self.given.append(routes)
        return [notifier for notifier in routes.notifiers if notifier.takes_events]

    def expires_at(self, event: NewEvent, notifier: Notifier) -> datetime:
        return event.received_at + LIFETIME

    def may_send(self, notifier: Notifier) -> bool:
        return notifier.id not in self.unsendable

    def take_slot(self, notifier: Notifier) -> bool:
        if self.free <= 0 or notifier.state is not NotifierState.ACTIVE:
            return False
        self.free -= 1
        self.taken[notifier.id] += 1
        return True

    def give_back_slot(self, notifier_id: str) -> None:
        self.free += 1
        self.taken[notifier_id] -= 1

    def lease_until(self, claimed_at: datetime) -> datetime:
        return claimed_at + LEASE


class Dice:
    """What a store takes for chance: `value`, from 0 to below 1."""

    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


OpenStore = Callable[..., Awaitable[Store]]


class Stage(msgspec.Struct, frozen=True):
    """An open store with two apps in it, its clock, its dispatch and its chance; `reopen` makes a second handle."""

    store: Store
    clock: ManualClock
    dispatch: FakeDispatch
    reopen: OpenStore
    dice: Dice = msgspec.field(default_factory=Dice)

    async def add_notifier(self, name: str = "ops", **changes: Any) -> Notifier:
        now = self.clock.now()
        values: dict[str, Any] = {
            "id": new_uuid7("no"),
            "app_id": APP,
            "name": name,
            "platform": "webhook",
            "secret": "whsec_",
            "created_at": now,
            "updated_at": now,
        }
        notifier = Notifier(**values | changes)
        await self.store.write(notifier_verbs.add_notifier, notifier)
        return notifier

    async def edit_notifier(self, notifier: Notifier, **changes: Any) -> Notifier:
        edited = msgspec.structs.replace(notifier, updated_at=self.clock.now(), **changes)
        await self.store.write(notifier_verbs.edit_notifier, edited)
        return edited

    async def add_alert(self, *notifier_ids: str) -> None:
        now = self.clock.now()
        alert = Alert(
            id=new_uuid7("al"),
            app_id=APP,
            container_type="web",
            metric="cpu",
            limit=0.5,
            notifiers=notifier_ids,
            created_at=now,
            updated_at=now,
        )
        row = msgspec.structs.asdict(alert) | {"notifiers": list(notifier_ids)}
        await self.store.write(insert, schema.alerts, row)

    def event(self, event_type: str = "deployment", **changes: Any) -> NewEvent:
        """An event received now by the test's clock, so that its id tells that time too."""
        event_id = first_hex_id(self.clock.now())[:12] + new_hex_id()[3:15]  # rising, whatever the clock says
        values: dict[str, Any] = {
            "id": event_id,
            "app_id": APP,
            "user_id": OWNER,
            "type": event_type,
            "body": b'{"id":"%s"}' % event_id.encode(),
            "received_at": self.clock.now(),
        }
        return NewEvent(**values | changes)

    async def ingest(self, *events: NewEvent, key: IdempotencyKey | None = None) -> NewEvent:
        """Store events (one when none is given) and answer with the first."""
        stored = events or (self.event(),)
        await add_events(self.store, NewEvents(app_id=stored[0].app_id or APP, events=stored, idempotency=key))
        return stored[0]

    async def claim(self, notifier: Notifier, count: int = 100) -> tuple[Claim, ...]:
        return (await self.store.claim({notifier.id: count})).claims

    async def deliveries(self, app_id: str = APP, **only: Any) -> list[Delivery]:
        """An app's deliveries, oldest first."""
        found, _ = await self.store.read(list_deliveries, app_id, DeliveryFilter(**only), limit=10_000, offset=0)
        return found[::-1]

    async def delivery(self) -> Delivery:
        """The only delivery there is."""
        [only] = await self.deliveries()
        return only

    async def attempts(self, delivery_id: str) -> list[Attempt]:
        return await self.store.read(list_attempts, delivery_id)

    async def deliver(self, claim: Claim) -> bool:
        return await self.settle(delivered(claim, self.clock.now()))

    async def fail(self, claim: Claim) -> bool:
        return await self.settle(failed(claim, self.clock.now()))

    async def settle(self, settlement: Settlement) -> bool:
        return await settle(self.store, settlement)

    async def count(self, table: sa.Table) -> int:
        return await self.store.read(count_rows, table)


async def settle(store: Store, settlement: Settlement) -> bool:
    """Settle, and wait for the answer: whether the lease was still held."""
    answer: asyncio.Future[bool | Exception] = asyncio.get_running_loop().create_future()
    store.settle(settlement, answer.set_result)
    held = await answer
    if isinstance(held, Exception):
        raise held
    return held


def delivered(claim: Claim, at: datetime) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery_id,
        lease_token=claim.lease_token,
        attempt=Attempt(
            number=claim.attempt,
            started_at=at,
            duration_ms=12,
            outcome=AttemptOutcome.DELIVERED,
            response_status=204,
        ),
        state=DeliveryState.DELIVERED,
        finished_at=at,
    )


def failed(claim: Claim, at: datetime) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery_id,
        lease_token=claim.lease_token,
        attempt=Attempt(
            number=claim.attempt,
            started_at=at,
            duration_ms=12,
            outcome=AttemptOutcome.FAILED,
            reason=Reason.GONE,
            response_status=410,
            response_body="gone",
            error="410",
        ),
        state=DeliveryState.FAILED,
        reason=DeliveryReason.GONE,
        finished_at=at,
    )


def to_retry(claim: Claim, at: datetime, *, after: timedelta) -> Settlement:
    return Settlement(
        delivery_id=claim.delivery_id,
        lease_token=claim.lease_token,
        attempt=Attempt(
            number=claim.attempt,
            started_at=at,
            duration_ms=15_000,
            outcome=AttemptOutcome.RETRY,
            reason=Reason.TIMEOUT,
            error="no answer within 15 s",
        ),
        state=DeliveryState.PENDING,
        next_attempt_at=at + after,
    )


async def send(stage: Stage, notifier: Notifier, *, ends: DeliveryState) -> None:
    """Claim what is due for a notifier and end it."""
    for claim in await stage.claim(notifier):
        await (stage.deliver(claim) if ends is DeliveryState.DELIVERED else stage.fail(claim))


# Plain verbs that only tests need.


def insert(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    connection.execute(table.insert().values(**row))


def insert_cast(connection: sa.Connection, now: datetime) -> None:
    owner = {"id": OWNER, "username": "owner", "email": "owner@example.com", "created_at": now}
    insert(connection, schema.users, owner)
    for app_id, name in ((APP, "shop"), (OTHER_APP, "blog")):
        app = {"id": app_id, "name": name, "owner_id": OWNER, "created_at": now, "updated_at": now}
        insert(connection, schema.apps, app)


def count_rows(connection: sa.Connection, table: sa.Table) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def list_ids(connection: sa.Connection, table: sa.Table) -> list[str]:
    return list(connection.execute(sa.select(table.c.id).order_by(table.c.id)).scalars())
