"""Waiting for deliveries without sleeping."""

import asyncio

from tests.line import Line


async def count(line: Line, state: str) -> int:
    """How many deliveries are in this state, once what is under way at this moment has ended."""
    await line.running.worker.settled()
    response = await line.client.get("/v1/apps/my-app/deliveries", params={"state": state, "per_page": 1})
    total: int = response.json()["meta"]["pagination"]["total_count"]
    return total


async def all_finished(line: Line) -> int:
    """How many were delivered, once no delivery is left to be made: each look waits for what is under way."""
    async with asyncio.timeout(60):
        while await count(line, "pending") + await count(line, "sending"):
            continue
    return await count(line, "delivered")
