"""Events and the deliveries they start, where they are stored one at a time beside another change."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import sqlalchemy as sa

from tocsin.store import notifiers as notifier_verbs
from tocsin.store.deliveries import new_delivery
from tocsin.store.port import INLINE_FANOUT, Dispatch, NewEvent
from tocsin.store.schema import deliveries, events, fanouts

T = TypeVar("T")


def with_event(
    connection: sa.Connection, change: Callable[[sa.Connection], T], event: NewEvent, dispatch: Dispatch
) -> T:
    """Make a change and store the event that tells of it, in one transaction; routed as things are after it."""
    result = change(connection)
    add_event(connection, event, dispatch)
    return result


def add_event(connection: sa.Connection, event: NewEvent, dispatch: Dispatch) -> int:
    """Store an event with its deliveries; answers with how many it has."""
    connection.execute(
        events.insert().values(
            id=event.id,
            app_id=event.app_id,
            user_id=event.user_id,
            type=event.type,
            received_at=event.received_at,
            body=event.body,
        )
    )
    if event.app_id is None:
        return 0
    wanted = dispatch.route(event, notifier_verbs.get_routes(connection, event.app_id))
    if len(wanted) > INLINE_FANOUT:
        connection.execute(
            fanouts.insert().values(
                event_id=event.id,
                app_id=event.app_id,
                notifier_ids=[notifier.id for notifier in wanted],
                created_at=event.received_at,
            )
        )
    elif wanted:
        rows = [
            new_delivery(
                app_id=event.app_id,
                event_id=event.id,
                event_type=event.type,
                notifier_id=notifier.id,
                at=event.received_at,
                expires_at=dispatch.expires_at(event, notifier),
            )
            for notifier in wanted
        ]
        connection.execute(deliveries.insert(), rows)
    return len(wanted)


def find_event(connection: sa.Connection, app_id: str, event_id: str) -> bytes | None:
    """The body of an app's event."""
    statement = sa.select(events.c.body).where(events.c.id == event_id, events.c.app_id == app_id)
    return connection.execute(statement).scalar_one_or_none()


def find_received(connection: sa.Connection, app_id: str, event_id: str) -> NewEvent | None:
    """An app's event as it was stored; what only its storing needed is not kept."""
    statement = sa.select(events).where(events.c.id == event_id, events.c.app_id == app_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _to_event(row)


def find_all_received(connection: sa.Connection, event_ids: Collection[str]) -> dict[str, NewEvent]:
    """Events as they were stored, by id."""
    if not event_ids:
        return {}
    return {row.id: _to_event(row) for row in connection.execute(sa.select(events).where(events.c.id.in_(event_ids)))}


def _to_event(row: "sa.Row[Any]") -> NewEvent:
    return NewEvent(
        id=row.id, app_id=row.app_id, user_id=row.user_id, type=row.type, body=row.body, received_at=row.received_at
    )
