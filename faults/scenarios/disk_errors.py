"""F9: the disk answers syncs and writes with errors; what was promised all the same must have become durable."""

import asyncio
import errno
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import msgspec

from faults import disk
from faults.checker import figures
from faults.nemesis import schedule
from faults.producer import LOST, Producer
from faults.recorded import RecordedSite, recorded_site
from faults.scenario import Context, Figure, Part, Scenario
from faults.scenarios.power_loss import Found, check_recorded, lose_power
from faults.site import Tally, tally
from faults.tally import spread

STRIKES, LOSSES = 60, 100
PER_SECOND = 100
CALLS_AT_MOST = 40
PATIENCE_SECONDS = 20

Calls = Literal["syncs", "writes"]
KINDS: Mapping[str, tuple[Calls, int]] = {
    "syncs, EIO": ("syncs", errno.EIO),
    "writes, EIO": ("writes", errno.EIO),
    "writes, ENOSPC": ("writes", errno.ENOSPC),
}


class Failed(msgspec.Struct, kw_only=True):
    """What was found under errors, and after power losses among them."""

    tally: Tally
    found: Found
    failed_syncs: int
    refused: int
    """Requests that were answered with 503."""

    unanswered: int
    exits: int


async def run(context: Context) -> list[Figure]:
    part = await context.keep("errors", Failed, _fail)
    return [
        Figure(name="times that some calls in a row failed", value=part.tally.faults),
        Figure(name="syncs that failed", value=part.failed_syncs),
        Figure(name="events accepted", value=part.tally.accepted),
        Figure(name="requests answered with 503", value=part.refused),
        Figure(name="requests without an answer", value=part.unanswered, target="= 0"),
        Figure(name="ends of the process", value=part.exits),
        *spread("from the last error to the next 201", part.tally.seconds["recovered"], "<= 5 s"),
        *figures([part.tally.violations]),
        Figure(name="power losses meanwhile", value=part.found.losses),
        Figure(name="accepted events lost by them", value=part.found.lost, target="= 0"),
        Figure(name="databases damaged by them", value=part.found.damaged, target="= 0"),
    ]


async def _fail(part: Part) -> Failed:
    strikes, losses = (6, 15) if part.is_smoke else (STRIKES, LOSSES)
    async with recorded_site(part.folder, part.chance) as site, site.producing([site.server.url]) as producer:
        seconds, exits = await _strike_under_load(site, producer, strikes, part.chance)
        await site.wait_until_delivered(producer, within_seconds=60)
        evidence = await site.evidence(producer)
        await asyncio.to_thread(site.server.kill)
        check_recorded(site, producer)
        answers: Counter[int] = producer.counts
        return Failed(
            tally=tally(evidence, faults=strikes, seconds={"recovered": seconds}),
            found=await lose_power(site, part, losses=losses, restarts=0),
            failed_syncs=sum(record.kind == "F" for record in site.recording.records()),
            refused=answers[503],
            unanswered=answers[LOST],
            exits=exits,
        )


async def _strike_under_load(
    site: RecordedSite, producer: Producer, strikes: int, chance: random.Random
) -> tuple[list[float], int]:
    """Let calls fail again and again; answers with how long the next 201 took each time, and how often it ended."""
    seconds: list[float] = []
    exits = 0
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
        await producer.next_answer(201)
        for strike in schedule(chance, strikes, kinds=list(KINDS), within_seconds=(0.05, 0.5)):
            await asyncio.sleep(strike.after_seconds)
            calls, error = KINDS[strike.kind]
            times = chance.randint(1, CALLS_AT_MOST)
            site.recording.fail(calls, error, after=chance.randrange(CALLS_AT_MOST), times=times)
            ended_at = await _until_failed(site, calls)
            if not site.server.is_running:
                exits += 1
                await asyncio.to_thread(site.server.start)
            seconds.append(max(0.0, await producer.next_answer(201) / 1e9 - ended_at))
        enough.set()
    return seconds, exits


async def _until_failed(site: RecordedSite, calls: Calls) -> float:
    """Wait until all calls that were to fail have failed, or the process has ended; answers with when."""
    end_at = time.monotonic() + PATIENCE_SECONDS
    while site.recording.left(calls) and site.server.is_running and time.monotonic() < end_at:
        await asyncio.sleep(0.005)  # a preloaded library has no way to tell
    site.recording.heal()
    return time.monotonic()


F9 = Scenario(
    id="F9",
    title="errors of the disk, on SQLite",
    fault=(
        "Under 100 events/s, some syncs in a row fail with EIO, or some writes with EIO or ENOSPC, again and again. "
        "What a failed sync should have written is on the disk or not, by chance, and is never written later. The "
        "power is cut at moments of chance among all that, as in F8."
    ),
    run=run,
    is_quick=True,
    missing=disk.missing,
)
