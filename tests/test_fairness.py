"""Nobody is blocked: receivers that hang, apps that flood, and notifiers with a rate, beside others, end to end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.line import Line, Receiver, answer, receiving, straight_line
from tocsin import wiring
from tocsin.clock import ManualClock
from tocsin.standings import LATE_SECONDS

WEBHOOK = "5982f145d48c3600273ef08a"
HANGING, HEALTHY = 12, 50


@dataclass
class Host:
    """One host and port whose paths beginning with /hang never answer; who came there, and who was answered."""

    url: str = ""
    hanging: set[str] = field(default_factory=set)
    answered: Counter[str] = field(default_factory=Counter)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        path = ""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
                path = head.split(" ")[1]
                async with self.came:
                    if path.startswith("/hang"):
                        self.hanging.add(path)
                    else:
                        self.answered[path] += 1
                        writer.write(answer(204))
                    self.came.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hanging.discard(path)
            writer.close()
        self.writers.discard(writer)

    async def wait_for(self, *, hanging: int = 0, answered: int = 0) -> None:
        async with asyncio.timeout(20), self.came:
            await self.came.wait_for(lambda: len(self.hanging) >= hanging and len(self.answered) >= answered)


@asynccontextmanager
async def a_host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield host
    server.close()
    while host.writers:
        for writer in list(host.writers):
            writer.close()
        await asyncio.sleep(0)


async def add(line: Line, url: str, app: str = "my-app", **changes: Any) -> None:
    wish = {"platform_id": WEBHOOK, "name": url[-20:], "selected_events": ["app_deployed"]}
    notifier = wish | {"type_data": {"webhook_url": url}} | changes
    response = await line.client.post(f"/v1/apps/{app}/notifiers", json={"notifier": notifier})
    assert response.status_code == 201, response.text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Tocsin of few slots, so that few notifiers are many."""
    limits = msgspec.structs.replace(wiring.LIMITS, fast=8, slow=4, per_host=4)
    monkeypatch.setattr(wiring, "LIMITS", limits)


@pytest.mark.usefixtures("small")
async def test_healthy_notifiers_get_their_messages_while_more_than_there_are_slots_hang_at_the_same_host(
    tmp_path: Path,
) -> None:
    async with a_host() as host, straight_line(tmp_path) as line:
        for number in range(HANGING):
            await add(line, f"{host.url}/hang{number}")
        for number in range(HEALTHY):
            await add(line, f"{host.url}/healthy{number}")
        await line.post("deployment")
        await host.wait_for(hanging=HANGING, answered=HEALTHY)
        assert len(host.hanging) == HANGING, "all of them hang still"
        for _ in range(2):
            host.answered.clear()
            await line.post("deployment")
            await host.wait_for(answered=HEALTHY)
        assert len(host.hanging) == HANGING
        assert max(host.answered.values()) == 1
        await line.running.worker.drain(patience_seconds=0)


@pytest.mark.usefixtures("small")
async def test_an_app_that_floods_leaves_slots_and_leases_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = msgspec.structs.replace(wiring.LIMITS, leases=16, slow_in_all=8, per_host=100)
    monkeypatch.setattr(wiring, "LIMITS", few)
    clock = ManualClock()
    async with a_host() as host, a_host() as other, straight_line(tmp_path, clock=clock) as line:
        assert (await line.client.post("/v1/apps", json={"app": {"name": "quiet"}})).status_code == 201
        for number in range(30):
            await add(line, f"{host.url}/hang{number}")
        await add(line, f"{other.url}/healthy", "quiet")
        events = [{"type": "deployment", "type_data": {}}] * 5
        assert (await line.client.post("/v1/apps/my-app/events", json={"events": events})).status_code == 201
        most = few.fast // 2 + few.slow_in_all // 2
        await host.wait_for(hanging=few.fast // 2)
        for _ in range(3):
            clock.advance(LATE_SECONDS)
            line.running.worker._lanes.sweep()
            line.running.worker._go_on()
            await look_again(line)
        await host.wait_for(hanging=most)
        assert line.running.worker._lanes.under_way == most
        for number in range(1, 6):
            event = {"event": {"type": "deployment", "type_data": {}}}
            assert (await line.client.post("/v1/apps/quiet/events", json=event)).status_code == 201
            async with asyncio.timeout(10), other.came:  # what hangs would give way after 15 s
                await other.came.wait_for(lambda number=number: other.answered["/healthy"] >= number)
        assert len(host.hanging) == most
        await line.running.worker.drain(patience_seconds=0)


async def states(line: Line) -> Counter[tuple[str, int]]:
    page = await line.client.get("/v1/apps/my-app/deliveries", params={"per_page": 100})
    return Counter((one["state"], one["attempt_count"]) for one in page.json()["deliveries"])


async def look_again(line: Line) -> None:
    """Let the worker read what is due, and claim what it may."""
    line.running.worker.wake()
    await line.claimed()


async def send_by_the_clock(line: Line, receiver: Receiver, clock: ManualClock, *, rate: float, burst: int) -> None:
    events = [{"type": "deployment", "type_data": {}}] * (burst + 4)
    assert (await line.client.post("/v1/apps/my-app/events", json={"events": events})).status_code == 201
    for sent in range(burst, burst + 4):
        await receiver.wait_for(sent)
        await look_again(line)
        await line.running.worker.settled()
        assert await states(line) == Counter({("delivered", 1): sent, ("pending", 0): burst + 4 - sent})
        clock.advance(0.9 / rate)
        await look_again(line)
        await line.running.worker.settled()
        assert len(receiver.got) == sent
        clock.advance(0.11 / rate)
        line.running.worker.wake()
    await receiver.wait_for(burst + 4)
    await line.running.worker.settled()
    assert await states(line) == Counter({("delivered", 1): burst + 4})


async def test_a_notifier_with_a_rate_gets_no_more_than_its_tokens_and_no_attempt_is_counted_meanwhile(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with receiving() as receiver, straight_line(tmp_path, clock=clock) as line:
        await add(line, receiver.url, rate_per_second=0.5)
        await send_by_the_clock(line, receiver, clock, rate=0.5, burst=1)


async def test_slack_gets_a_message_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    async with receiving(lambda _: answer(200, b"ok")) as receiver, straight_line(tmp_path, clock=clock) as line:
        await add(line, receiver.url, platform_id="5982f145d48c3600273ef089")
        await send_by_the_clock(line, receiver, clock, rate=1, burst=1)


async def test_a_rate_that_is_set_while_much_waits_counts_for_what_waits(tmp_path: Path) -> None:
    clock = ManualClock()
    async with receiving() as receiver, straight_line(tmp_path, clock=clock) as line:
        await add(line, receiver.url)
        for sent in range(1, 6):
            await line.post("deployment")
            await receiver.wait_for(sent)
            await line.running.worker.settled()
        [notifier] = (await line.client.get("/v1/apps/my-app/notifiers")).json()["notifiers"]
        path = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        await line.client.post(f"{path}/pause")
        events = [{"type": "deployment", "type_data": {}}] * 5
        await line.client.post("/v1/apps/my-app/events", json={"events": events})
        await line.client.patch(path, json={"notifier": {"rate_per_second": 1.0}})
        await line.client.post(f"{path}/resume")
        await receiver.wait_for(6)
        await look_again(line)
        await line.running.worker.settled()
        assert await states(line) == Counter({("delivered", 1): 6, ("pending", 0): 4})
