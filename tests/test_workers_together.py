"""Two workers on one database: what holds for all of them together, end to end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.line import PUBLIC_URL, Line, receiving, straight_line
from tests.processes import SECRET_KEY
from tests.test_waiting_in_line import Gate, gate
from tocsin.clock import ManualClock
from tocsin.settings import Role, Settings
from tocsin.wiring import LIMITS, Running, build

EVENTS = 80


@asynccontextmanager
async def two_workers(tmp_path: Path, url: str, clock: ManualClock) -> AsyncIterator[tuple[Line, Running]]:
    """A line on PostgreSQL, and a second worker, once each sees the other."""
    given: dict[str, Any] = {"database_url": url, "secret_key": SECRET_KEY, "egress_allow": "127.0.0.1"}
    async with straight_line(tmp_path, clock=clock, **given) as line:
        settings = Settings(**given, metrics_listen=None)
        other = await build(settings, public_url=PUBLIC_URL, clock=clock, role=Role.WORKER)
        work = asyncio.create_task(other.run())
        try:
            async with asyncio.timeout(20):
                for store in (other.store, line.running.store):
                    while store.share()[0] < 2:
                        store._signals.look_soon()
                        await line.deliveries()
            yield line, other
        finally:
            await other.drain()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await other.close()


async def post(line: Line, count: int) -> None:
    events = [{"type": "deployment", "type_data": {}}] * count
    assert (await line.client.post("/v1/apps/my-app/events", json={"events": events})).status_code == 201


async def look_again(line: Line, other: Running, clock: ManualClock) -> None:
    """Let both workers claim what they may; what is another's for a moment is any's after that."""
    clock.advance(0.2)
    for running in (line.running, other):
        running.worker.wake()
        while running.worker._is_stale:
            await asyncio.sleep(0)
        async with running.worker._in_round:
            pass


async def until_answered(line: Line, receiver: Gate, count: int, other: Running, clock: ManualClock) -> None:
    async with asyncio.timeout(20):
        while receiver.came < count:
            await look_again(line, other, clock)


async def test_the_cap_of_a_notifier_holds_over_both(tmp_path: Path, postgres_url: str) -> None:
    clock = ManualClock()
    async with gate() as receiver, two_workers(tmp_path, postgres_url, clock) as (line, other):
        await line.add_notifier(type_data={"webhook_url": receiver.url}, selected_events=["app_deployed"])
        receiver.is_open.set()
        await post(line, EVENTS)
        await until_answered(line, receiver, EVENTS, other, clock)
        for running in (line.running, other):
            await running.worker.settled()
        receiver.is_open.clear()
        receiver.came = 0
        await post(line, EVENTS)
        await until_answered(line, receiver, LIMITS.per_notifier, other, clock)
        for _ in range(5):
            await look_again(line, other, clock)
        assert receiver.came == LIMITS.per_notifier
        assert line.running.worker._lanes.under_way == other.worker._lanes.under_way == LIMITS.per_notifier // 2
        receiver.is_open.set()
        await until_answered(line, receiver, EVENTS, other, clock)


async def test_a_rate_holds_over_both(tmp_path: Path, postgres_url: str) -> None:
    clock = ManualClock()
    async with receiving() as receiver, two_workers(tmp_path, postgres_url, clock) as (line, other):
        await line.add_notifier(
            type_data={"webhook_url": receiver.url},
            selected_events=["app_deployed"],
            send_all_events=False,
            rate_per_second=0.1,
        )
        await post(line, 4)
        for sent in range(1, 5):
            async with asyncio.timeout(20):
                while len(receiver.got) < sent:
                    await look_again(line, other, clock)
            for _ in range(3):
                await look_again(line, other, clock)
            for running in (line.running, other):
                await running.worker.settled()
            page = await line.client.get("/v1/apps/my-app/deliveries")
            states = Counter((one["state"], one["attempt_count"]) for one in page.json()["deliveries"])
            assert states == Counter({("delivered", 1): sent, ("pending", 0): 4 - sent})
            clock.advance(9.5)
