"""Claiming due deliveries on PostgreSQL: several workers at once, each passing over what another has locked."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from tocsin.clock import Clock
from tocsin.model import Notifier
from tocsin.store.firsts import Chance, count_firsts
from tocsin.store.leases import SUSPECT_LOST_LEASES
from tocsin.store.port import Claim, Claimed, Dispatch
from tocsin.store.postgres.connections import BROKEN, Connection, Link, is_lost, is_to_repeat
from tocsin.store.postgres.ingest import columns

TRIES = 3
REMEMBERED_NOTIFIERS = 10_000
HOLD_OFF = timedelta(milliseconds=100)
"""How long what is another worker's to send is left to it, before whoever has a free slot may take it.

Measured: two workers that claim the same deliveries at once cost three times the database's time an event.
"""

# The version of a notifier's row (xmin: the transaction that wrote it) tells whether what is remembered of it holds.
_SENDABLE = """
WITH sendable AS MATERIALIZED (
    SELECT asked.notifier_id, asked.slots, asked.firsts, notifiers.xmin::text AS version
      FROM unnest($1::text[], $2::int[], $3::int[]) AS asked(notifier_id, slots, firsts)
      JOIN notifiers ON notifiers.id = asked.notifier_id AND notifiers.active AND notifiers.state = 'active'
)"""
# No join of `deliveries` with anything: whatever is estimated, each row is found by its key.
_LEASE = """, leased AS (
    UPDATE deliveries SET state = 'sending', attempt_count = attempt_count + 1, next_attempt_at = NULL,
                          lease_token = $4, claimed_at = $5, lease_until = $6
     WHERE id = ANY(ARRAY(SELECT due.id FROM due))
    RETURNING id, app_id, event_id, event_type, attempt_count, expires_at, notifier_id
)
SELECT leased.*, due.version, due.next_attempt_at,
       (SELECT body FROM events WHERE events.id = leased.event_id) AS body
  FROM leased JOIN due USING (id)"""
_IS_DUE = """notifier_id = sendable.notifier_id AND state = 'pending' AND next_attempt_at <= $5
                   AND (next_attempt_at <= $10 OR abs(hashtext(id)::bigint) % $8 = $9)"""
CLAIM = f"""{_SENDABLE}, due AS MATERIALIZED (
    SELECT found.id, found.next_attempt_at, sendable.version FROM sendable CROSS JOIN LATERAL (
        WITH firsts AS MATERIALIZED (
            SELECT id, next_attempt_at FROM deliveries
             WHERE {_IS_DUE}
                   AND attempt_count = 0
             ORDER BY next_attempt_at, id LIMIT sendable.firsts FOR UPDATE SKIP LOCKED
        )
        SELECT id, next_attempt_at FROM firsts UNION ALL SELECT id, next_attempt_at FROM (
            SELECT id, next_attempt_at FROM deliveries
             WHERE {_IS_DUE}
                   AND lost_lease_count < $7 AND id <> ALL(ARRAY(SELECT firsts.id FROM firsts))
             ORDER BY next_attempt_at, id LIMIT sendable.slots - (SELECT count(*) FROM firsts)
               FOR UPDATE SKIP LOCKED) AS longest_due) AS found
){_LEASE}"""  # noqa: S608 - made of constants
# What has lost so many leases that it may be what ends its workers is leased one at a time, in all processes together.
CLAIM_SUSPECT = f"""{_SENDABLE}, due AS MATERIALIZED (
    SELECT found.id, found.next_attempt_at, sendable.version FROM sendable CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM deliveries
         WHERE notifier_id = sendable.notifier_id AND state = 'pending' AND next_attempt_at <= $5
               AND (next_attempt_at <= $10 OR abs(hashtext(id)::bigint) % $8 = $9)
               AND lost_lease_count >= $7
               AND NOT EXISTS (SELECT FROM deliveries
                                WHERE state = 'sending' AND lost_lease_count >= $7)
         ORDER BY next_attempt_at, id LIMIT least(sendable.slots, 1) FOR UPDATE SKIP LOCKED) AS found
     ORDER BY found.next_attempt_at, found.id LIMIT 1
){_LEASE}"""  # noqa: S608 - made of constants
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('tocsin suspects'))"
NEXT_DUE = """
SELECT asked.id, (SELECT min(next_attempt_at) FROM deliveries
                   WHERE notifier_id = notifiers.id AND state = 'pending') AS due
  FROM unnest($1::text[]) AS asked(id)
  LEFT JOIN notifiers ON notifiers.id = asked.id AND notifiers.active AND notifiers.state = 'active'"""
# A claim that was broken off is undone before another is made, or on a stop: nobody would send what it leased.
FORGET = """
UPDATE deliveries SET state = 'pending', attempt_count = attempt_count - 1, next_attempt_at = claimed_at,
                      lease_token = NULL, lease_until = NULL
 WHERE state = 'sending' AND lease_token = $1"""

FindSendables = Callable[[Sequence[str]], Awaitable[Mapping[str, Notifier | None]]]
Release = Callable[[Sequence[tuple[str, str]], datetime], Awaitable[None]]


class Claims:
    """Claims, and remembers notifiers by the version of their rows."""

    def __init__(
        self,
        link: Link,
        *,
        clock: Clock,
        dispatch: Dispatch,
        chance: Chance,
        find_sendables: FindSendables,
        release: Release,
        give_up: Release,
        share: Callable[[], tuple[int, int]],
    ) -> None:
        """`give_up` ends deliveries of which nothing can be sent.

        `share` tells how many workers there are, and which of them, from 0, this one is.
        """
        self._link = link
        self._share = share
        self._clock = clock
        self._dispatch = dispatch
        self._chance = chance
        self._find_sendables = find_sendables
        self._release = release
        self._give_up = give_up
        self._notifiers: dict[str, tuple[str, Notifier | None]] = {}
        self._turn = asyncio.Lock()
        self._unfinished: str | None = None

    async def claim(self, slots: Mapping[str, int]) -> Claimed:
        """Lease what is due, at most as many deliveries of each notifier as given."""
        async with self._turn:
            return await self._claim(slots)

    async def close(self) -> None:
        """Undo a claim that was broken off, for there is no next one. While the database is away, its leases end."""
        async with self._turn:
            token, self._unfinished = self._unfinished, None
            if token is not None:
                with suppress(*BROKEN):
                    await self._link.run(lambda connection: connection.execute(FORGET, token), is_one_statement=True)

    async def _claim(self, slots: Mapping[str, int]) -> Claimed:
        is_again = self._unfinished is not None
        token = self._unfinished = self._unfinished or uuid.uuid4().hex
        for tries_left in reversed(range(TRIES)):
            now = self._clock.now()
            try:
                rows, next_due = await self._lease(slots, token, now, is_again=is_again or tries_left < TRIES - 1)
            except Exception as error:
                if not tries_left or not (is_to_repeat(error) or is_lost(error)):
                    raise
            else:
                break
        rows.sort(key=lambda row: (row["next_attempt_at"], row["id"]))
        notifiers = await self._current({row["notifier_id"]: row["version"] for row in rows})
        unsent = [row for row in rows if row["notifier_id"] not in notifiers]
        if unsent:
            await self._release([(row["id"], token) for row in unsent], now)
        next_due |= dict.fromkeys(row["notifier_id"] for row in unsent)
        claims, unreadable = [], []
        for row in rows:
            notifier = notifiers.get(row["notifier_id"])
            if notifier is not None and row["body"] is not None:
                claims.append(_to_claim(row, notifier, token, now))
            elif row["notifier_id"] in notifiers:
                unreadable.append((row["id"], token))
        if unreadable:
            await self._give_up(unreadable, now)
        self._unfinished = None
        return Claimed(claims=tuple(claims), next_due=next_due)

    async def _lease(
        self, slots: Mapping[str, int], token: str, now: datetime, *, is_again: bool
    ) -> tuple[list[asyncpg.Record], dict[str, datetime | None]]:
        count, own = self._share()
        hold_off = HOLD_OFF if count > 1 else timedelta()
        whose = (count, own, now - hold_off)
        lease = (token, now, self._dispatch.lease_until(now), SUSPECT_LOST_LEASES, *whose)

        async def claim(connection: Connection) -> list[asyncpg.Record]:
            if is_again:
                await connection.execute(FORGET, token)
            asked = [(each, wanted, count_firsts(wanted, self._chance())) for each, wanted in slots.items()]
            found: list[asyncpg.Record] = await connection.fetch(CLAIM, *columns(asked, 3), *lease)
            return found

        async def claim_suspect(connection: Connection) -> list[asyncpg.Record]:
            await connection.execute(ONE_AT_A_TIME)
            found: list[asyncpg.Record] = await connection.fetch(CLAIM_SUSPECT, *columns(overdue, 3), *lease)
            return found

        async def look(connection: Connection) -> dict[str, datetime | None]:
            return {row["id"]: row["due"] for row in await connection.fetch(NEXT_DUE, list(left))}

        rows = await self._link.run(claim, is_one_statement=not is_again)
        left = dict(slots)
        for row in rows:
            left[row["notifier_id"]] -= 1
        left = {notifier_id: wanted for notifier_id, wanted in left.items() if wanted}
        if not left:
            return rows, {}
        next_due = await self._link.run(look, is_one_statement=True)
        # Due, and yet not given: another worker's for a moment, locked by it just now, or suspect.
        overdue = [(each, left[each], 0) for each, due in next_due.items() if due is not None and due <= now]
        if any(due is not None and due <= now - hold_off for due in next_due.values()):
            rows += await self._link.run(claim_suspect)
        next_due |= {each: now + hold_off for each, *_ in overdue if count > 1}
        return rows, next_due

    async def _current(self, versions: dict[str, str]) -> dict[str, Notifier | None]:
        """The notifiers as they are in these versions or newer; those that may not be sent to any more are missing.

        None stands for one that cannot be read.
        """
        known = {each: self._notifiers[each] for each in versions if each in self._notifiers}
        unknown = [each for each, version in versions.items() if each not in known or known[each][0] != version]
        found = await self._find_sendables(unknown) if unknown else {}
        for notifier_id in unknown:
            self._notifiers.pop(notifier_id, None)
        self._notifiers |= {each: (versions[each], notifier) for each, notifier in found.items()}
        current = {each: self._notifiers[each][1] for each in versions if each in self._notifiers}
        while len(self._notifiers) > REMEMBERED_NOTIFIERS:
            del self._notifiers[next(iter(self._notifiers))]
        return {each: one for each, one in current.items() if one is None or self._dispatch.may_send(one)}


def _to_claim(row: Any, notifier: Notifier, token: str, now: datetime) -> Claim:
    return Claim(
        delivery_id=row["id"],
        app_id=row["app_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        attempt=row["attempt_count"],
        lease_token=token,
        claimed_at=now,
        expires_at=row["expires_at"],
        notifier=notifier,
        body=row["body"],
    )
