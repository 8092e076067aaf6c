"""Load for the tests of faults: who posts events until each is accepted, and who counts what arrives."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Self

import httpx

from tests.line import Got, answer

EVENT_TYPE = "restart"
LANES = 16
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 60


class Arrivals:
    """What a receiver got of a producer's events, by message: pass it as the receiver's answer."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.senders: Counter[str] = Counter()
        self._missing: set[str] = set()
        self._is_complete = asyncio.Event()
        self._any = asyncio.Event()

    def __call__(self, got: Got) -> bytes:
        if EVENT_TYPE.encode() not in got.body:
            return answer(204)  # Tocsin's own, such as that there is a new notifier
        message_id = got.headers["webhook-id"]
        self.counts[message_id] += 1
        self.senders[got.sender] += 1
        self._missing.discard(message_id)
        self._any.set()
        if not self._missing:
            self._is_complete.set()
        return answer(204)

    @property
    def duplicates(self) -> int:
        return self.counts.total() - len(self.counts)

    async def wait_for(self, message_ids: Iterable[str], *, within_seconds: float) -> None:
        """Wait until all of these have arrived."""
        self._missing = set(message_ids) - self.counts.keys()
        if not self._missing:
            return
        self._is_complete.clear()
        try:
            async with asyncio.timeout(within_seconds):
                await self._is_complete.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self._missing)} never arrived, such as {min(self._missing)}") from None

    async def next(self, *, within_seconds: float) -> None:
        """Wait until anything arrives from now on."""
        self._any.clear()
        async with asyncio.timeout(within_seconds):
            await self._any.wait()


class Producer:
    """Posts events to some APIs, each with a key of its own until an API has accepted it."""

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self.accepted: dict[int, str] = {}
        self.answers: Counter[str] = Counter()
        """How often what was answered, by API and status; `lost` stands for a connection that ended first."""
        self._urls = urls
        self._client = httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=20)
        self._numbers = count()
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def add_app(self, *receiver_urls: str) -> None:
        """An app with a notifier for each receiver, which gets all its events."""
        api = f"{self._urls[0]}/v1"
        app = await self._client.post(f"{api}/apps", json={"app": {"name": "my-app"}})
        assert app.status_code == 201, app.text
        for default in (await self._client.get(f"{api}/apps/my-app/notifiers")).json()["notifiers"]:
            await self._client.delete(f"{api}/apps/my-app/notifiers/{default['id']}")
        for url in receiver_urls:
            notifier = {"platform_id": "5982f145d48c3600273ef08a", "name": "all", "send_all_events": True}
            given = {"notifier": notifier | {"type_data": {"webhook_url": url}}}
            added = await self._client.post(f"{api}/apps/my-app/notifiers", json=given)
            assert added.status_code == 201, added.text

    async def post(self, number: int) -> None:
        """Post one event until it is accepted. After anything but an acceptance it is the next API's turn."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        event = {"event": {"type": EVENT_TYPE, "type_data": {"number": number}}}
        key = {"idempotency-key": f"event-{number}"}
        for turn in count(number):
            api = self._urls[turn % len(self._urls)]
            assert time.monotonic() < give_up_at, f"event {number} is not accepted: {self.answers}"
            try:
                response = await self._client.post(f"{api}/v1/apps/my-app/events", json=event, headers=key)
            except httpx.TransportError:
                await self._note(f"{api} lost")
                await asyncio.sleep(PAUSE_SECONDS)  # nothing tells when the server is back
                continue
            if response.status_code == 201:
                self.accepted[number] = response.json()["event"]["id"]
                await self._note(f"{api} 201")
                return
            assert response.status_code == 503, response.text
            assert int(response.headers["retry-after"]) >= 1
            await self._note(f"{api} 503")
            await asyncio.sleep(PAUSE_SECONDS)

    async def post_until(self, stop: asyncio.Event, *, per_second: float | None = None) -> None:
        """Post events, as many at once as there are lanes, until told to stop; those begun are seen through."""
        pause_seconds = LANES / per_second if per_second else 0

        async def lane() -> None:
            while not stop.is_set():
                await self.post(next(self._numbers))
                await asyncio.sleep(pause_seconds)

        async with asyncio.TaskGroup() as lanes:
            for _ in range(LANES):
                lanes.create_task(lane())

    async def wait_for_answer(self, kind: str, *, within_seconds: float = 10) -> None:
        """Wait until each API has given an answer of this kind from now on."""
        wanted = {f"{url} {kind}": self.answers[f"{url} {kind}"] for url in self._urls}
        async with asyncio.timeout(within_seconds), self._changed:
            await self._changed.wait_for(lambda: all(self.answers[name] > before for name, before in wanted.items()))

    async def wait_for_accepted(self, total: int, *, within_seconds: float = 30) -> None:
        async with asyncio.timeout(within_seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.accepted) >= total)

    async def _note(self, answered: str) -> None:
        async with self._changed:
            self.answers[answered] += 1
            self._changed.notify_all()
