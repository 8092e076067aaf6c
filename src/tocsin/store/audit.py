"""The audit log's rows: added in the transaction of what they tell of, listed, gone over, and pruned from the front."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from tocsin.audit import SYSTEM, Action, Entry, Note, entry_of
from tocsin.store.pages import MAX_COUNT, total_of
from tocsin.store.port import Conduct, conduct_of, conducts
from tocsin.store.schema import apps, audit_entries, audit_head
from tocsin.store.sealed import sealer_of

T = TypeVar("T")
ENTRY = tuple(audit_entries.c[name] for name in Entry.__struct_fields__)


class Link(msgspec.Struct, frozen=True):
    """An entry as it is stored, with what proves it."""

    entry: Entry
    digest: bytes
    key_id: str
    signature: bytes


class Head(msgspec.Struct, frozen=True):
    """The last entry's number and digest."""

    number: int
    digest: bytes


def with_note(change: Callable[[sa.Connection], T], note: Note) -> Callable[[sa.Connection], T]:
    """The change, and in the same transaction the entry that tells of it."""

    def noted(connection: sa.Connection) -> T:
        result = change(connection)
        # Last, for until the commit nobody else can add one.
        add_note(connection, note)
        return result

    return conducts(conduct_of(getattr(change, "func", change)))(noted)


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def add_note(connection: sa.Connection, note: Note) -> None:
    head = _read_head(connection, is_locking=True)
    entry = entry_of(note, head.number + 1)
    digest = entry.digest(head.digest)
    sealer = sealer_of(connection)
    connection.execute(
        audit_entries.insert().values(
            **{name: getattr(entry, name) for name in Entry.__struct_fields__},
            digest=digest,
            key_id=sealer.key_id,
            signature=sealer.sign(digest),
        )
    )
    connection.execute(audit_head.update().values(number=entry.number, digest=digest))


def read_head(connection: sa.Connection) -> Head:
    return _read_head(connection)


def _read_head(connection: sa.Connection, *, is_locking: bool = False) -> Head:
    statement = sa.select(audit_head.c.number, audit_head.c.digest)
    row = connection.execute(statement.with_for_update() if is_locking else statement).one()
    return Head(row.number, row.digest)


def list_entries(
    connection: sa.Connection, app_id: str, *, limit: int, offset: int, before: int | None = None
) -> tuple[list[tuple[Entry, bytes]], int]:
    """A page of an app's entries with their digests, newest first, and their number as far as it is counted."""
    is_meant = [audit_entries.c.app_id == app_id]
    if before is not None:
        is_meant.append(audit_entries.c.number < before)
    page = sa.select(*ENTRY, audit_entries.c.digest).where(*is_meant).order_by(audit_entries.c.number.desc())
    rows = connection.execute(page.limit(limit + 1).offset(offset)).all()
    some = sa.select(audit_entries.c.number).where(*is_meant).limit(MAX_COUNT).subquery()
    counted = connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
    return [(_entry(row), row.digest) for row in rows[:limit]], total_of(counted, offset, len(rows))


def find_last(connection: sa.Connection, action: Action) -> Entry | None:
    """The newest entry of an action."""
    of_action = sa.select(*ENTRY).where(audit_entries.c.action == action.value)
    row = connection.execute(of_action.order_by(audit_entries.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else _entry(row)


def list_newest(connection: sa.Connection, *, limit: int, app: str | None = None) -> list[Entry]:
    """The newest entries, of the app with this id or name, which may be removed, or of all."""
    statement = sa.select(*ENTRY).order_by(audit_entries.c.number.desc()).limit(limit)
    if app is not None:
        named = sa.select(apps.c.id).where(apps.c.name == app)
        statement = statement.where(sa.or_(audit_entries.c.app_id == app, audit_entries.c.app_id.in_(named)))
    return [_entry(row) for row in connection.execute(statement)]


def read_links(connection: sa.Connection, *, after: int, limit: int) -> list[Link]:
    """The stored entries with a number beyond `after`, in order."""
    statement = sa.select(audit_entries).where(audit_entries.c.number > after).order_by(audit_entries.c.number)
    return [
        Link(_entry(row), row.digest, row.key_id, row.signature) for row in connection.execute(statement.limit(limit))
    ]


@conducts(Conduct(brings_work=False, changes_nouns=False))
def prune_audit(connection: sa.Connection, *, before: datetime, at: datetime, limit: int) -> int:
    """Remove the oldest entries from before that time, `limit` at most; another entry tells how far. Gives how many."""
    number = audit_entries.c.number
    oldest = sa.select(number, audit_entries.c.at, audit_entries.c.digest).order_by(number).limit(limit)
    gone = list(_leading(connection.execute(oldest).all(), before))
    # The last one always stays: the chain goes on from it.
    if gone and gone[-1].number == _read_head(connection).number:
        gone.pop()
    if not gone:
        return 0
    last = gone[-1]
    connection.execute(audit_entries.delete().where(number <= last.number))
    details = {"through": last.number, "digest": last.digest.hex()}
    add_note(connection, Note(action=Action.PRUNED, at=at, details=details, by=SYSTEM))
    return len(gone)


def _leading(rows: Iterable[Any], before: datetime) -> Iterator[Any]:
    for row in rows:
        if row.at >= before:
            return
        yield row


def _entry(row: Any) -> Entry:
    return Entry(**{name: getattr(row, name) for name in Entry.__struct_fields__})
