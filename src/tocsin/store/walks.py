"""Looking for what no index holds: rows are gone through from the newest on, and only so many for one question."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.store.schema import events

T = TypeVar("T")
S = TypeVar("S")

MAX_ROWS = 5000
"""How many rows one question looks through."""

MAX_BODIES = 2000
MAX_BODY_BYTES = 4 * 1024 * 1024
"""How many events one question reads, and how much of them."""

_FIRST_STEP = 50
_LAST_STEP = 800
_BODIES_AT_ONCE = 100
_BYTES_AT_ONCE = 512 * 1024


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


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One that is gone through, with what it is chosen by."""

    id: str
    at: datetime
    type: str
    event_id: str
    notifier_id: str = ""
    state: str = ""


Judge = Callable[[Row], bool]


def descend(connection: sa.Connection, rows: "sa.Select[Any]", *, before: str | None = None) -> "Iterator[sa.Row[Any]]":
    """The rows of a query by their `id`, from the newest on; so many a statement, and more with each."""
    step = _FIRST_STEP
    ids = rows.selected_columns["id"]
    while True:
        some = rows.order_by(ids.desc()).limit(step)
        found = connection.execute(some if before is None else some.where(ids < before)).all()
        yield from found
        if len(found) < step:
            return
        before, step = found[-1].id, min(2 * step, _LAST_STEP)


def choose(rows: Iterable[Row], is_meant: Judge, *, limit: int) -> Found[Row]:
    """The newest of the rows that are meant."""
    return _fill(((row, is_meant(row)) for row in rows), limit=limit, is_spent=lambda: False)


def choose_by_text(
    connection: sa.Connection, rows: Iterable[Row], is_meant: Judge, *, text: str, names: Mapping[str, str], limit: int
) -> Found[Row]:
    """The newest of the rows that are meant and say a text, whatever its case.

    They say it in their type, their ids, their event, or the name of their notifier, which `names` has by its id.
    """
    wanted = text.casefold()
    bodies = _Bodies(connection, text)

    def says(row: Row) -> bool:
        words = (row.type, row.id, row.event_id, row.notifier_id, names.get(row.notifier_id, ""))
        return any(wanted in word.casefold() for word in words) or bodies.say(row.event_id)

    def judged() -> Iterator[tuple[Row, bool]]:
        left = iter(rows)
        while some := [(row, is_meant(row)) for row in islice(left, _BODIES_AT_ONCE)]:
            bodies.expect([row.event_id for row, is_one in some if is_one])
            yield from ((row, is_one and says(row)) for row, is_one in some)

    return _fill(judged(), limit=limit, is_spent=bodies.are_spent)


def _fill(judged: Iterable[tuple[Row, bool]], *, limit: int, is_spent: Callable[[], bool]) -> Found[Row]:
    found: list[Row] = []
    number = 0
    for number, (row, is_one) in enumerate(judged, 1):
        if is_one and len(found) == limit:
            return Found(items=found, before=found[-1].id, looked_at=number)
        if is_one:
            found.append(row)
        if number >= MAX_ROWS or is_spent():
            return Found(items=found, before=row.id, searched_to=row.at, looked_at=number)
    return Found(items=found, looked_at=number)


class _Bodies:
    """Whether events say a text: read some at a time, each once, by their size."""

    def __init__(self, connection: sa.Connection, text: str) -> None:
        self._connection = connection
        # As it stands between the quotes of a JSON text.
        self._wanted = msgspec.json.encode(text)[1:-1].decode().casefold()
        self._said: dict[str, bool] = {}
        self._expected: deque[tuple[str, int]] = deque()
        self._bytes = 0

    def expect(self, event_ids: Sequence[str]) -> None:
        """These are asked for next, in this order."""
        new = [event_id for event_id in dict.fromkeys(event_ids) if event_id not in self._said]
        sizes = sa.select(events.c.id, sa.func.length(events.c.body).label("size")).where(events.c.id.in_(new))
        size_of = {row.id: row.size for row in self._connection.execute(sizes)} if new else {}
        self._expected = deque((event_id, size_of.get(event_id, 0)) for event_id in new)

    def say(self, event_id: str) -> bool:
        while event_id not in self._said:
            self._read_some()
        return self._said[event_id]

    def are_spent(self) -> bool:
        return len(self._said) >= MAX_BODIES or self._bytes >= MAX_BODY_BYTES

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
