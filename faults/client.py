"""What a user does and sees: apps, notifiers, events, and what became of each delivery."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

EVENT_TYPE, EVENT_TYPE_ID = "restart", "5982f139d48c360021b1eb4c"
PLATFORM_IDS = {"webhook": "5982f145d48c3600273ef08a", "email": "59c52ac27651ce002c1d4620"}
REQUEST_SECONDS = 30
POLL_SECONDS = 0.1


class Attempt(msgspec.Struct, frozen=True):
    number: int
    outcome: str
    reason: str | None
    error: str | None

    def __str__(self) -> str:
        return f"{self.outcome} {self.reason}" if self.reason else self.outcome


class Delivery(msgspec.Struct, frozen=True):
    """One event for one notifier; its attempts come with it only when it is asked for alone."""

    id: str
    event_id: str
    notifier_id: str
    notifier_name: str
    state: str
    reason: str | None
    attempt_count: int
    next_attempt_at: str | None
    attempts: list[Attempt] = []

    @property
    def is_over(self) -> bool:
        return self.state not in {"pending", "sending"}

    def __str__(self) -> str:
        return f"{self.state} {self.reason}" if self.reason else self.state


class Client:
    """A user of one API. An answer of 400 or above is raised."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str, token: str) -> AsyncIterator["Client"]:
        headers = {"authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            yield cls(session, url)

    async def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        async with self._session.request(method, f"{self._url}/v1{path}", json=body, params=query) as response:
            text = await response.text()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path} was answered with {response.status}: {text[:500]}")
        return msgspec.json.decode(text) if text else None

    async def add_app(self, name: str) -> None:
        """An app without the notifier that each new one is given."""
        await self.call("POST", "/apps", {"app": {"name": name}})
        for notifier in (await self.call("GET", f"/apps/{name}/notifiers"))["notifiers"]:
            await self.call("DELETE", f"/apps/{name}/notifiers/{notifier['id']}")

    async def add_notifier(
        self, app: str, name: str, type_data: Mapping[str, object], *, platform: str = "webhook"
    ) -> str:
        """A notifier for the app's events of EVENT_TYPE alone; answers with its id."""
        given = {"platform_id": PLATFORM_IDS[platform], "name": name, "selected_event_ids": [EVENT_TYPE_ID]}
        made = await self.call("POST", f"/apps/{app}/notifiers", {"notifier": given | {"type_data": type_data}})
        notifier_id: str = made["notifier"]["id"]
        return notifier_id

    async def post(self, app: str, number: int = 0) -> str:
        """One event; answers with its id."""
        event = {"type": EVENT_TYPE, "type_data": {"number": number}}
        posted = await self.call("POST", f"/apps/{app}/events", {"event": event})
        event_id: str = posted["event"]["id"]
        return event_id

    async def post_many(self, app: str, count: int) -> None:
        """So many events in one request; their numbers are none of a producer's."""
        event = {"type": EVENT_TYPE, "type_data": {}}
        await self.call("POST", f"/apps/{app}/events", {"events": [event] * count})

    async def deliveries(self, app: str, **only: str) -> list[Delivery]:
        """The newest hundred."""
        listed = await self.call("GET", f"/apps/{app}/deliveries", per_page="100", **only)
        return msgspec.convert(listed["deliveries"], list[Delivery])

    async def delivery(self, app: str, delivery_id: str) -> Delivery:
        found = await self.call("GET", f"/apps/{app}/deliveries/{delivery_id}")
        return msgspec.convert(found["delivery"], Delivery)

    async def wait_for(
        self, app: str, is_so: Callable[[Delivery], bool], *, within_seconds: float, **only: str
    ) -> dict[str, Delivery]:
        """The deliveries by their notifier's name, with attempts, once all are so or the time is over."""
        try:
            async with asyncio.timeout(within_seconds):
                while not all(map(is_so, await self.deliveries(app, **only))):
                    await asyncio.sleep(POLL_SECONDS)  # nothing tells a user
        except TimeoutError:
            pass
        listed = await self.deliveries(app, **only)
        return {one.notifier_name: await self.delivery(app, one.id) for one in listed}
