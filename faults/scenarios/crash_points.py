"""F1b: the process on SQLite ends at each point of its work where something could be half done."""

import asyncio
import random
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.subjects import ROOT
from faults.ageing import take_back
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import Site, sqlite_site
from faults.tally import Tally, counted, summary, tally
from tests.processes import Process
from tocsin.store.sqlite.database import database_path

POINTS = (
    "after_insert",
    "before_commit",
    "after_commit",
    "before_201",
    "after_claim",
    "after_send",
    "before_ack",
    "after_ack",
    "mid_checkpoint",
    "mid_migration",
)
TIMES = 20
PER_SECOND = 50
OVER_FIRST = "checkpoints that were over before they could be broken off"
KILLED, TOO_LATE = 137, 138
PASSINGS = {"mid_checkpoint": (20, 60), "mid_migration": (1, 15)}
CRASHES_WITHIN_SECONDS = 120
USUAL_PASSINGS = (1, 40)


async def run(context: Context) -> list[Figure]:
    if context.is_smoke:
        parts = {"all": await context.keep("every point", Tally, partial(_crash, POINTS))}
    else:
        parts = {point: await context.keep(point, Tally, partial(_crash, [point] * TIMES)) for point in POINTS}
    found = list(parts.values())
    return [
        *summary(found, "crashes"),
        *(figure for point, part in parts.items() for figure in _of_point(point, part)),
        counted(found, OVER_FIRST),
    ]


def _of_point(point: str, part: Tally) -> list[Figure]:
    return [
        Figure(name=f"{point}: lost", value=len(part.violations["I1"]), target="= 0"),
        Figure(name=f"{point}: duplicates", value=part.duplicates, target=f"<= {part.in_doubt} in doubt"),
    ]


async def _crash(points: Sequence[str], part: Part) -> Tally:
    async with sqlite_site(part.folder) as site:
        program: list[str | Path] = [sys.executable, "-P", ROOT / "faults" / "crashing.py"]
        crashing = site.installation.add_process("all", name="crashing", program=program)
        _arm(crashing, "none", part.chance)
        await asyncio.to_thread(crashing.start)
        await site.add_app(crashing.url)
        await site.sink.behave("/1", "fail_first", every=2)  # so that half of it is claimed
        async with site.producing([crashing.url]) as producer:
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                statuses = [await _crash_once(site, crashing, point, part.chance) for point in points]
                _arm(crashing, "none", part.chance)
                await asyncio.to_thread(crashing.start)
                enough.set()
            await site.wait_until_delivered(producer, within_seconds=60)
            await producer.use_keys_again(sorted(producer.accepted)[::50])
            await asyncio.to_thread(crashing.stop)
            over_first = statuses.count(TOO_LATE)
            return tally(await site.evidence(producer), faults=len(statuses), counts={OVER_FIRST: over_first})


async def _crash_once(site: Site, crashing: Process, point: str, chance: random.Random) -> int:
    """Let it run until it has crashed, and answer with its exit status. It may be running or not."""
    if crashing.is_running:
        await asyncio.to_thread(crashing.kill)
    if point == "mid_migration":
        await asyncio.to_thread(take_back, database_path(site.direct_url))
    _arm(crashing, point, chance)
    crashing.launch()
    try:
        status = await asyncio.to_thread(crashing.wait, CRASHES_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        status = None
    if status not in (KILLED, TOO_LATE):
        armed = crashing.environment["FAULTS_CRASH"]
        raise RuntimeError(f"{armed}: it ended with {status}: {crashing.log.read_text()[-2000:]}")
    return status


def _arm(crashing: Process, point: str, chance: random.Random) -> None:
    passing = chance.randint(*PASSINGS.get(point, USUAL_PASSINGS))
    crashing.environment["FAULTS_CRASH"] = f"{point}:{passing}"


F1b = Scenario(
    id="F1b",
    title="a crash at each point of the work, on SQLite",
    fault="The process ends itself without a trace at a named point, at a passing of chance, under 50 events/s.",
    run=run,
    is_quick=True,
)
