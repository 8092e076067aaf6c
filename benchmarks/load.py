"""The load and the receivers, in one process of their own: reports events over HTTP and sees them arrive.

Run as `python -m benchmarks.load [FOLDER]`, with the folder of the receivers' certificates. It prints the receivers'
ports, then reads one `Phase` a line (JSON) and prints one `Measured` a line.
"""

import asyncio
import gc
import os
import sys
from array import array
from pathlib import Path
from time import perf_counter as now  # the loop's own clock counts whole milliseconds
from typing import Literal

import msgspec
import uvloop

from benchmarks import procfs
from benchmarks.framing import Framed
from benchmarks.receivers import MARK_DIGITS, listen

SILENCE_SECONDS = 10  # without an answer or arrival, what is still missing counts as lost
TICK_SECONDS = 0.001


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement: `accept` and `deliver` go as fast as answers or arrivals allow, `paced` at a rate."""

    kind: Literal["accept", "deliver", "paced"]
    port: int = 0
    apps: tuple[str, ...] = ()
    app_pids: tuple[int, ...] = ()
    database_pids: tuple[int, ...] = ()
    token: str = ""
    fan_out: int = 1
    body_bytes: int = 0  # 0: the usual 880
    number: int = 0
    rate: float = 0.0
    warmup_seconds: float = 1.0
    seconds: float = 4.0
    connections: int = 256
    window: int = 1000


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one phase gave; rates and processor time are of the window after the warm-up."""

    due_rate: float = 0
    accepted_rate: float = 0
    arrived_rate: float = 0
    app_cpu_us: float = 0
    database_cpu_us: float = 0
    load_busy: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    acknowledged: int = 0
    missing: int = 0
    duplicates: int = 0
    refused: int = 0
    unsigned: int = 0
    refusal: str = ""


class Reporter(Framed):
    """One connection that reports events, one at a time."""

    def __init__(self, run: "Run") -> None:
        super().__init__()
        self._run = run
        self._sequence = -1

    def report(self, sequence: int, request: bytes) -> None:
        self._sequence = sequence
        self.transport.write(request)

    def received(self, message: bytes) -> None:
        sequence, self._sequence = self._sequence, -1
        self._run.answered(self, sequence, message)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - named by the protocol it implements
        self._run.lost(self, self._sequence)


def requests(phase: Phase) -> list[tuple[bytes, bytes]]:
    """For each app what stands before and after the event's number: together some 880 bytes of body, or as asked."""
    before = (
        b'{"event":{"type":"deployment","type_data":{"deployment_id":"5fd1f6a2e7ef8c00018b2f5b",'
        b'"pusher":"ada","git_ref":"7f1e0ef9c2a5b3d4e6f708192a3b4c5d6e7f8091","status":"success",'
        b'"duration":42,"deployment_type":"git-push","stack":"scalingo-22","deployment_uuid":"seq-'
    )
    after = (
        b'","git_ref_url":"https://git.example.com/ada/shop/commit/7f1e0ef9c2a5b3d4e6f708192a3b4c5d6e7f8091",'
        b'"finished_at":"2026-01-02T03:04:05.678Z","message":"%b"}}}'
    )
    words = b"Ship it, and tell everyone. "
    if phase.body_bytes:
        missing = max(phase.body_bytes - len(before) - MARK_DIGITS - len(after) + 2, 0)
        after %= (words * (missing // len(words) + 1))[:missing]
    else:
        after %= words * 16
    length = len(before) + MARK_DIGITS + len(after)
    return [
        (
            (
                f"POST /v1/apps/{app}/events HTTP/1.1\r\nhost: 127.0.0.1:{phase.port}\r\n"
                f"authorization: Bearer {phase.token}\r\ncontent-type: application/json\r\n"
                f"content-length: {length}\r\n\r\n"
            ).encode()
            + before,
            after,
        )
        for app in phase.apps
    ]


class Run:
    """The course of one phase: who may send, what was answered, what arrived and when."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self._requests = requests(phase)
        self._first = phase.number * 100_000_000
        self._due_at = array("d")
        self._acknowledged = bytearray()
        self._arrivals = bytearray()
        self._idle: list[Reporter] = []
        self._reporters: list[Reporter] = []
        self._is_stopped = False
        self._latencies: array[float] = array("d")
        self._window = (float("inf"), float("inf"))
        self.accepted = self.arrived_once = self.duplicates = self.refused = self.unsigned = self.unanswered = 0
        self.refusal = ""

    async def measure(self) -> Measured:
        phase, loop = self.phase, asyncio.get_running_loop()
        for _ in range(phase.connections):
            _, reporter = await loop.create_connection(lambda: Reporter(self), "127.0.0.1", phase.port)
            self._reporters.append(reporter)
        self._idle += self._reporters
        pacing = asyncio.create_task(self._pace()) if phase.kind == "paced" else None
        begun_at = now()
        self._window = (begun_at + phase.warmup_seconds, begun_at + phase.warmup_seconds + phase.seconds)
        self._send_freely()
        await asyncio.sleep(self._window[0] - now())
        before = self._counts()
        await asyncio.sleep(self._window[1] - now())
        after = self._counts()
        self._is_stopped = True
        if pacing is not None:
            await pacing
        await self._settle()
        for reporter in self._reporters:
            reporter.transport.abort()
        await asyncio.sleep(0)
        return self._result([b - a for a, b in zip(before, after, strict=True)])

    def _counts(self) -> tuple[float, ...]:
        cpu, database = (procfs.cpu_seconds(pids) for pids in (self.phase.app_pids, self.phase.database_pids))
        mine = os.times()
        return now(), self.accepted, self.arrived_once, cpu, database, mine.user + mine.system

    def _result(self, span: list[float]) -> Measured:
        seconds, accepted, arrived, cpu, database, mine = span
        events = accepted if self.phase.kind == "accept" else arrived
        latencies = sorted(self._latencies) or [0.0]
        return Measured(
            due_rate=self.phase.rate,
            accepted_rate=accepted / seconds,
            arrived_rate=arrived / seconds,
            app_cpu_us=cpu / max(events, 1) * 1e6,
            database_cpu_us=database / max(events, 1) * 1e6,
            load_busy=mine / seconds,
            p50_ms=latencies[len(latencies) // 2] * 1000,
            p99_ms=latencies[int(len(latencies) * 0.99)] * 1000,
            acknowledged=self.accepted,
            missing=self.missing(),
            duplicates=self.duplicates,
            refused=self.refused,
            unsigned=self.unsigned,
            refusal=self.refusal,
        )

    def missing(self) -> int:
        if self.phase.kind == "accept":
            return 0
        fan_out = self.phase.fan_out
        return sum(
            self._arrivals[sequence * fan_out : (sequence + 1) * fan_out].count(0)
            for sequence, is_acknowledged in enumerate(self._acknowledged)
            if is_acknowledged
        )

    async def _settle(self) -> None:
        """Wait for every answer and arrival still due, as long as there is progress."""
        seen, seen_at = -1, now()
        while self.unanswered or (self.phase.kind != "accept" and self._is_something_due()):
            await asyncio.sleep(0.02)
            progress = self.accepted + self.refused + self.arrived_once
            if progress != seen:
                seen, seen_at = progress, now()
            elif now() - seen_at > SILENCE_SECONDS:
                return

    def _is_something_due(self) -> bool:
        return self.accepted * self.phase.fan_out > self.arrived_once

    def expect(self, due_at: float) -> int:
        """Note that an event is under way; the number it goes by."""
        self._due_at.append(due_at)
        self._acknowledged.append(0)
        self._arrivals.extend(bytes(self.phase.fan_out))
        self.unanswered += 1
        return len(self._due_at) - 1

    def acknowledge(self, sequence: int) -> None:
        self.accepted += 1
        self._acknowledged[sequence] = 1

    def _send(self, due_at: float) -> None:
        sequence = self.expect(due_at)
        before, after = self._requests[sequence % len(self._requests)]
        self._idle.pop().report(sequence, b"%b%012d%b" % (before, self._first + sequence, after))

    def _send_freely(self) -> None:
        if self._is_stopped or self.phase.kind == "paced":
            return
        window = self.phase.window if self.phase.kind == "deliver" else sys.maxsize
        fan_out = self.phase.fan_out
        while self._idle and (len(self._due_at) - self.refused) * fan_out - self.arrived_once < window:
            self._send(now())

    async def _pace(self) -> None:
        """Send when due, or as soon after as a connection is free: latency counts from when it was due."""
        begun_at, count, gap = now(), 0, 1 / self.phase.rate
        while True:
            at = now()
            while self._idle and begun_at + count * gap <= at:
                self._send(begun_at + count * gap)
                count += 1
            if begun_at + count * gap >= self._window[1] or at > self._window[1] + SILENCE_SECONDS:
                return
            await asyncio.sleep(TICK_SECONDS)

    def answered(self, reporter: Reporter, sequence: int, message: bytes) -> None:
        self.unanswered -= 1
        if message.startswith(b"HTTP/1.1 201"):
            self.acknowledge(sequence)
        else:
            self.refused += 1
            self.refusal = self.refusal or message.decode("utf-8", "replace")[:400]
        self._idle.append(reporter)
        self._send_freely()

    def lost(self, reporter: Reporter, sequence: int) -> None:
        """A connection that is cut takes its unanswered event with it, as refused."""
        if reporter in self._idle:
            self._idle.remove(reporter)
        if sequence >= 0:
            self.unanswered -= 1
            self.refused += 1

    def arrived(self, number: int, place: int, is_signed: bool) -> None:
        sequence = number - self._first
        if not 0 <= sequence < len(self._due_at):
            return
        self.unsigned += not is_signed
        spot = sequence * self.phase.fan_out + place % self.phase.fan_out
        if self._arrivals[spot]:
            self.duplicates += 1
            return
        self._arrivals[spot] = 1
        self.arrived_once += 1
        due_at = self._due_at[sequence]
        if self._window[0] <= due_at < self._window[1]:
            self._latencies.append(now() - due_at)
        self._send_freely()


async def run_phases(certificates: Path | None) -> None:
    loop = asyncio.get_running_loop()
    current: list[Run] = []

    def arrived(number: int, place: int, is_signed: bool) -> None:
        if current:
            current[-1].arrived(number, place, is_signed)

    ports = await listen(certificates, arrived)
    print(msgspec.json.encode(ports).decode(), flush=True)
    gc.disable()  # a pause here would be charged to what is measured
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        current[:] = [Run(msgspec.json.decode(line, type=Phase))]
        measured = await current[-1].measure()
        print(msgspec.json.encode(measured).decode(), flush=True)


def main() -> None:
    uvloop.run(run_phases(Path(sys.argv[1]) if len(sys.argv) > 1 else None))


if __name__ == "__main__":
    main()
