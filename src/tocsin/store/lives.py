"""Notifiers whose state follows from how they fare: looked up by time, changed under lock, probed one by one."""

from collections.abc import Callable, Collection
from datetime import datetime

import sqlalchemy as sa

from tocsin.ids import new_uuid7
from tocsin.model import App, Notifier, NotifierState
from tocsin.store.deliveries import IS_PENDING, IS_SENDING, new_delivery
from tocsin.store.notifiers import add_notifier, edit_notifier, to_notifier
from tocsin.store.port import Claim, Conduct, NewEvent, conducts
from tocsin.store.reading import UNREADABLE
from tocsin.store.schema import deliveries, events, notifiers
from tocsin.store.sealed import seal

HOLDS = (NotifierState.PAUSED, NotifierState.HOLDING)
"""States after which everything goes on as before, once `held_until` has passed."""

IS_FAILING = notifiers.c.state == sa.literal_column("'failing'")
HAS_END = notifiers.c.held_until.is_not(None)
_IS_PRESENT = notifiers.c.removed_at.is_(None)


def change_life(
    connection: sa.Connection, notifier_id: str, change: Callable[[Notifier], Notifier]
) -> tuple[Notifier, Notifier] | None:
    """Change a notifier that is still there as `change` says, whatever it is by now; answers with before and after.

    None when there is nothing to change.
    """
    statement = sa.select(notifiers).where(notifiers.c.id == notifier_id, _IS_PRESENT).with_for_update()
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    before = to_notifier(connection, row)
    after = change(before)
    if after == before:
        return None
    edit_notifier(connection, after)
    return before, after


def add_mail_to_owner(connection: sa.Connection, event: NewEvent, app: App, *, expires_at: datetime) -> None:
    """Make a delivery of an event to the app's owner, by mail; nothing when the owner has unsubscribed."""
    notifier = _fallback_of(connection, app, event.received_at)
    if notifier.active and notifier.id != event.about:
        connection.execute(
            deliveries.insert(),
            new_delivery(
                app_id=app.id,
                event_id=event.id,
                event_type=event.type,
                notifier_id=notifier.id,
                at=event.received_at,
                expires_at=expires_at,
            ),
        )


def _fallback_of(connection: sa.Connection, app: App, at: datetime) -> Notifier:
    statement = sa.select(notifiers).where(notifiers.c.app_id == app.id, _IS_PRESENT, notifiers.c.is_fallback)
    row = connection.execute(statement.with_for_update()).first()
    type_data = {"user_ids": [app.owner.id], "emails": []}
    if row is not None:
        found = to_notifier(connection, row)
        if found.active and found.type_data != type_data:
            # The app has another owner by now.
            sealed = seal(connection, notifiers.c.type_data, found.id, type_data)
            connection.execute(notifiers.update().where(notifiers.c.id == found.id).values(type_data=sealed))
        return found
    notifier = Notifier(
        id=new_uuid7("no"),
        app_id=app.id,
        name="Mail to the owner",
        platform="email",
        type_data=type_data,
        secret="",
        created_at=at,
        updated_at=at,
    )
    add_notifier(connection, notifier)
    connection.execute(notifiers.update().where(notifiers.c.id == notifier.id).values(is_fallback=True))
    return notifier


def find_next_end(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the next state that ends by itself does."""
    statement = sa.select(sa.func.min(notifiers.c.held_until)).where(
        HAS_END, notifiers.c.held_until > now, _IS_PRESENT, sa.or_(IS_FAILING, notifiers.c.state.in_(HOLDS))
    )
    found: datetime | None = connection.execute(statement).scalar_one()
    return found


def list_probes_due(connection: sa.Connection, platforms: Collection[str], now: datetime) -> list[str]:
    """Failing notifiers of these platforms that may be tried with one delivery now, and have one that is due."""
    is_due = sa.exists().where(
        deliveries.c.notifier_id == notifiers.c.id, IS_PENDING, deliveries.c.next_attempt_at <= now
    )
    statement = sa.select(notifiers.c.id).where(
        HAS_END, notifiers.c.held_until <= now, IS_FAILING, _IS_PRESENT, notifiers.c.platform.in_(platforms), is_due
    )
    return list(connection.execute(statement).scalars())


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def lease_probe(
    connection: sa.Connection, notifier_id: str, *, token: str, at: datetime, lease_until: datetime
) -> Claim | None:
    """Lease the oldest due delivery of a failing notifier, unless one is under way already: one in all processes."""
    statement = sa.select(notifiers).where(
        notifiers.c.id == notifier_id, IS_FAILING, notifiers.c.held_until <= at, _IS_PRESENT
    )
    row = connection.execute(statement.with_for_update(skip_locked=True)).one_or_none()
    if row is None or _has_one_under_way(connection, notifier_id):
        return None
    try:
        notifier = to_notifier(connection, row)
    except UNREADABLE:
        return None  # what waits for it expires
    due = (
        sa.select(deliveries, events.c.body)
        .join(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.notifier_id == notifier_id, IS_PENDING, deliveries.c.next_attempt_at <= at)
        .order_by(deliveries.c.next_attempt_at, deliveries.c.id)
        .limit(1)
    )
    found = connection.execute(due.with_for_update(of=deliveries, skip_locked=True)).one_or_none()
    if found is None:
        return None
    connection.execute(
        deliveries.update()
        .where(deliveries.c.id == found.id)
        .values(
            state="sending",
            attempt_count=found.attempt_count + 1,
            next_attempt_at=None,
            lease_token=token,
            claimed_at=at,
            lease_until=lease_until,
        )
    )
    return Claim(
        delivery_id=found.id,
        app_id=found.app_id,
        event_id=found.event_id,
        event_type=found.event_type,
        attempt=found.attempt_count + 1,
        lease_token=token,
        claimed_at=at,
        expires_at=found.expires_at,
        notifier=notifier,
        body=found.body,
    )


def _has_one_under_way(connection: sa.Connection, notifier_id: str) -> bool:
    # The few rows that are being sent are walked: no index leads from a notifier to them.
    statement = sa.select(deliveries.c.id).where(IS_SENDING, deliveries.c.notifier_id == notifier_id).limit(1)
    return connection.execute(statement).first() is not None
