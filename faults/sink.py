"""The receiver as a scenario sees it: a process of its own, told how to behave and asked what arrived."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.subjects import ROOT
from faults.receiver import Answer, Command, Started
from faults.records import Arrival, read_lines

ANSWER_LIMIT = 64 * 1024 * 1024


class Sink:
    """What is asked of it may overlap: who waits for messages holds nobody up."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, ports: list[int]) -> None:
        self.ports = ports
        self.log = log
        self.pid = process.pid
        self._process = process
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._ids = count(1)

    @classmethod
    @asynccontextmanager
    async def started(cls, folder: Path, *, ports: int = 1) -> AsyncIterator["Sink"]:
        """A running receiver, which writes to `arrivals.jsonl` in the folder."""
        log = folder / "arrivals.jsonl"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "faults.receiver", str(log), str(ports)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            limit=ANSWER_LIMIT,
            start_new_session=True,  # an interrupted harness still has questions
        )
        try:
            assert process.stdout is not None
            started = msgspec.json.decode(await process.stdout.readline(), type=Started)
            sink = cls(process, log, started.ports)
            answering = asyncio.create_task(sink._hear())
            yield sink
            answering.cancel()
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    def url(self, path: str, *, port: int = 0) -> str:
        """Where a path is on the receiver's port of that place."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    async def behave(self, path: str, behaviour: str, **options: Any) -> None:
        """From the next request on, a path (`*`: all that have none) behaves as one of `faults.behaviours`."""
        await self._ask(Command(behave=path, behaviour=behaviour, options=options))

    async def check_signatures(self, secrets: Mapping[str, str]) -> None:
        """From now on, verify each signature on these paths with these secrets."""
        await self._ask(Command(secrets=dict(secrets)))

    async def wait_for(
        self, numbers: Mapping[str, Collection[int]], *, within_seconds: float
    ) -> Mapping[str, Collection[int]]:
        """Wait until these numbers were taken on these paths; answers with what was not in time."""
        asked = {path: list(some) for path, some in numbers.items()}
        return (await self._ask(Command(await_numbers=asked, within_seconds=within_seconds))).missing

    async def next(self, *, within_seconds: float) -> int:
        """When the next of a producer's messages was taken, in ns on the monotonic clock; 0 if none came in time."""
        return (await self._ask(Command(await_next=True, within_seconds=within_seconds))).at_ns

    def arrivals(self) -> list[Arrival]:
        """Everything that has arrived until now."""
        return list(read_lines(self.log, Arrival))

    async def _ask(self, command: Command) -> Answer:
        assert self._process.stdin is not None
        command.id = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[command.id] = answer
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        await self._process.stdin.drain()
        return await answer

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = msgspec.json.decode(line, type=Answer)
            asked = self._asked.pop(answer.id)
            if not asked.done():
                asked.set_result(answer)
        for asked in self._asked.values():
            asked.set_exception(RuntimeError("the receiver ended early"))
