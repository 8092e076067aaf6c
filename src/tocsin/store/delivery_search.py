"""Deliveries of an app that are looked for, those under way and those that are over as one list, newest first.

By notifier, event and time they are found in an index, and undelivered ones too while they are few. For all else they
are gone through.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec
import sqlalchemy as sa

from tocsin.ids import first_uuid7, time_of_uuid7
from tocsin.model import Delivery, DeliveryState
from tocsin.store.deliveries import IS_PENDING, IS_SENDING, LIVE, UNDELIVERED, find_deliveries
from tocsin.store.pages import MAX_COUNT
from tocsin.store.schema import deliveries, finished_deliveries, notifiers
from tocsin.store.walks import Found, Part, Rows, Text, look

_WHAT = ("id", "event_type", "event_id", "notifier_id")


class DeliverySearch(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are meant: made from `since` on and before `until`; before the one with the id `before`.

    Empty `states`, `types` and `text` leave nothing out.
    """

    notifier_id: str | None = None
    event_id: str | None = None
    states: AbstractSet[DeliveryState] = frozenset()
    types: AbstractSet[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    before: str | None = None


def search_deliveries(connection: sa.Connection, app_id: str, only: DeliverySearch, *, limit: int) -> Found[Delivery]:
    """A page of deliveries."""
    ends = [*([only.before] if only.before else ()), *([first_uuid7("de", only.until)] if only.until else ())]
    found = look(
        connection,
        [*_live(app_id, only), *_finished(connection, app_id, only)],
        before=min(ends, default=None),
        limit=limit,
        text=Text(only.text, _names(connection, app_id)) if only.text else None,
        time_of=time_of_uuid7,
    )
    ids = [row.id for row in found.items]
    known = find_deliveries(connection, ids)
    return found.of([known[delivery_id] for delivery_id in ids])


def _live(app_id: str, only: DeliverySearch) -> list[Part]:
    wanted = only.states & LIVE if only.states else LIVE
    if only.event_id is not None:
        # First deliveries and replays apart, so that an index serves each.
        rows = _meant(deliveries, app_id, only).where(deliveries.c.state.in_(sorted(wanted)))
        parts = [rows.where(deliveries.c.replay_of.is_(None)), rows.where(deliveries.c.replay_of.is_not(None))]
        return [Part(each, _of_types(deliveries, only)) for each in parts] if wanted else []
    found = []
    if DeliveryState.PENDING in wanted:
        found.append(Part(_meant(deliveries, app_id, only).where(IS_PENDING), _of_types(deliveries, only)))
    if DeliveryState.SENDING in wanted:
        # Few at any time: taken from their index whole, or all that waits might be walked for the order's sake.
        leased = sa.select(deliveries).where(IS_SENDING).cte("leased").prefix_with("MATERIALIZED")
        found.append(Part(_meant(leased, app_id, only).where(*_of_types(leased, only))))
    return found


def _finished(connection: sa.Connection, app_id: str, only: DeliverySearch) -> list[Part]:
    wanted = only.states - LIVE
    if only.states and not wanted:
        return []
    if wanted and wanted <= UNDELIVERED and only.event_id is None:
        undelivered = _undelivered(app_id, only)
        # Counted in the index alone: where they are many, their rows are not looked up for nothing.
        some = undelivered.with_only_columns(finished_deliveries.c.notifier_id).limit(MAX_COUNT).subquery()
        if connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() < MAX_COUNT:
            few = undelivered.cte("few").prefix_with("MATERIALIZED")
            rows = _meant(few, app_id, only).where(few.c.state.in_(sorted(wanted)))
            return [Part(rows.where(*_of_types(few, only)))]
    conditions = _of_types(finished_deliveries, only)
    if wanted:
        conditions = (finished_deliveries.c.state.in_(sorted(wanted)), *conditions)
    return [Part(_meant(finished_deliveries, app_id, only), conditions)]


def _undelivered(app_id: str, only: DeliverySearch) -> Rows:
    """All that there are of the app, or of the notifier: as an index has them, without order."""
    finished = finished_deliveries.c
    whose = sa.select(notifiers.c.id).where(notifiers.c.app_id == app_id)
    if only.notifier_id is not None:
        whose = whose.where(notifiers.c.id == only.notifier_id)
    # Written out for the partial index.
    is_undelivered = finished.state != sa.literal_column("'delivered'")
    return sa.select(finished_deliveries).where(finished.notifier_id.in_(whose), is_undelivered)


def _meant(table: sa.FromClause, app_id: str, only: DeliverySearch) -> Rows:
    is_narrowed = only.notifier_id is not None or only.event_id is not None
    # Where something narrower is asked for, an empty text hides the app from the planner.
    rows = sa.select(*(table.c[name] for name in _WHAT)).where(
        (table.c.app_id.concat("") if is_narrowed else table.c.app_id) == app_id
    )
    if only.event_id is not None:
        rows = rows.where(table.c.event_id == only.event_id)
    if only.notifier_id is not None:
        rows = rows.where(table.c.notifier_id == only.notifier_id)
    return rows if only.since is None else rows.where(table.c.id >= first_uuid7("de", only.since))


def _of_types(table: sa.FromClause, only: DeliverySearch) -> tuple[sa.ColumnElement[bool], ...]:
    return (table.c.event_type.in_(sorted(only.types)),) if only.types else ()


def _names(connection: sa.Connection, app_id: str) -> dict[str, str]:
    rows = connection.execute(sa.select(notifiers.c.id, notifiers.c.name).where(notifiers.c.app_id == app_id))
    return {row.id: row.name for row in rows}
