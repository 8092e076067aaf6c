"""Deliveries that are leased but wait for their turn: they go back uncounted when something changes meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.line import Line, answer, straight_line
from tocsin.clock import ManualClock
from tocsin.store.port import Claimed
from tocsin.wiring import LIMITS

EVENTS = 40
WARM_UP = LIMITS.per_notifier.bit_length() - 1  # each doubles what a new notifier is sent at once, from 1
WAITING = EVENTS - LIMITS.per_notifier


@dataclass
class Gate:
    """A receiver that answers nobody while it is closed; `is_full` once every attempt allowed at once has come."""

    url: str = ""
    came: int = 0
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
                self.came += 1
                if self.came >= LIMITS.per_notifier:
                    self.is_full.set()
                await self.is_open.wait()
                writer.write(answer(204))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        self.writers.discard(writer)


@asynccontextmanager
async def gate() -> AsyncIterator[Gate]:
    closed = Gate()
    server = await asyncio.start_server(closed.serve, "127.0.0.1", 0)
    closed.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    yield closed
    closed.is_open.set()
    server.close()
    while closed.writers:
        for writer in list(closed.writers):
            writer.close()
        await asyncio.sleep(0)


async def fill(line: Line, receiver: Gate) -> str:
    """A notifier with more events than may be sent at once; answers with its path, once the receiver is full."""
    wish = {
        "platform_id": "5982f145d48c3600273ef08a",
        "name": "slow",
        "selected_events": ["app_deployed", "app_restarted"],
        "type_data": {"webhook_url": receiver.url},
    }
    made = await line.client.post("/v1/apps/my-app/notifiers", json={"notifier": wish})
    receiver.is_open.set()
    for _ in range(WARM_UP):
        await line.post("restart")
        await line.running.worker.settled()
    receiver.is_open.clear()
    receiver.came = 0
    events = [{"type": "deployment", "type_data": {}}] * EVENTS
    await line.client.post("/v1/apps/my-app/events", json={"events": events})
    await receiver.is_full.wait()
    return f"/v1/apps/my-app/notifiers/{made.json()['notifier']['id']}"


async def states(line: Line) -> Counter[tuple[str, int]]:
    """How many deliveries there are of each state and attempt count; but for those that came to warm up."""
    page = await line.client.get("/v1/apps/my-app/deliveries", params={"per_page": 100})
    found = [one for one in page.json()["deliveries"] if one["event_type"] == "deployment"]
    return Counter((one["state"], one["attempt_count"]) for one in found)


async def until(line: Line, wanted: Counter[tuple[str, int]]) -> None:
    async with asyncio.timeout(10):
        while await states(line) != wanted:
            pass  # each look is a turn of the loop and of the store


async def test_pausing_gives_back_what_was_not_begun(tmp_path: Path) -> None:
    async with gate() as receiver, straight_line(tmp_path) as line:
        path = await fill(line, receiver)
        assert await states(line) == Counter({("sending", 1): EVENTS})
        await line.client.post(f"{path}/pause")
        await until(line, Counter({("sending", 1): EVENTS - WAITING, ("pending", 0): WAITING}))
        receiver.is_open.set()
        await until(line, Counter({("delivered", 1): EVENTS - WAITING, ("pending", 0): WAITING}))
        await line.client.post(f"{path}/resume")
        await until(line, Counter({("delivered", 1): EVENTS}))
        assert receiver.came == EVENTS


async def test_turning_a_notifier_off_cancels_what_was_not_begun(tmp_path: Path) -> None:
    async with gate() as receiver, straight_line(tmp_path) as line:
        path = await fill(line, receiver)
        await line.client.patch(path, json={"notifier": {"active": False}})
        # Giving them back calls upkeep, which ends them at once.
        await until(line, Counter({("sending", 1): EVENTS - WAITING, ("cancelled", 0): WAITING}))
        receiver.is_open.set()


async def test_a_stop_gives_back_what_was_not_begun(tmp_path: Path) -> None:
    async with gate() as receiver, straight_line(tmp_path) as line:
        await fill(line, receiver)
        await line.running.worker.drain(patience_seconds=0.01)
        assert await states(line) == Counter({("pending", 1): EVENTS - WAITING, ("pending", 0): WAITING})


async def test_what_waited_too_long_under_its_lease_is_claimed_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    async with gate() as receiver, straight_line(tmp_path, clock=clock) as line:
        await fill(line, receiver)
        store, anew = line.running.store, []
        claim = store.claim

        async def claim_and_note(slots: Mapping[str, int]) -> Claimed:
            claimed = await claim(slots)
            anew.extend(claimed.claims)
            return claimed

        store.claim = claim_and_note  # type: ignore[method-assign]  # to see what is claimed
        clock.advance(30)
        receiver.is_open.set()
        await until(line, Counter({("delivered", 1): EVENTS}))
        assert receiver.came == EVENTS
        assert len(anew) == WAITING
