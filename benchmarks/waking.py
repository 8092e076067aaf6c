"""How fast what waited is claimed: from the request that resumes a notifier to the arrival of its waiting message.

That is what a user can see of a claim: the wake-up, the agenda's query, the claim and the attempt.
"""

import asyncio
from time import perf_counter

from benchmarks.receivers import Receiver
from benchmarks.tocsin_subject import Tocsin

APP = "wake-0"
PATIENCE_SECONDS = 30


class Waking:
    """A paused notifier on a running Tocsin, and its receiver in this process."""

    def __init__(self, subject: Tocsin) -> None:
        self._subject = subject
        self._arrived = asyncio.Event()
        self._number = 0
        self._path = ""
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Receiver(self._note), "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        await asyncio.to_thread(self._subject.add_app, APP)
        made = await asyncio.to_thread(self._subject.add_notifier, APP, 0, f"http://127.0.0.1:{port}/0")
        self._path = f"/v1/apps/{APP}/notifiers/{made['id']}"

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def measure(self, count: int) -> list[float]:
        """Milliseconds, sorted, of so many wake-ups."""
        return sorted([await self._once() for _ in range(count)])

    async def _once(self) -> float:
        self._number += 1
        self._arrived.clear()
        await self._change("pause")
        event = {"type": "deployment", "type_data": {"deployment_uuid": f"seq-{self._number:012d}"}}
        await asyncio.to_thread(self._subject.expect, 201, "POST", f"/v1/apps/{APP}/events", {"event": event})
        begun_at = perf_counter()
        resumed = asyncio.create_task(self._change("resume"))
        try:
            await asyncio.wait_for(self._arrived.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            raise RuntimeError(f"what waited did not arrive within {PATIENCE_SECONDS} s of resuming") from None
        took = (perf_counter() - begun_at) * 1000
        await resumed
        return took

    async def _change(self, verb: str) -> None:
        await asyncio.to_thread(self._subject.expect, 200, "POST", f"{self._path}/{verb}")

    def _note(self, number: int, place: int, is_signed: bool) -> None:  # noqa: ARG002 - what a receiver reports
        if number == self._number:
            self._arrived.set()
