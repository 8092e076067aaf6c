"""A look into an installation's database on PostgreSQL, past Tocsin."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg

from tests.load import EVENT_TYPE


class Look:
    """What tests ask an installation's database, past Tocsin."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def value(self, sql: str, *parameters: object) -> Any:
        connection = await asyncpg.connect(self._url)
        try:
            return await connection.fetchval(sql, *parameters)
        finally:
            await connection.close()

    async def events(self) -> int:
        """How many events of a producer were accepted."""
        found: int = await self.value("SELECT count(*) FROM events WHERE type = $1", EVENT_TYPE)
        return found

    async def doubtful_attempts(self) -> int:
        """How many attempts a receiver that takes everything may have got, although they did not count."""
        found: int = await self.value("SELECT count(*) FROM attempts WHERE outcome <> 'delivered'")
        return found

    async def lost_leases(self) -> int:
        """How many attempts were under way, or about to be, when their worker ended."""
        found: int = await self.value("SELECT count(*) FROM attempts WHERE outcome = 'unknown'")
        return found

    async def age_leases(self, seconds: float) -> None:
        """Let time pass for those who are gone."""
        earlier = "UPDATE deliveries SET lease_until = lease_until - $1::interval WHERE state = 'sending'"
        await self.value(earlier, timedelta(seconds=seconds))

    async def all_finished(self, *, within_seconds: float = 10) -> dict[str, int]:
        """How many of a producer's events ended in which state, once no delivery is left to be made."""
        connection = await asyncpg.connect(self._url)
        try:
            async with asyncio.timeout(within_seconds):
                while await connection.fetchval("SELECT count(*) FROM deliveries"):
                    await asyncio.sleep(0.05)  # the last outcomes are being written, which nothing tells
            ended = "SELECT state, count(*) FROM finished_deliveries WHERE event_type = $1 GROUP BY state"
            rows = await connection.fetch(ended, EVENT_TYPE)
        finally:
            await connection.close()
        return {row["state"]: row["count"] for row in rows}
