"""Several processes on one PostgreSQL, as a large installation runs them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.processes import Installation, Process


class Fleet:
    """API and worker processes, each with a log of its own."""

    def __init__(self, installation: Installation, *, apis: int, workers: int) -> None:
        self.apis = [installation.add_process("api", name=f"api-{number + 1}") for number in range(apis)]
        self.workers = [installation.add_process("worker", name=f"worker-{number + 1}") for number in range(workers)]

    @classmethod
    @asynccontextmanager
    async def started(cls, installation: Installation, *, apis: int, workers: int) -> AsyncIterator["Fleet"]:
        fleet = cls(installation, apis=apis, workers=workers)
        async with fleet.running():
            yield fleet

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All processes, ready; at the end each must stop as it is asked to."""
        try:
            await self.start()
            yield
            assert await self.stop() == {process.name: 0 for process in self.processes}
        finally:
            for process in self.processes:
                if process.is_running:
                    process.kill()

    @property
    def processes(self) -> list[Process]:
        return [*self.apis, *self.workers]

    @property
    def urls(self) -> list[str]:
        return [api.url for api in self.apis]

    @property
    def pids(self) -> dict[str, int]:
        """The running processes."""
        return {process.name: process.pid for process in self.processes if process.is_running}

    async def start(self) -> None:
        for process in self.processes:
            process.launch()
        await asyncio.gather(*(asyncio.to_thread(process.wait_until_ready) for process in self.processes))

    async def stop(self) -> dict[str, int]:
        """SIGTERM to all at once; answers with their exit statuses."""
        statuses = await asyncio.gather(*(asyncio.to_thread(process.stop) for process in self.processes))
        return dict(zip((process.name for process in self.processes), statuses, strict=True))
