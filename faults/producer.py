"""Who posts events: at a steady rate or as fast as answers come, and each until it is accepted.

What was answered with 201 is appended to a log and synced before it counts. What was not answered, or refused for now,
is posted again with the same `Idempotency-Key`, to the next API if there are several.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import aiohttp
import msgspec

from faults.records import Accepted, read_lines, sha

EVENT_TYPE = "restart"
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
"""Before an event is posted again; doubled each time. New events show when an API is back, for they do not wait."""

REQUEST_SECONDS = 20
UNDER_WAY_AT_MOST = 2000
"""Requests of an open loop at once; beyond that it skips its turn rather than fill memory."""

LOST = 0
"""In place of a status: the connection ended, or the time, before there was an answer."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, or the lack of one."""

    at_ns: int
    url: str
    status: int
    has_retry_after: bool = False


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What an accepted event's key was answered with when it was used again."""

    number: int
    is_same_body: bool
    status: int
    event_id: str = ""


class Producer:
    """Posts numbered events of some apps to some APIs."""

    def __init__(self, urls: Sequence[str], token: str, log: Path, *, apps: Sequence[str] = ("my-app",)) -> None:
        self.urls = list(urls)
        self.log = log
        self.apps = list(apps)
        self.accepted: dict[int, Accepted] = {}
        """Everything that was accepted and is in the log."""

        self.sent: set[int] = set()
        """Everything that was posted at least once."""

        self.answers: list[Answered] = []
        self.replays: list[Replay] = []
        self.skipped = 0
        self._token = token
        self._numbers = count()
        self._session: aiohttp.ClientSession | None = None
        self._changed = asyncio.Condition()
        self._unsynced: list[tuple[Accepted, asyncio.Future[None]]] = []
        self._to_sync = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def started(
        cls, urls: Sequence[str], token: str, folder: Path, *, apps: Sequence[str] = ("my-app",)
    ) -> AsyncIterator["Producer"]:
        """A producer that logs to `accepted.jsonl` in the folder."""
        producer = cls(urls, token, folder / "accepted.jsonl", apps=apps)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            producer._session = session
            syncing = asyncio.create_task(producer._sync())
            try:
                yield producer
            finally:
                syncing.cancel()

    @property
    def counts(self) -> Counter[int]:
        """How often which status was answered."""
        return Counter(answer.status for answer in self.answers)

    def app_of(self, number: int) -> str:
        return self.apps[number % len(self.apps)]

    async def post(self, number: int, *, is_to_stop: Callable[[], bool] = lambda: False) -> None:
        """Post one event until it is accepted, or it is to stop: then nobody knows whether it was."""
        sent_ns = time.monotonic_ns()
        self.sent.add(number)
        for tries in count(1):
            url = self.urls[(number + tries) % len(self.urls)]
            status, body = await self._request(url, number, self._body(number))
            if status == 201:
                await self._accept(number, body, sent_ns=sent_ns, tries=tries)
                return
            if status not in (LOST, 429) and status < 500:
                raise RuntimeError(f"event {number} was answered with {status}: {body[:300]!r}")
            if is_to_stop():
                return
            await asyncio.sleep(min(PAUSE_SECONDS * 2 ** min(tries - 1, 10), LONGEST_PAUSE_SECONDS))

    async def post_all(self, total: int, *, lanes: int = 16) -> None:
        """Closed loop: so many events, each lane's next as soon as its last was accepted."""
        numbers = [next(self._numbers) for _ in range(total)]

        async def lane(own: Sequence[int]) -> None:
            for number in own:
                await self.post(number)

        async with asyncio.TaskGroup() as tasks:
            for place in range(lanes):
                tasks.create_task(lane(numbers[place::lanes]))

    async def post_steadily(self, stop: asyncio.Event, *, per_second: float) -> None:
        """Open loop: an event is due at each tick, whatever became of those before; all are seen through at the end."""
        begun_at = time.monotonic()
        async with asyncio.TaskGroup() as under_way:
            running: set[asyncio.Task[None]] = set()
            for tick in count():
                try:
                    async with asyncio.timeout(max(0, begun_at + tick / per_second - time.monotonic())):
                        await stop.wait()
                except TimeoutError:
                    pass
                if stop.is_set():
                    return
                if len(running) >= UNDER_WAY_AT_MOST:
                    self.skipped += 1
                    continue
                task = under_way.create_task(self.post(next(self._numbers)))
                running.add(task)
                task.add_done_callback(running.discard)

    async def wait_for_accepted(self, total: int, *, within_seconds: float = 60) -> None:
        async with asyncio.timeout(within_seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.accepted) >= total)

    async def next_answer(self, status: int, *, within_seconds: float = 60) -> int:
        """When the next answer with this status from now on came, in ns on the monotonic clock."""
        begun = len(self.answers)

        def found() -> list[int]:
            return [answer.at_ns for answer in self.answers[begun:] if answer.status == status]

        async with asyncio.timeout(within_seconds), self._changed:
            await self._changed.wait_for(found)
            return found()[0]

    async def use_keys_again(self, numbers: Sequence[int]) -> None:
        """Post events again whose keys were used before, with the same body and with another: see `replays`."""
        for number in numbers:
            for is_same_body in (True, False):
                body = self._body(number) if is_same_body else self._body(number).replace(b'"number"', b'"changed"')
                status, answered = await self._request(self.urls[0], number, body)
                event_id = str(msgspec.json.decode(answered)["event"]["id"]) if status == 201 else ""
                self.replays.append(Replay(number=number, is_same_body=is_same_body, status=status, event_id=event_id))

    def logged(self) -> list[Accepted]:
        """What is in the log: the truth about what was accepted."""
        return list(read_lines(self.log, Accepted)) if self.log.exists() else []

    @staticmethod
    def _body(number: int) -> bytes:
        return b'{"event":{"type":"%s","type_data":{"number":%d}}}' % (EVENT_TYPE.encode(), number)

    @staticmethod
    def key_of(number: int) -> str:
        return f"event-{number}"

    async def _request(self, url: str, number: int, body: bytes) -> tuple[int, bytes]:
        assert self._session is not None
        headers = {
            "authorization": f"Bearer {self._token}",
            "content-type": "application/json",
            "idempotency-key": self.key_of(number),
        }
        address = f"{url}/v1/apps/{self.app_of(number)}/events"
        try:
            async with self._session.post(address, data=body, headers=headers) as response:
                answered = await response.read()
                status, has_retry_after = response.status, "retry-after" in response.headers
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            status, answered, has_retry_after = LOST, b"", False
        answer = Answered(at_ns=time.monotonic_ns(), url=url, status=status, has_retry_after=has_retry_after)
        async with self._changed:
            self.answers.append(answer)
            self._changed.notify_all()
        return status, answered

    async def _accept(self, number: int, body: bytes, *, sent_ns: int, tries: int) -> None:
        event = bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["event"])
        accepted = Accepted(
            number=number,
            event_id=msgspec.json.decode(event)["id"],
            key=self.key_of(number),
            app=self.app_of(number),
            body_sha=sha(event),
            sent_ns=sent_ns,
            accepted_ns=time.monotonic_ns(),
            tries=tries,
        )
        synced = asyncio.get_running_loop().create_future()
        self._unsynced.append((accepted, synced))
        self._to_sync.set()
        await synced
        async with self._changed:
            self.accepted[number] = accepted
            self._changed.notify_all()

    async def _sync(self) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while True:
                await self._to_sync.wait()
                self._to_sync.clear()
                some, self._unsynced = self._unsynced, []
                lines = b"".join(msgspec.json.encode(accepted) + b"\n" for accepted, _ in some)
                await asyncio.to_thread(_append, descriptor, lines)
                for _, synced in some:
                    synced.set_result(None)
        finally:
            os.close(descriptor)


def _append(descriptor: int, lines: bytes) -> None:
    os.write(descriptor, lines)
    os.fdatasync(descriptor)
