"""Looking for what no index holds: rows are gone through from the newest on, and only so many for one question."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.store.schema import events

T = TypeVar("T")
S = TypeVar("S")

MAX_ROWS = 10_000
"""How many rows one question goes through in the database."""

MAX_BODIES = 1000
MAX_BODY_BYTES = 2 * 1024 * 1024
"""How many events one question reads, and how much of them."""

_STEP = 1000
_BODIES_AT_ONCE = 250
_BYTES_AT_ONCE = 256 * 1024

Rows = sa.Select[Any]
Row = sa.Row[Any]
"""With `id`, `event_type`, `event_id` and `notifier_id`; in order of `id`."""


class Found(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What was found, newest first. `before` is the id from which to go on; None when there is no more.

    Where looking ended before the page was full or the list was over, `searched_to` says until when everything was
    looked at, and `looked_at` how much that was.
    """

    items: list[T]
    before: str | None = None
    searched_to: datetime | None = None
    looked_at: int = 0

    def of(self, items: "list[S]") -> "Found[S]":
        """The same, with something else for each item."""
        return Found(items=items, before=self.before, searched_to=self.searched_to, looked_at=self.looked_at)


class Part(msgspec.Struct, frozen=True):
    """Rows that an index finds in order, and conditions that each of them has to be asked for."""

    rows: Rows
    conditions: tuple[sa.ColumnElement[bool], ...] = ()

    def select(self, before: str | None, since: str | None) -> Rows:
        ids = self.rows.selected_columns["id"]
        rows = self.rows.where(*self.conditions).order_by(ids.desc())
        rows = rows if before is None else rows.where(ids < before)
        return rows if since is None else rows.where(ids >= since)


class Text(msgspec.Struct, frozen=True):
    """A text that is said, whatever its case: in a type, in ids, in an event, or in a notifier's name.

    `names` has those by the notifiers' ids.
    """

    text: str
    names: Mapping[str, str] = msgspec.field(default_factory=dict)


def look(
    connection: sa.Connection,
    parts: Sequence[Part],
    *,
    before: str | None,
    limit: int,
    text: Text | None,
    time_of: Callable[[str], datetime],
) -> Found[Row]:
    """A page of the rows of all parts, newest first; `time_of` tells when an id was made."""
    end = _last_of(connection, [part for part in parts if part.conditions], before)
    most = limit + 1 if text is None else _STEP
    lists = [_descend(connection, part, before, end, limit + 1, most) for part in parts]
    rows = heapq.merge(*lists, key=attrgetter("id"), reverse=True)
    found = _take(rows, limit) if text is None else _take_saying(connection, rows, text, limit, time_of)
    if found.before is None and end is not None:
        return Found(items=found.items, before=end, searched_to=time_of(end), looked_at=MAX_ROWS)
    return found


def _last_of(connection: sa.Connection, parts: Sequence[Part], before: str | None) -> str | None:
    """The last row that is gone through, where there are more than that."""
    if not parts:
        return None
    ids = [Part(part.rows.with_only_columns(part.rows.selected_columns["id"])).select(before, None) for part in parts]
    some = sa.union_all(*(sa.select(each.limit(MAX_ROWS + 1).subquery().c.id) for each in ids)).subquery()
    beyond = sa.select(some.c.id).order_by(some.c.id.desc()).offset(MAX_ROWS - 1).limit(2)
    last = connection.execute(beyond).scalars().all()
    return str(last[0]) if len(last) == 2 else None


def _descend(
    connection: sa.Connection, part: Part, before: str | None, end: str | None, step: int, most: int
) -> Iterator[Row]:
    """First few rows, which often are enough, and then more at a time."""
    while True:
        some = connection.execute(part.select(before, end).limit(step)).all()
        yield from some
        if len(some) < step:
            return
        before = some[-1].id
        step = min(4 * step, most)


def _take(rows: Iterable[Row], limit: int) -> Found[Row]:
    some = list(islice(rows, limit + 1))
    return Found(items=some[:limit], before=some[limit - 1].id if len(some) > limit else None)


def _take_saying(
    connection: sa.Connection, rows: Iterable[Row], text: Text, limit: int, time_of: Callable[[str], datetime]
) -> Found[Row]:
    wanted = text.text.casefold()
    bodies = _Bodies(connection, text.text)
    found: list[Row] = []
    number = 0
    for number, row in enumerate(_expected(rows, bodies, limit + 1), 1):
        words = (row.event_type, row.id, row.event_id, row.notifier_id, text.names.get(row.notifier_id, ""))
        if wanted in "\n".join(words).casefold() or bodies.say(row.event_id):
            if len(found) == limit:
                return Found(items=found, before=found[-1].id)
            found.append(row)
        if bodies.are_spent():
            return Found(items=found, before=row.id, searched_to=time_of(row.id), looked_at=number)
    return Found(items=found, looked_at=number)


def _expected(rows: Iterable[Row], bodies: "_Bodies", count: int) -> Iterator[Row]:
    left = iter(rows)
    while some := list(islice(left, count)):
        bodies.expect([row.event_id for row in some])
        yield from some
        count = min(4 * count, _BODIES_AT_ONCE)


class _Bodies:
    """Whether events say a text: read some at a time, each once, by their size."""

    def __init__(self, connection: sa.Connection, text: str) -> None:
        self._connection = connection
        # As it stands between the quotes of a JSON text.
        self._wanted = msgspec.json.encode(text)[1:-1].decode().casefold()
        self._said: dict[str, bool] = {}
        self._asked: set[str] = set()
        self._expected: deque[tuple[str, int]] = deque()
        self._bytes = 0

    def expect(self, event_ids: Sequence[str]) -> None:
        """These are asked for next, in this order."""
        new = [event_id for event_id in dict.fromkeys(event_ids) if event_id not in self._said]
        sizes = sa.select(events.c.id, sa.func.length(events.c.body).label("size")).where(events.c.id.in_(new))
        size_of = {row.id: row.size for row in self._connection.execute(sizes)} if new else {}
        self._expected = deque((event_id, size_of.get(event_id, 0)) for event_id in new)

    def say(self, event_id: str) -> bool:
        self._asked.add(event_id)
        while event_id not in self._said:
            self._read_some()
        return self._said[event_id]

    def are_spent(self) -> bool:
        return len(self._asked) >= MAX_BODIES or self._bytes >= MAX_BODY_BYTES

    def _read_some(self) -> None:
        ids: list[str] = []
        size = 0
        while self._expected and (not ids or size + self._expected[0][1] <= _BYTES_AT_ONCE):
            event_id, more = self._expected.popleft()
            ids.append(event_id)
            size += more
        self._bytes += size
        self._said.update(dict.fromkeys(ids, False))  # retention may have removed one meanwhile
        for row in self._connection.execute(sa.select(events.c.id, events.c.body).where(events.c.id.in_(ids))):
            self._said[row.id] = self._wanted in _as_text(row.body).casefold()


def _as_text(body: bytes) -> str:
    """An event's JSON with nothing escaped that need not be: what was sent is kept as it came."""
    if b"\\" in body:
        with suppress(msgspec.DecodeError):
            body = msgspec.json.encode(msgspec.json.decode(body))
    return body.decode(errors="replace")
