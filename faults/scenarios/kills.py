"""F1: the one process on SQLite is killed at any moment under load, and started again at once."""

import asyncio
import time
from functools import partial

from faults.nemesis import schedule
from faults.producer import Producer
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import Site, sqlite_site
from faults.tally import Tally, summary, tally, times

KILLS, KILLS_A_PART = 200, 20
PER_SECOND = 200
READY, FIRST = "from start to readiness", "from readiness to the first delivery"


async def run(context: Context) -> list[Figure]:
    kills = context.repetitions(KILLS, smoke=4)
    at_once = min(kills, KILLS_A_PART)
    parts = [
        await context.keep(f"{at_once} kills, {number}", Tally, partial(_kill_under_load, at_once))
        for number in range(1, kills // at_once + 1)
    ]
    return [
        *summary(parts, "kills"),
        *times(parts, READY),
        *times(parts, FIRST, "<= 1 s"),
    ]


async def _kill_under_load(kills: int, part: Part) -> Tally:
    async with sqlite_site(part.folder) as site:
        await asyncio.to_thread(site.installation.serve)
        await site.add_app(site.installation.url)
        await site.sink.behave("*", "answer", after_seconds=0.02)  # so that something is under way at any moment
        async with site.producing([site.installation.url]) as producer:
            seconds: dict[str, list[float]] = {READY: [], FIRST: []}
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                for strike in schedule(
                    part.chance, kills, kinds=["kill"], within_seconds=(0.2, 2 if part.is_smoke else 5)
                ):
                    await asyncio.sleep(strike.after_seconds)  # at no moment of the product's choosing
                    await _kill(site, seconds)
                enough.set()
            return await _finish(site, producer, kills, seconds)


async def _kill(site: Site, seconds: dict[str, list[float]]) -> None:
    await asyncio.to_thread(site.installation.kill)
    started_at = time.monotonic()
    site.installation.launch()
    arriving = asyncio.create_task(site.sink.next(within_seconds=30))
    await asyncio.to_thread(site.installation.wait_until_ready)
    ready_at = time.monotonic()
    seconds[READY].append(ready_at - started_at)
    seconds[FIRST].append(max(0.0, await arriving / 1e9 - ready_at))


async def _finish(site: Site, producer: Producer, kills: int, seconds: dict[str, list[float]]) -> Tally:
    await site.wait_until_delivered(producer, within_seconds=60)
    await producer.use_keys_again(sorted(producer.accepted)[:: max(1, len(producer.accepted) // 50)])
    await asyncio.to_thread(site.installation.stop)
    return tally(await site.evidence(producer), faults=kills, seconds=seconds)


F1 = Scenario(
    id="F1",
    title="kill -9 of the one process, on SQLite",
    fault="SIGKILL at random moments, 0.2 to 5 s apart, under 200 events/s; started again at once.",
    run=run,
)
