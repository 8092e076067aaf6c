"""Events of an app that are looked for: by type, time and text, newest first."""

from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec
import sqlalchemy as sa

from tocsin.ids import first_hex_id
from tocsin.store.events import find_all_received
from tocsin.store.port import NewEvent
from tocsin.store.schema import events
from tocsin.store.walks import Found, Row, choose, choose_by_text, descend


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are meant: received from `since` on and before `until`; before the one with the id `before`.

    Empty `types` and `text` leave nothing out.
    """

    types: AbstractSet[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    before: str | None = None


def search_events(connection: sa.Connection, app_id: str, only: EventFilter, *, limit: int) -> Found[NewEvent]:
    """A page of events, as they were stored."""
    what = sa.select(events.c.id, events.c.type, events.c.received_at).where(events.c.app_id == app_id)
    if only.since is not None:
        what = what.where(events.c.id >= first_hex_id(only.since))
    ends = [*([only.before] if only.before else ()), *([first_hex_id(only.until)] if only.until else ())]
    rows = (
        Row(id=row.id, at=row.received_at, type=row.type, event_id=row.id)
        for row in descend(connection, what, before=min(ends, default=None))
    )

    def is_meant(row: Row) -> bool:
        return not only.types or row.type in only.types

    if only.text:
        found = choose_by_text(connection, rows, is_meant, text=only.text, names={}, limit=limit)
    else:
        found = choose(rows, is_meant, limit=limit)
    received = find_all_received(connection, [row.id for row in found.items])
    return found.of([received[row.id] for row in found.items])
