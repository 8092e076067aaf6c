"""The floor's storage in PostgreSQL: one statement a batch, events on one connection and attempts on another."""

import asyncio
from datetime import UTC, datetime
from typing import Self

import asyncpg

from benchmarks.floor_store import DELIVERED, LEASE_SECONDS, PENDING, SENDING, Attempted, Batch, Committed

_SCHEMA = """
CREATE TABLE event (id bigint PRIMARY KEY, app_id int, created_at timestamptz, type text, type_data bytea);
CREATE TABLE delivery (
  id bigint PRIMARY KEY, event_id bigint, app_id int, notifier_id int, state int,
  attempt_count int, lease_until timestamptz, created_at timestamptz, finished_at timestamptz
);
CREATE INDEX delivery_by_notifier ON delivery (notifier_id, id);
CREATE INDEX delivery_by_lease ON delivery (lease_until) WHERE state = 1;
CREATE TABLE attempt (
  delivery_id bigint, number int, started_at timestamptz, duration_ms real, outcome text, status int,
  PRIMARY KEY (delivery_id, number)
);
"""
# A delivery is stored already leased to the one process there is; an app without a notifier (-1) has none.
_ADD = f"""
WITH given AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[], $5::bytea[], $6::int[])
    AS given (id, app_id, created_at, type, type_data, notifier_id)
), stored AS (
  INSERT INTO event SELECT id, app_id, created_at, type, type_data FROM given
)
INSERT INTO delivery
SELECT id, id, app_id, notifier_id, {SENDING}, 1, created_at + interval '{LEASE_SECONDS} s', created_at, NULL
  FROM given WHERE notifier_id >= 0"""
_SETTLE = f"""
WITH ended AS MATERIALIZED (
  SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::int[])
    AS ended (id, started_at, finished_at, status)
), tried AS (
  INSERT INTO attempt
  SELECT id, 1, started_at, extract(epoch FROM finished_at - started_at) * 1000,
         CASE WHEN status BETWEEN 200 AND 299 THEN 'delivered' ELSE 'retry' END, status FROM ended
)
UPDATE delivery SET state = CASE WHEN status BETWEEN 200 AND 299 THEN {DELIVERED} ELSE {PENDING} END,
                    lease_until = NULL, finished_at = ended.finished_at
  FROM ended WHERE delivery.id = ended.id AND state = {SENDING}"""


class PostgresWriter:
    writes_two_at_once = True

    def __init__(self, adding: asyncpg.Connection, settling: asyncpg.Connection) -> None:
        self._adding, self._settling = adding, settling
        self._writing: set[asyncio.Task[None]] = set()

    @classmethod
    async def connected(cls, url: str) -> Self:
        adding, settling = await asyncpg.connect(url), await asyncpg.connect(url)
        await adding.execute(_SCHEMA)
        return cls(adding, settling)

    def write(self, batch: Batch, committed: Committed) -> None:
        task = asyncio.get_running_loop().create_task(self._write(batch, committed))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        await self._adding.close()
        await self._settling.close()

    async def _write(self, batch: Batch, committed: Committed) -> None:
        if batch.events:
            rows = [
                (
                    event.number,
                    event.app_id,
                    _instant(event.created_at),
                    event.type,
                    event.type_data,
                    -1 if event.host is None else event.host,
                )
                for event in batch.events
            ]
            await self._adding.execute(_ADD, *zip(*rows, strict=True))
        if batch.attempts:
            await self._settling.execute(_SETTLE, *zip(*map(_row, batch.attempts), strict=True))
        committed(batch)


def _row(attempt: Attempted) -> tuple[int, datetime, datetime, int]:
    return attempt.number, _instant(attempt.started_at), _instant(attempt.finished_at), attempt.status


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
