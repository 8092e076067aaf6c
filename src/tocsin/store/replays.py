"""Sending again: one delivery, or many. Each replay is a delivery of its own, of the same event.

Many are gone over in pages of events, oldest first: each page is read by itself and made into deliveries in a
transaction of its own, so that nobody waits for long however many they are.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.errors import Conflict
from tocsin.ids import first_hex_id
from tocsin.model import Delivery, DeliveryReason, DeliveryState
from tocsin.store.deliveries import IS_PENDING, UNDELIVERED, new_delivery
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import deliveries, events, finished_deliveries


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are sent again: those received in a time whose last delivery to a notifier is over, and is such.

    `target_id` is who gets them, the notifier itself or another of its app. Empty `types` and `reasons` leave nothing
    out. Deliveries made from the one with `before_id` on are left alone.
    """

    app_id: str
    notifier_id: str
    target_id: str
    since: datetime
    until: datetime | None = None
    types: Collection[str] = ()
    states: Collection[DeliveryState] = UNDELIVERED
    reasons: Collection[DeliveryReason] = ()
    before_id: str


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How far apart replays are due, and how long each is kept trying from then on."""

    gap: timedelta
    lifetime: timedelta


class Made(msgspec.Struct, frozen=True):
    """How many replays were made, and when the last of them is due."""

    count: int = 0
    last_attempt_at: datetime | None = None


@conducts(Conduct(changes_nouns=False))
def replay(
    connection: sa.Connection, delivery: Delivery, notifier_id: str, *, at: datetime, expires_at: datetime
) -> str:
    """Make a new delivery of the same event to that notifier, due at once; answers with its id.

    Raises Conflict when retention has removed the event.
    """
    if connection.execute(sa.select(events.c.id).where(events.c.id == delivery.event_id)).first() is None:
        raise Conflict("the event of this delivery is gone: it is older than what is kept")
    row = _replay_row(delivery, notifier_id, at=at, expires_at=expires_at)
    connection.execute(deliveries.insert().values(**row))
    return str(row["id"])


def list_candidates(connection: sa.Connection, chosen: Chosen, *, after: str | None, limit: int) -> list[str]:
    """A page of the events to look at, oldest first, after the one with that id; the last page is not full.

    Of some there is nothing to send again, and one may be named twice.
    """
    column: sa.Column[str]
    if set(chosen.states) <= UNDELIVERED:
        column = finished_deliveries.c.event_id
        # Written out for the partial index.
        is_undelivered = finished_deliveries.c.state != sa.literal_column("'delivered'")
        page = sa.select(column).where(finished_deliveries.c.notifier_id == chosen.notifier_id, is_undelivered)
    else:
        column = events.c.id
        page = sa.select(column).where(events.c.app_id == chosen.app_id)
    page = page.where(column >= first_hex_id(chosen.since)) if after is None else page.where(column > after)
    if chosen.until is not None:
        page = page.where(column < first_hex_id(chosen.until))
    return list(connection.execute(page.order_by(column).limit(limit)).scalars())


def count_replayable(connection: sa.Connection, chosen: Chosen, event_ids: Collection[str]) -> int:
    """How many of these events there are to send again."""
    found = _replayable(chosen, event_ids).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(found)).scalar_one()


@conducts(Conduct(changes_nouns=False))
def replay_chosen(
    connection: sa.Connection, chosen: Chosen, event_ids: Collection[str], *, pace: Pace, at: datetime
) -> Made:
    """Replay what there is to send again of these events, oldest first, after what is planned already."""
    found = connection.execute(_replayable(chosen, event_ids).order_by(finished_deliveries.c.event_id)).all()
    if not found:
        return Made()
    first = first_free(connection, chosen.target_id, pace=pace, at=at)
    due = [first + place * pace.gap for place in range(len(found))]
    rows = [
        _replay_row(row, chosen.target_id, at=at, expires_at=due_at + pace.lifetime) | {"next_attempt_at": due_at}
        for row, due_at in zip(found, due, strict=True)
    ]
    connection.execute(deliveries.insert(), rows)
    return Made(len(found), due[-1])


def first_free(connection: sa.Connection, notifier_id: str, *, pace: Pace, at: datetime) -> datetime:
    """When the next of a notifier's replays can be due: a gap after the last that is planned."""
    planned = (
        sa.select(deliveries.c.next_attempt_at)
        .where(
            deliveries.c.notifier_id == notifier_id,
            deliveries.c.replay_of.is_not(None),
            # What waits since earlier needs no looking at, however much it is.
            deliveries.c.next_attempt_at > at - pace.gap,
            IS_PENDING,
            # Written out for the partial index.
            deliveries.c.attempt_count == sa.literal_column("0"),
        )
        .order_by(deliveries.c.next_attempt_at.desc())
        .limit(1)
    )
    last = connection.execute(planned).scalar_one_or_none()
    return at if last is None else max(at, last + pace.gap)


def _replayable(chosen: Chosen, event_ids: Collection[str]) -> "sa.Select[Any]":
    """The last delivery of each of these events, where it is one of those that are chosen and none is under way."""
    last, later = finished_deliveries, finished_deliveries.alias("later")
    is_meant = [
        last.c.event_id.in_(event_ids),
        last.c.notifier_id == chosen.notifier_id,
        last.c.state.in_(sorted(chosen.states)),
        # An empty text hides these from the planner, which might rather walk all deliveries of the app or notifier.
        last.c.app_id.concat("") == chosen.app_id,
        last.c.id.concat("") < chosen.before_id,
    ]
    if chosen.types:
        is_meant.append(last.c.event_type.in_(sorted(chosen.types)))
    if chosen.reasons:
        is_meant.append(last.c.reason.in_(sorted(chosen.reasons)))
    superseded = [_finished(later, chosen.notifier_id).where(later.c.id > last.c.id), *_live(chosen.notifier_id)]
    if chosen.target_id != chosen.notifier_id:
        elsewhere = finished_deliveries.alias("elsewhere")
        has_arrived = elsewhere.c.state == DeliveryState.DELIVERED
        superseded += [_finished(elsewhere, chosen.target_id).where(has_arrived), *_live(chosen.target_id)]
    event = sa.select(events.c.id).where(events.c.id == last.c.event_id)
    what = (last.c.id, last.c.app_id, last.c.event_id, last.c.event_type)
    return sa.select(*what).where(*is_meant, _is_found(event), *(sa.not_(_is_found(each)) for each in superseded))


def _finished(table: sa.FromClause, notifier_id: str) -> "sa.Select[Any]":
    return sa.select(table.c.id).where(
        table.c.event_id == finished_deliveries.c.event_id, table.c.notifier_id == notifier_id
    )


def _live(notifier_id: str) -> "Sequence[sa.Select[Any]]":
    """First deliveries and replays apart, so that an index serves each."""
    live = _finished(deliveries, notifier_id)
    return live.where(deliveries.c.replay_of.is_(None)), live.where(deliveries.c.replay_of.is_not(None))


def _is_found(one: "sa.Select[Any]") -> sa.ColumnElement[bool]:
    """Whether there is such a row: looked up for each delivery by its key. As EXISTS, PostgreSQL might rather go
    through the whole table once.
    """
    return one.correlate(finished_deliveries).limit(1).scalar_subquery().is_not(None)


def _replay_row(
    row: "Delivery | sa.Row[Any]", notifier_id: str, *, at: datetime, expires_at: datetime
) -> dict[str, Any]:
    return new_delivery(
        app_id=row.app_id,
        event_id=row.event_id,
        event_type=row.event_type,
        notifier_id=notifier_id,
        at=at,
        expires_at=expires_at,
        replay_of=row.id,
    )
