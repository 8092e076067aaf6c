"""kill -9 in the middle of the work: what was answered with 201 is delivered after the restart."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from tests.line import Receiver, receiving
from tests.processes import Installation

EVENTS = 1000
KILLS = 3


class Producer:
    """Posts events, each until it is answered: an unknown outcome is asked again with the same key."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.accepted: dict[int, str] = {}

    async def post(self, number: int) -> None:
        event = {"event": {"type": "restart", "type_data": {"number": number}}}
        key = {"idempotency-key": f"event-{number}"}
        while number not in self.accepted:
            try:
                response = await self.client.post("/v1/apps/my-app/events", json=event, headers=key)
            except httpx.TransportError:
                await asyncio.sleep(0.02)  # the server is down: nothing tells when it is back
                continue
            assert response.status_code == 201, response.text
            self.accepted[number] = response.json()["event"]["id"]

    async def post_all(self) -> None:
        waiting = iter(range(EVENTS))

        async def lane() -> None:
            for number in waiting:
                await self.post(number)

        async with asyncio.TaskGroup() as lanes:
            for _ in range(16):
                lanes.create_task(lane())


async def kill_while_posting(installation: Installation, producer: Producer, posting: "asyncio.Task[None]") -> None:
    chance = random.Random(20261123)
    for kill in range(1, KILLS + 1):
        threshold = kill * EVENTS // (KILLS + 2) + chance.randrange(50)
        while len(producer.accepted) < threshold and not posting.done():
            await asyncio.sleep(0.001)  # the kill must come at no point of the server's choosing
        assert not posting.done()
        installation.kill()
        await asyncio.to_thread(installation.serve)


@pytest.mark.slow
async def test_what_was_accepted_is_delivered_although_the_process_is_killed(tmp_path: Path) -> None:
    installation = Installation(tmp_path, TOCSIN_RETRY_SCHEDULE="0,0.2,0.5,1,2")
    token = installation.add_user()
    installation.serve()
    headers = {"authorization": f"Bearer {token}"}
    async with receiving() as receiver, httpx.AsyncClient(base_url=installation.url, headers=headers) as client:
        await client.post("/v1/apps", json={"app": {"name": "my-app"}})
        notifier = {"platform_id": "5982f145d48c3600273ef08a", "name": "all", "send_all_events": True}
        notifier["type_data"] = {"webhook_url": receiver.url}
        created = await client.post("/v1/apps/my-app/notifiers", json={"notifier": notifier})
        assert created.status_code == 201, created.text
        producer = Producer(client)
        posting = asyncio.create_task(producer.post_all())
        await kill_while_posting(installation, producer, posting)
        await posting
        assert len(set(producer.accepted.values())) == EVENTS
        await wait_for_ids(receiver, set(producer.accepted.values()))
        assert installation.stop() == 0
    ids = [got.headers["webhook-id"] for got in receiver.got]
    duplicates = len(ids) - len(set(ids))
    # Only what was leased at a kill can come twice: at most 64 deliveries of a notifier.
    assert duplicates <= KILLS * 64


async def wait_for_ids(receiver: Receiver, wanted: set[str]) -> None:
    async with asyncio.timeout(30), receiver.arrived:
        await receiver.arrived.wait_for(lambda: wanted <= {got.headers["webhook-id"] for got in receiver.got})
