"""Settling a batch of attempts on PostgreSQL in one statement, each fenced by its lease."""

from typing import Any

from tocsin.errors import StoreError
from tocsin.store.port import Settlement
from tocsin.store.postgres.connections import Connection, Link, is_lost, is_to_repeat
from tocsin.store.postgres.ingest import columns

TRIES = 3

# Rows that somebody else has locked are left out, so that the others need not wait. A delivery that has ended moves
# to the history; one that is to be tried again stays. Gives the deliveries that were settled.
# Rows are found by their keys whatever is estimated: the plan is kept, and may have been made for an empty table.
SETTLE = """
WITH ended AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                         $7::int[], $8::timestamptz[], $9::int[], $10::text[], $11::text[], $12::int[], $13::text[],
                         $14::text[])
        AS ended(id, token, state, reason, next_at, finished_at, number, started_at, duration_ms, outcome,
                 attempt_reason, response_status, response_body, error)
), held AS MATERIALIZED (
    SELECT ended.*, found.* FROM ended CROSS JOIN LATERAL (
        SELECT app_id, event_id, event_type, notifier_id, attempt_count, created_at, expires_at, replay_of
          FROM deliveries
         WHERE deliveries.id = ended.id AND deliveries.lease_token = ended.token AND deliveries.state = 'sending'
        OFFSET 0 FOR UPDATE SKIP LOCKED) AS found
), gone AS (
    DELETE FROM deliveries WHERE id = ANY(ARRAY(SELECT held.id FROM held WHERE held.finished_at IS NOT NULL))
), history AS (
    INSERT INTO finished_deliveries (id, app_id, event_id, event_type, notifier_id, state, reason, attempt_count,
                                     created_at, expires_at, finished_at, replay_of)
    SELECT id, app_id, event_id, event_type, notifier_id, state, reason, attempt_count, created_at, expires_at,
           finished_at, replay_of
      FROM held WHERE finished_at IS NOT NULL
), kept AS (
    UPDATE deliveries SET state = 'pending', lease_token = NULL, lease_until = NULL, lost_lease_count = 0,
                          next_attempt_at = (SELECT held.next_at FROM held WHERE held.id = deliveries.id)
     WHERE id = ANY(ARRAY(SELECT held.id FROM held WHERE held.finished_at IS NULL))
), noted AS (
    INSERT INTO attempts (delivery_id, number, started_at, duration_ms, outcome, reason, response_status,
                          response_body, error)
    SELECT id, number, started_at, duration_ms, outcome, attempt_reason, response_status, response_body, error
      FROM held
)
SELECT id, token FROM held"""
# Of those that were not settled: recorded by an earlier try whose answer got lost; locked by somebody; or lost.
EXAMINE = """
SELECT asked.id, asked.token,
       EXISTS (SELECT FROM attempts WHERE attempts.delivery_id = asked.id AND attempts.number = asked.number
                  AND attempts.started_at = asked.started_at AND attempts.outcome <> 'unknown') AS is_recorded,
       EXISTS (SELECT FROM deliveries WHERE deliveries.id = asked.id AND deliveries.lease_token = asked.token
                  AND deliveries.state = 'sending') AS is_held
  FROM unnest($1::text[], $2::text[], $3::int[], $4::timestamptz[]) AS asked(id, token, number, started_at)"""
LATE = """
UPDATE attempts SET duration_ms = late.duration_ms, response_status = late.response_status,
                    response_body = late.response_body, error = late.error
  FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::text[], $6::text[])
       AS late(delivery_id, number, duration_ms, response_status, response_body, error)
 WHERE attempts.delivery_id = late.delivery_id AND attempts.number = late.number AND attempts.outcome = 'unknown'"""


class Settlements:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def settle(self, batch: list[Settlement]) -> list[bool | Exception]:
        """True for what was recorded, now or by an earlier try; False for a lost lease; an error for a locked row."""
        for tries_left in reversed(range(TRIES)):
            try:
                return await self._settle(batch)
            except Exception as error:
                if not tries_left or not (is_to_repeat(error) or is_lost(error)):
                    raise
        raise AssertionError

    async def _settle(self, batch: list[Settlement]) -> list[bool | Exception]:
        rows = columns([_values(settlement) for settlement in batch], 14)

        async def work(connection: Connection) -> set[tuple[str, str]]:
            return {(row["id"], row["token"]) for row in await connection.fetch(SETTLE, *rows)}

        settled = await self._link.run(work, is_one_statement=True)
        # A delivery may stand in a batch under two leases, of which one is lost.
        rest = [settlement for settlement in batch if (settlement.delivery_id, settlement.lease_token) not in settled]
        answers = await self._examine(rest) if rest else {}
        return [answers.get((settlement.delivery_id, settlement.lease_token), True) for settlement in batch]

    async def _examine(self, rest: list[Settlement]) -> dict[tuple[str, str], bool | Exception]:
        asked = [(one.delivery_id, one.lease_token, one.attempt.number, one.attempt.started_at) for one in rest]
        answers: dict[tuple[str, str], bool | Exception] = {}

        async def work(connection: Connection) -> None:
            for row in await connection.fetch(EXAMINE, *columns(asked, 4)):
                locked = StoreError("the delivery is locked by another transaction")
                answers[row["id"], row["token"]] = row["is_recorded"] or (locked if row["is_held"] else False)
            late = [
                _late_values(settlement)
                for settlement in rest
                if answers[settlement.delivery_id, settlement.lease_token] is False
            ]
            if late:
                await connection.execute(LATE, *columns(late, 6))

        await self._link.run(work)
        return answers


def _values(settlement: Settlement) -> tuple[Any, ...]:
    attempt = settlement.attempt
    return (
        settlement.delivery_id,
        settlement.lease_token,
        settlement.state.value,
        None if settlement.reason is None else settlement.reason.value,
        settlement.next_attempt_at,
        settlement.finished_at,
        attempt.number,
        attempt.started_at,
        attempt.duration_ms,
        attempt.outcome.value,
        None if attempt.reason is None else attempt.reason.value,
        attempt.response_status,
        _text(attempt.response_body),
        _text(attempt.error),
    )


def _late_values(settlement: Settlement) -> tuple[Any, ...]:
    attempt = settlement.attempt
    error = f"its lease was lost; came late: {attempt.error or attempt.outcome.value}"
    return (
        settlement.delivery_id,
        attempt.number,
        attempt.duration_ms,
        attempt.response_status,
        _text(attempt.response_body),
        _text(error),
    )


def _text(value: str | None) -> str | None:
    """PostgreSQL keeps no zero character in a text."""
    return value if value is None else value.replace("\0", "\ufffd")
