"""What the doctor looks at when the database is PostgreSQL: what the server tells of itself, and the way to it."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from tocsin.clock import SharedClock
from tocsin.doctor.finding import MADE_AT, Check, Finding
from tocsin.errors import TocsinError
from tocsin.keyring import parse_keys
from tocsin.settings import Settings
from tocsin.store.postgres.connections import OLDEST_VERSION, Address
from tocsin.store.postgres.examination import CONNECTIONS_BESIDE_POOL, DatabaseFacts, examine_database

CLOCK_TOLERANCE_SECONDS = 2.0


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks look at."""

    settings: Settings
    facts: DatabaseFacts
    clock: SharedClock
    place: str


def list_checks(settings: Settings) -> Mapping[str, Check]:
    """The checks by name, in the order in which they are shown; few when the database cannot be reached."""
    own: dict[str, Check] = {"key": partial(_key, settings)}
    address = Address(url=settings.database_url, is_pooled=settings.database_direct_url is not None)
    direct = Address(url=settings.database_direct_url or settings.database_url)
    clock = SharedClock()
    try:
        facts = asyncio.run(examine_database(address, direct, clock))
    except TocsinError as error:
        failure = Finding("FAIL", error.message)
        return {"database": lambda: failure, **own}
    scene = Scene(settings=settings, facts=facts, clock=clock, place=str(address))
    return {**{name: partial(check, scene) for name, check in _CHECKS.items()}, **own}


def _database(scene: Scene) -> Finding:
    view = scene.facts.stored
    text = f"PostgreSQL {view.version} at {scene.place}"
    if view.major < OLDEST_VERSION:
        return Finding("FAIL", f"{text} is too old: Tocsin needs {OLDEST_VERSION} or newer")
    if view.is_read_only:
        return Finding("FAIL", f"{text} takes no writes: is it a standby, or is default_transaction_read_only on?")
    if view.encoding != "UTF8":
        return Finding("FAIL", f"{text} is encoded as {view.encoding}: make one with ENCODING 'UTF8'")
    return Finding("ok", f"{text}, {view.size_bytes / (1 << 20):.0f} MiB")


def _schema(scene: Scene) -> Finding:
    schema = scene.facts.schema
    if schema.is_current:
        return Finding("ok", "current")
    if schema.is_newer:
        return Finding("FAIL", "made by a newer Tocsin: upgrade this one")
    if schema.is_empty:
        return Finding("ok", "there is none yet: the first start makes it")
    return Finding("FAIL", "of an older Tocsin: run tocsin migrate")


def _rights(scene: Scene) -> Finding:
    view = scene.facts.direct
    if not view.owns_tables:
        return Finding(
            "FAIL", "the tables belong to another role: connect as their owner, who makes and drops partitions"
        )
    if not view.may_add_tables:
        return Finding("FAIL", "the role may not make tables: let it own the database, or GRANT CREATE ON SCHEMA")
    return Finding("ok", "the role may make tables and change its own")


def _durability(scene: Scene) -> Finding:
    view = scene.facts.stored
    if view.loose_setting is not None:
        return Finding("FAIL", view.loose_setting)
    if not view.has_full_page_writes:
        return Finding("warn", "full_page_writes is off: unless the file system rules it out, a power cut tears pages")
    return Finding("ok", "commits are synced (fsync and synchronous_commit are on)")


def _partitions(scene: Scene) -> Finding:
    schema = scene.facts.schema
    if not schema.is_current:
        return Finding("ok", "looked at once the schema is current")
    if not schema.missing_partitions:
        return Finding("ok", "there for today and the days ahead")
    missing = schema.missing_partitions
    return Finding("warn", f"{len(missing)} missing, {missing[0]} the first: does any process run that delivers?")


def _vacuum(scene: Scene) -> Finding:
    if scene.facts.direct.is_vacuumed:
        return Finding("ok", "autovacuum is on")
    return Finding("warn", "autovacuum is off: what is under way is spread over ever more pages, and gets slow")


def _pooler(scene: Scene) -> Finding:
    facts = scene.facts
    if scene.settings.database_direct_url is None:
        if not facts.stored.is_through_pooler:
            return Finding("ok", "none")
        return Finding(
            "warn",
            "one stands before the database: set TOCSIN_DATABASE_DIRECT_URL, unless it pools whole sessions",
        )
    if facts.direct.is_through_pooler:
        return Finding("FAIL", "TOCSIN_DATABASE_DIRECT_URL leads to a pooler: it must lead past it")
    if facts.direct.identity != facts.stored.identity:
        return Finding("FAIL", "TOCSIN_DATABASE_URL and TOCSIN_DATABASE_DIRECT_URL lead to different databases")
    return Finding("ok", "TOCSIN_DATABASE_DIRECT_URL leads past it")


def _connections(scene: Scene) -> Finding:
    view = scene.facts.direct
    is_pooled = scene.settings.database_direct_url is not None
    # Through a pooler only the connection that listens counts here.
    needed = 1 if is_pooled else scene.settings.database_connections + CONNECTIONS_BESIDE_POOL
    text = (
        f"{view.connections} of {view.most_connections} in use, {view.connections_of_tocsin} by Tocsin; "
        f"{view.free_connections} more may be opened, and a process holds up to {needed}"
    )
    return Finding("ok" if view.free_connections >= needed else "warn", text)


def _clock(scene: Scene) -> Finding:
    now, ahead = scene.clock.now(), scene.facts.direct.clock_ahead_seconds
    if now < MADE_AT:
        return Finding("FAIL", f"the database's says {now:%Y-%m-%d %H:%M} UTC, which is long past: set the clock")
    text = f"{now:%Y-%m-%d %H:%M} UTC by the database"
    if abs(ahead) > CLOCK_TOLERANCE_SECONDS:
        side = "behind" if ahead > 0 else "ahead"
        return Finding(
            "warn", f"{text}; this machine's clock is {abs(ahead):.0f} s {side}, which its log and TLS will go by"
        )
    return Finding("ok", f"{text}, and here")


def _key(settings: Settings) -> Finding:
    if settings.secret_key is None:
        return Finding("FAIL", "TOCSIN_SECRET_KEY is not set: with PostgreSQL every process needs it, and the same")
    parse_keys(settings.secret_key)
    return Finding("ok", "from TOCSIN_SECRET_KEY")


_CHECKS: Mapping[str, Callable[[Scene], Finding]] = {
    "database": _database,
    "schema": _schema,
    "rights": _rights,
    "durability": _durability,
    "partitions": _partitions,
    "vacuum": _vacuum,
    "pooler": _pooler,
    "connections": _connections,
    "clock": _clock,
}
