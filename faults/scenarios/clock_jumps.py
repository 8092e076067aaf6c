"""F18: the clock is set while messages are on their way, forward by an hour or ten years, or back by an hour."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from faults.checker import figures
from faults.records import Accepted, Arrival
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import QUICK, Site, Tally, postgres_site, sqlite_site, tally
from tests.processes import Process
from tocsin.retry import JITTER

LIBRARY = "libfaketimeMT.so.1"
JUMPS = {"an hour forward": "+1h", "an hour back": "-1h", "ten years forward": "+3650d"}
PATIENT = {**QUICK, "TOCSIN_DELIVERY_TIMEOUT": "5"}
"""Time enough for the receiver that takes its time, on a busy machine too."""

PER_SECOND = 30
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 5.0
SLACK_SECONDS = 0.02
# The others go by the times that attempts recorded, which were taken before and after the clock was set.
TIMELESS = ("I1", "I2", "I3", "I4", "I5", "I9")


class Found(msgspec.Struct, kw_only=True):
    tally: Tally
    early: int
    """Attempts that came before even the one before them was due."""

    unordered: int
    """Ids that are not above those of all events that were accepted before theirs was posted."""


async def run(context: Context) -> list[Figure]:
    places = ["SQLite"] if context.is_smoke else ["SQLite", "PostgreSQL"]
    jumps = list(JUMPS)[-1:] if context.is_smoke else list(JUMPS)
    parts = [
        await context.keep(f"{place}, {jump}", Found, partial(_jump, place, JUMPS[jump]))
        for place in places
        for jump in jumps
    ]
    violations = [{name: part.tally.violations.get(name, []) for name in TIMELESS} for part in parts]
    return [
        Figure(name="times that the clock was set", value=len(parts)),
        Figure(name="events accepted", value=sum(part.tally.accepted for part in parts)),
        Figure(name="leases lost", value=sum(part.tally.in_doubt for part in parts), target="= 0"),
        Figure(name="duplicates", value=sum(part.tally.duplicates for part in parts)),
        Figure(name="retries early by more than an interval", value=sum(part.early for part in parts), target="= 0"),
        Figure(name="ids out of order", value=sum(part.unordered for part in parts), target="= 0"),
        *(figure for figure in figures(violations) if figure.name.rpartition("(")[2].rstrip(")") in TIMELESS),
    ]


@asynccontextmanager
async def _site(place: str, folder: Path, clock: Path) -> AsyncIterator[tuple[Site, list[Process]]]:
    """An installation, not started, whose processes go by a clock that can be set."""
    faked = {
        "LD_PRELOAD": library(),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_TIMESTAMP_FILE": str(clock),
    }
    if place == "SQLite":
        async with sqlite_site(folder, PATIENT) as site:
            yield site, [site.installation.add_process("all", name="faked", **faked)]
    else:
        async with postgres_site(folder, PATIENT) as postgres:
            installation = postgres.installation
            api = installation.add_process("api", name="faked-api", **faked)
            worker = installation.add_process("worker", name="faked-worker", **faked)
            other = installation.add_process("worker", name="other-worker")
            yield postgres, [api, worker, other]


async def _jump(place: str, offset: str, part: Part) -> Found:
    clock = part.folder / "clock"
    clock.write_text("+0\n")
    async with _site(place, part.folder, clock) as (site, processes):
        for process in processes:
            await asyncio.to_thread(process.start)
        url = processes[0].url
        await site.add_app(url, paths=("/failing", "/slow"))
        await site.sink.behave("/failing", "fail_first", every=3, attempts=2)
        await site.sink.behave("/slow", "answer", after_seconds=0.5)
        async with site.producing([url]) as producer:
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                await producer.next_answer(201)
                await asyncio.sleep(BEFORE_SECONDS)
                clock.write_text(f"{offset}\n")
                await asyncio.sleep(AFTER_SECONDS)
                enough.set()
            await site.wait_until_delivered(producer, within_seconds=60)
            for process in processes:
                await asyncio.to_thread(process.stop)
            evidence = await site.evidence(producer)
            return Found(
                tally=tally(evidence, faults=1),
                early=early(evidence.arrivals, evidence.schedule_seconds),
                unordered=unordered(evidence.accepted),
            )


def early(arrivals: Iterable[Arrival], schedule_seconds: Sequence[float]) -> int:
    """How many attempts arrived before their predecessor could have been due, by the receiver's clock."""
    times: dict[str, list[int]] = defaultdict(list)
    for arrival in sorted(arrivals, key=lambda one: one.attempt):
        times[arrival.delivery_id].append(arrival.at_ns)
    least = [(1 - JITTER) * sum(schedule_seconds[1 : number + 1]) for number in range(len(schedule_seconds))]
    return sum(
        (at_ns - own[0]) / 1e9 < least[number - 1] - SLACK_SECONDS
        for own in times.values()
        for number, at_ns in enumerate(own)
        if number > 0
    )


def unordered(accepted: Iterable[Accepted]) -> int:
    """How many events have no larger id than one that was accepted before they were posted."""
    moments = [(one.accepted_ns, 1, one.event_id) for one in accepted]
    moments += [(one.sent_ns, 0, one.event_id) for one in accepted]
    largest, found = "", 0
    for _, is_accepted, event_id in sorted(moments):
        if is_accepted:
            largest = max(largest, event_id)
        else:
            found += event_id <= largest
    return found


def library() -> str:
    """Where libfaketime is; empty when it is not installed."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))
    return str(found[0]) if found else ""


def missing() -> str:
    return "" if library() else "libfaketime is not installed"


F18 = Scenario(
    id="F18",
    title="the clock is set",
    fault=(
        f"Under {PER_SECOND} events/s, to a receiver that fails every third message twice and to one that takes its "
        "time, the wall clock of the one process on SQLite is set: an hour forward, an hour back, ten years forward. "
        "On PostgreSQL that of the API and of one of two workers is."
    ),
    run=run,
    missing=missing,
)
