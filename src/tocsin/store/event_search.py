"""Events of an app that are looked for: by type, time and text, newest first."""

from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec
import sqlalchemy as sa

from tocsin.ids import first_hex_id, time_of_hex_id
from tocsin.store.events import find_all_received
from tocsin.store.port import NewEvent
from tocsin.store.schema import events
from tocsin.store.walks import Found, Part, Text, look


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
    what = (events.c.id, events.c.type.label("event_type"), events.c.id.label("event_id"))
    rows = sa.select(*what, sa.literal("").label("notifier_id")).where(events.c.app_id == app_id)
    if only.since is not None:
        rows = rows.where(events.c.id >= first_hex_id(only.since))
    ends = [*([only.before] if only.before else ()), *([first_hex_id(only.until)] if only.until else ())]
    found = look(
        connection,
        [Part(rows, (events.c.type.in_(sorted(only.types)),) if only.types else ())],
        before=min(ends, default=None),
        limit=limit,
        text=Text(only.text) if only.text else None,
        time_of=time_of_hex_id,
    )
    received = find_all_received(connection, [row.id for row in found.items])
    return found.of([received[row.id] for row in found.items])
