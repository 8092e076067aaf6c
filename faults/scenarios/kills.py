"""F1: the one process on SQLite is killed at any moment under load, and started again at once."""

import asyncio
import time
from functools import partial
from statistics import quantiles

from faults.checker import figures
from faults.nemesis import schedule
from faults.producer import Producer
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import Site, Tally, sqlite_site, tally

KILLS, KILLS_A_PART = 200, 20
PER_SECOND = 200


async def run(context: Context) -> list[Figure]:
    kills = context.repetitions(KILLS, smoke=4)
    at_once = min(kills, KILLS_A_PART)
    parts = [
        await context.keep(f"{at_once} kills, {number}", Tally, partial(_kill_under_load, at_once))
        for number in range(1, kills // at_once + 1)
    ]
    return [
        Figure(name="kills", value=sum(part.faults for part in parts)),
        Figure(name="events accepted", value=sum(part.accepted for part in parts)),
        *figures(part.violations for part in parts),
        *duplicates(parts),
        *spread("from start to readiness", [one for part in parts for one in part.seconds["ready"]]),
        *spread(
            "from readiness to the first delivery", [one for part in parts for one in part.seconds["first"]], "<= 1 s"
        ),
    ]


def duplicates(parts: list[Tally]) -> list[Figure]:
    """How often something arrived twice, against what was in doubt as processes ended."""
    total, in_doubt = sum(part.duplicates for part in parts), sum(part.in_doubt for part in parts)
    faults, accepted = sum(part.faults for part in parts), sum(part.accepted for part in parts)
    return [
        Figure(name="duplicates", value=total, target=f"<= {in_doubt} in doubt"),
        Figure(name="duplicates a fault", value=total / max(faults, 1)),
        Figure(name="duplicates in 10,000 events", value=total / max(accepted, 1) * 10_000),
    ]


def spread(name: str, seconds: list[float], target: str = "") -> list[Figure]:
    """The median, and the 99th percentile with its target."""
    if not seconds:
        return []
    cuts = quantiles([*seconds, *seconds], n=100, method="inclusive")
    return [
        Figure(name=f"{name}, p50", value=cuts[49], unit="s"),
        Figure(name=f"{name}, p99", value=cuts[98], unit="s", target=target),
    ]


async def _kill_under_load(kills: int, part: Part) -> Tally:
    async with sqlite_site(part.folder) as site:
        await asyncio.to_thread(site.installation.serve)
        await site.add_app(site.installation.url)
        async with site.producing([site.installation.url]) as producer:
            seconds: dict[str, list[float]] = {"ready": [], "first": []}
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
    seconds["ready"].append(ready_at - started_at)
    seconds["first"].append(max(0.0, await arriving / 1e9 - ready_at))


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
