"""What operators are told of the whole database, by reads that are bounded whatever there is in it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from tocsin.model import DeliveryState, NotifierState
from tocsin.store.postgres.peers import WORKER_NAME
from tocsin.store.schema import apps, deliveries, notifiers
from tocsin.store.sqlite.space import measure_room

LOOKED_AT = 10_000
"""So many of the oldest deliveries that are under way are looked at."""

IS_STOPPED = "notifiers.state IN ('failing', 'holding', 'disabled')"
"""The states that no owner put a notifier in, as an index over them has it."""

FIND_WORKERS = """
SELECT pid, host(client_addr) AS address, backend_start AS since FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = :name ORDER BY pid LIMIT 100"""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries under way: due now, waiting for another attempt, kept back with their notifier, and being sent.

    `late` are being sent although their lease has ended: nobody has said what became of them. Of more deliveries than
    are looked at, these are the oldest.
    """

    due: int = 0
    waiting: int = 0
    held: int = 0
    sending: int = 0
    late: int = 0
    is_whole: bool = True
    oldest_at: datetime | None = None
    oldest_claimed_at: datetime | None = None
    next_lease_end: datetime | None = None


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that delivers, as its connection to the database tells of it. `address` is None on a local socket."""

    pid: int
    address: str | None
    since: datetime


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """`log_bytes` and `free_bytes` are known of a file alone."""

    product: str
    version: str
    schema: str
    size_bytes: int
    log_bytes: int | None = None
    free_bytes: int | None = None


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """A notifier to which nothing is sent for now, and not because its owner said so."""

    id: str
    name: str
    app: str
    platform: str
    state: NotifierState
    reason: str | None
    since: datetime | None
    until: datetime | None


def count_queue(connection: sa.Connection, *, ready: Collection[str], at: datetime) -> Queue:
    """Deliveries of platforms that are not `ready` are kept back as well."""
    columns = ("id", "state", "notifier_id", "next_attempt_at", "created_at", "claimed_at", "lease_until")
    oldest = (
        sa.select(*(deliveries.c[name] for name in columns)).order_by(deliveries.c.id).limit(LOOKED_AT + 1).subquery()
    )
    is_sending = oldest.c.state == DeliveryState.SENDING
    is_sendable = sa.and_(
        notifiers.c.active, notifiers.c.state == NotifierState.ACTIVE, notifiers.c.platform.in_(sorted(ready))
    )
    kind = sa.case(
        (sa.and_(is_sending, oldest.c.lease_until < at), "late"),
        (is_sending, "sending"),
        (sa.not_(is_sendable), "held"),
        (oldest.c.next_attempt_at > at, "waiting"),
        else_="due",
    ).label("kind")
    statement = (
        sa.select(
            kind,
            sa.func.count().label("number"),
            sa.func.min(oldest.c.created_at).label("oldest_at"),
            sa.func.min(oldest.c.claimed_at).label("claimed_at"),
            sa.func.min(oldest.c.lease_until).label("lease_until"),
        )
        .select_from(oldest.join(notifiers, notifiers.c.id == oldest.c.notifier_id))
        .group_by(kind)
    )
    rows = {row.kind: row for row in connection.execute(statement)}
    counts: dict[str, int] = {name: row.number for name, row in rows.items()}
    pending = [rows[name].oldest_at for name in ("due", "waiting") if name in rows]
    leased = [rows[name] for name in ("sending", "late") if name in rows]
    return Queue(
        due=counts.get("due", 0),
        waiting=counts.get("waiting", 0),
        held=counts.get("held", 0),
        sending=counts.get("sending", 0),
        late=counts.get("late", 0),
        is_whole=sum(counts.values()) <= LOOKED_AT,
        oldest_at=min(pending, default=None),
        oldest_claimed_at=min((row.claimed_at for row in leased), default=None),
        next_lease_end=min((row.lease_until for row in leased), default=None),
    )


def list_stopped(connection: sa.Connection, *, before: str | None, limit: int) -> list[Stopped]:
    """The newest first."""
    where: list[sa.ColumnElement[bool] | sa.TextClause] = [sa.text(IS_STOPPED), notifiers.c.removed_at.is_(None)]
    if before is not None:
        where.append(notifiers.c.id < before)
    statement = (
        sa.select(notifiers, apps.c.name.label("app"))
        .join(apps, apps.c.id == notifiers.c.app_id)
        .where(*where)
        .order_by(notifiers.c.id.desc())
        .limit(limit)
    )
    return [
        Stopped(
            id=row.id,
            name=row.name,
            app=row.app,
            platform=row.platform,
            state=NotifierState(row.state),
            reason=row.state_reason,
            since=row.failing_since,
            until=row.held_until,
        )
        for row in connection.execute(statement)
    ]


def list_workers(connection: sa.Connection) -> Sequence[Worker] | None:
    """The processes that deliver; None where there is one alone, on a file."""
    if connection.dialect.name == "sqlite":
        return None
    rows = connection.execute(sa.text(FIND_WORKERS), {"name": WORKER_NAME})
    return [Worker(pid=row.pid, address=row.address, since=row.since) for row in rows]


def describe_database(connection: sa.Connection) -> Database:
    schema = MigrationContext.configure(connection).get_current_revision() or ""
    if connection.dialect.name == "sqlite":
        return _describe_file(connection, schema)
    row = connection.execute(
        sa.text("SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS size")
    ).one()
    return Database(product="PostgreSQL", version=row.version, schema=schema, size_bytes=row.size)


def _describe_file(connection: sa.Connection, schema: str) -> Database:
    path = Path(connection.exec_driver_sql("PRAGMA database_list").one().file)
    log = path.with_name(f"{path.name}-wal")
    return Database(
        product="SQLite",
        version=connection.exec_driver_sql("SELECT sqlite_version()").scalar_one(),
        schema=schema,
        size_bytes=path.stat().st_size,
        log_bytes=log.stat().st_size if log.exists() else 0,
        free_bytes=measure_room(path.parent).free,
    )
