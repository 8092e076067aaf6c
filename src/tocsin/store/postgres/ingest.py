"""Storing a batch of requests on PostgreSQL: one statement for all their rows, in a transaction where keys are used."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import sqlalchemy as sa

from tocsin.errors import StoreError
from tocsin.store import notifiers as notifier_verbs
from tocsin.store.intake import Intake, Row
from tocsin.store.port import Accepted, AppRoutes, Dispatch, NewEvents
from tocsin.store.postgres.connections import Connection, Link, is_lost, is_to_repeat
from tocsin.store.schema import apps

TRIES = 5

# `stale` names the apps whose routes have changed since they were read: then nothing is stored, and all is decided
# anew. Event, deliveries, keys and fan-outs stand and fall together, for they are one statement.
INSERT = """
WITH stale AS (
    SELECT known.app_id FROM unnest($1::text[], $2::int[]) AS known(app_id, version)
      LEFT JOIN apps ON apps.id = known.app_id
     WHERE apps.routes_version IS DISTINCT FROM known.version
), new_events AS (
    INSERT INTO events (id, app_id, user_id, type, received_at, body)
    SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::bytea[])
     WHERE NOT EXISTS (SELECT FROM stale)
), new_deliveries AS (
    INSERT INTO deliveries (id, app_id, event_id, event_type, notifier_id, state, attempt_count, next_attempt_at,
                            lease_token, claimed_at, lease_until, created_at, expires_at)
    SELECT * FROM unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int[],
                         $16::timestamptz[], $17::text[], $18::timestamptz[], $19::timestamptz[], $20::timestamptz[],
                         $21::timestamptz[])
     WHERE NOT EXISTS (SELECT FROM stale)
), new_fanouts AS (
    INSERT INTO fanouts (event_id, app_id, notifier_ids, done_count, created_at)
    SELECT event_id, app_id, notifier_ids::json, done_count, created_at
      FROM unnest($22::text[], $23::text[], $24::text[], $25::int[], $26::timestamptz[])
        AS owed(event_id, app_id, notifier_ids, done_count, created_at)
     WHERE NOT EXISTS (SELECT FROM stale)
)
SELECT app_id FROM stale"""
# Whoever inserts a key first has it: another request with the same key waits here until that is decided.
TAKE_KEYS = """
INSERT INTO idempotency_keys (app_id, key, request_hash, event_ids, created_at)
SELECT app_id, key, '', '', now() FROM unnest($1::text[], $2::text[]) AS wanted(app_id, key)
    ON CONFLICT DO NOTHING
RETURNING app_id, key"""
FIND_KEYS = """
SELECT app_id, key, request_hash, event_ids FROM idempotency_keys
  JOIN unnest($1::text[], $2::text[]) AS wanted(app_id, key) USING (app_id, key)"""
FIND_BODIES = "SELECT id, body FROM events WHERE id = ANY($1::text[])"
KEEP_KEYS = """
INSERT INTO idempotency_keys (app_id, key, request_hash, event_ids, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::timestamptz[])
    ON CONFLICT (app_id, key) DO UPDATE
   SET request_hash = excluded.request_hash, event_ids = excluded.event_ids, created_at = excluded.created_at"""
DROP_KEYS = """
DELETE FROM idempotency_keys USING unnest($1::text[], $2::text[]) AS unused(app_id, key)
 WHERE idempotency_keys.app_id = unused.app_id AND idempotency_keys.key = unused.key"""
FIND_ANY = "SELECT id FROM events WHERE id = $1"

EVENT_WIDTH, DELIVERY_WIDTH, FANOUT_WIDTH, KEY_WIDTH = 6, 13, 5, 5

Routes = tuple[int, AppRoutes]
LoadRoutes = Callable[[list[str]], Awaitable[dict[str, Routes]]]
Key = tuple[str, str]

NOWHERE: Routes = (-1, AppRoutes((), ()))
"""The routes of an app that is not there."""

REMEMBERED_APPS = 10_000


def load_routes(connection: sa.Connection, app_ids: Sequence[str]) -> dict[str, Routes]:
    """The routes of apps with the number that changes when they do."""
    versions = connection.execute(sa.select(apps.c.id, apps.c.routes_version).where(apps.c.id.in_(app_ids)))
    return {row.id: (row.routes_version, notifier_verbs.get_routes(connection, row.id)) for row in versions}


class _Found:
    """`tocsin.store.intake.Stored`, looked up beforehand."""

    def __init__(self, routes: dict[str, Routes]) -> None:
        self._routes = routes
        self.keys: dict[Key, tuple[bytes, list[str]]] = {}
        self.bodies: dict[str, bytes] = {}

    def find_key(self, app_id: str, key: str) -> tuple[bytes, list[str]] | None:
        return self.keys.get((app_id, key))

    def find_body(self, event_id: str) -> bytes | None:
        return self.bodies.get(event_id)

    def routes_of(self, app_id: str) -> AppRoutes:
        return self._routes[app_id][1]


class _Plan:
    """A batch as it is about to be stored, and how what it took in memory is given back."""

    def __init__(self) -> None:
        self.results: list[Accepted | Exception] = []
        self.event_id: str | None = None
        self._undo: list[Callable[[], None]] = []

    def fill(self, found: _Found, batch: list[NewEvents], dispatch: Dispatch) -> Intake:
        intake = Intake(found, dispatch=dispatch, instant=_as_is, undo=self._undo)
        self.results = [intake.add(new) for new in batch]
        self.event_id = intake.events[0][0] if intake.events else None
        return intake

    def take_back(self) -> None:
        for step in reversed(self._undo):
            step()
        self._undo.clear()


class _Stale(Exception):
    """The routes of these apps have changed since they were read."""

    def __init__(self, app_ids: list[str]) -> None:
        super().__init__()
        self.app_ids = app_ids


class Ingest:
    """Stores batches of requests. Remembers apps' routes; each batch checks that they are as the database has them."""

    def __init__(self, link: Link, dispatch: Dispatch, load: LoadRoutes) -> None:
        self._link = link
        self._dispatch = dispatch
        self._load = load
        self._routes: dict[str, Routes] = {}

    async def add_events(self, batch: list[NewEvents]) -> list[Accepted | Exception]:
        """Store a batch, all or none."""
        plan = _Plan()
        try:
            await self._store_anew(batch, plan)
        except Exception as error:
            if is_lost(error):
                return await self._make_sure(batch, plan)
            plan.take_back()
            raise
        return plan.results

    async def _make_sure(self, batch: list[NewEvents], unsure: _Plan) -> list[Accepted | Exception]:
        """The connection was lost while this was being stored: find out whether it was, and if not, store it."""
        plan = _Plan()
        try:
            if await self._is_stored(unsure):
                return unsure.results
            await self._store_anew(batch, plan)
        except BaseException as error:
            plan.take_back()
            # What was on its way when the connection was lost may have come through after all.
            if isinstance(error, asyncpg.UniqueViolationError) and await self._is_stored(unsure):
                return unsure.results
            unsure.take_back()
            raise
        unsure.take_back()
        return plan.results

    async def _store_anew(self, batch: list[NewEvents], plan: _Plan) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._store(batch, plan)
            except _Stale as stale:
                plan.take_back()
                for app_id in stale.app_ids:
                    self._routes.pop(app_id, None)
            except Exception as error:
                if not (tries_left and is_to_repeat(error)):
                    raise
                plan.take_back()
        raise StoreError("the database cannot store this: notifiers are changed all the time")

    async def _is_stored(self, plan: _Plan) -> bool:
        if plan.event_id is None:
            return False

        async def look(connection: Connection) -> bool:
            found: str | None = await connection.fetchval(FIND_ANY, plan.event_id)
            return found is not None

        return await self._link.run(look, is_one_statement=True)

    async def _store(self, batch: list[NewEvents], plan: _Plan) -> None:
        app_ids = {event.app_id for new in batch for event in new.events if event.app_id is not None}
        routes = await self._routes_of(app_ids)
        keys = sorted({key for new in batch for key in _keys_of(new)})

        async def work(connection: Connection) -> None:
            found = _Found(routes)
            taken = await _take_keys(connection, keys, found) if keys else set()
            intake = plan.fill(found, batch, self._dispatch)
            stale = await connection.fetch(INSERT, *_parameters(intake, routes))
            if stale:
                raise _Stale([row["app_id"] for row in stale])
            if keys:
                await _keep_keys(connection, intake, taken)

        await self._link.run(work, is_one_statement=not keys)

    async def _routes_of(self, app_ids: set[str]) -> dict[str, Routes]:
        missing = [app_id for app_id in app_ids if app_id not in self._routes]
        if missing:
            self._routes |= await self._load(missing)
        routes = {app_id: self._routes.get(app_id, NOWHERE) for app_id in app_ids}
        while len(self._routes) > REMEMBERED_APPS:
            del self._routes[next(iter(self._routes))]
        return routes


def _parameters(intake: Intake, routes: dict[str, Routes]) -> list[Any]:
    versions = [(app_id, version) for app_id, (version, _) in routes.items() if version != NOWHERE[0]]
    return [
        *columns(versions, 2),
        *columns(intake.events, EVENT_WIDTH),
        *columns(intake.deliveries, DELIVERY_WIDTH),
        *columns(intake.fanouts, FANOUT_WIDTH),
    ]


async def _take_keys(connection: Connection, keys: list[Key], found: _Found) -> set[Key]:
    """Make the keys ours that nobody has, and note in `found` what is known of the others."""
    taken = {tuple(row) for row in await connection.fetch(TAKE_KEYS, *columns(keys, 2))}
    others = [key for key in keys if key not in taken]
    if others:
        for row in await connection.fetch(FIND_KEYS, *columns(others, 2)):
            found.keys[row["app_id"], row["key"]] = (row["request_hash"], row["event_ids"].split(" "))
        event_ids = [event_id for _, ids in found.keys.values() for event_id in ids]
        found.bodies.update({row["id"]: row["body"] for row in await connection.fetch(FIND_BODIES, event_ids)})
    return taken


async def _keep_keys(connection: Connection, intake: Intake, taken: set[Key]) -> None:
    """Write what the keys stand for, and give back those that were not needed."""
    if intake.keys:
        await connection.execute(KEEP_KEYS, *columns(intake.keys, KEY_WIDTH))
    unused = taken - {(row[0], row[1]) for row in intake.keys}
    if unused:
        await connection.execute(DROP_KEYS, *columns(sorted(unused), 2))


def _keys_of(new: NewEvents) -> Iterable[Key]:
    if new.idempotency is not None:
        yield new.app_id, new.idempotency.key
    for event in new.events:
        if event.dedup_key is not None and event.app_id is not None:
            yield event.app_id, event.dedup_key


def columns(rows: Sequence[Row], width: int) -> list[list[Any]]:
    """Rows as one list a column, as `unnest` takes them."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _as_is(at: datetime) -> datetime:
    return at
