"""F2: API and worker processes on PostgreSQL are killed one after the other, and started again at once."""

import asyncio
import random
import time
from bisect import bisect_left
from collections import defaultdict
from functools import partial

from faults.checker import Evidence
from faults.database import looking
from faults.fleet import Fleet
from faults.nemesis import schedule
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import LEASE_SECONDS, QUICK, PostgresSite, postgres_site
from faults.tally import Tally, summary, tally, times
from tests.processes import Process

KILLS, KILLS_A_PART = 200, 40
PER_SECOND = 100
RECOVERED = "from a worker's death to the delivery of what it had"
LONGEST_LEASE_SECONDS = 45


async def run(context: Context) -> list[Figure]:
    kills = context.repetitions(KILLS, smoke=4)
    at_once = min(kills, KILLS_A_PART)
    parts = [
        await context.keep(f"{at_once} kills, {number}", Tally, partial(_kill_under_load, at_once))
        for number in range(1, kills // at_once + 1)
    ]
    return [*summary(parts, "kills, of APIs and of workers as many"), *times(parts, RECOVERED, "<= 50 s")]


class Killer:
    """Kills processes, and starts each again at once. One of each kind is left: without, there would be no load."""

    def __init__(self, fleet: Fleet) -> None:
        self.worker_kills_us: list[int] = []
        """When workers were killed, on the wall clock."""

        self._kinds = {"api": fleet.apis, "worker": fleet.workers}
        self._ready = set(fleet.processes)
        self._came_back = asyncio.Event()

    async def kill(self, times: int, chance: random.Random) -> None:
        async with asyncio.TaskGroup() as restarts:
            for strike in schedule(chance, times, kinds=["api", "worker"], within_seconds=(0.1, 1)):
                await asyncio.sleep(strike.after_seconds)  # at no moment of the product's choosing
                victim = await self._victim(strike.kind, strike.target)
                if strike.kind == "worker":
                    self.worker_kills_us.append(time.time_ns() // 1000)
                await asyncio.to_thread(victim.kill)
                restarts.create_task(self._restart(victim))

    async def _victim(self, kind: str, target: int) -> Process:
        while len(candidates := [process for process in self._kinds[kind] if process in self._ready]) < 2:
            self._came_back.clear()
            await self._came_back.wait()
        victim = candidates[target % len(candidates)]
        self._ready.remove(victim)
        return victim

    async def _restart(self, victim: Process) -> None:
        await asyncio.to_thread(victim.start)
        self._ready.add(victim)
        self._came_back.set()


async def _kill_under_load(kills: int, part: Part) -> Tally:
    settings = QUICK if part.is_smoke else {}
    async with postgres_site(part.folder, settings, apis=2, workers=3) as site:
        await site.fleet.start()
        await site.add_app(site.fleet.urls[0])
        await site.sink.behave("*", "answer", after_seconds=0.05)  # so that something is under way at any moment
        async with site.producing(site.fleet.urls) as producer:
            killer = Killer(site.fleet)
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                await killer.kill(kills, part.chance)
                enough.set()
            if part.is_smoke:
                await age_leases(site)
            await site.wait_until_delivered(producer, within_seconds=LONGEST_LEASE_SECONDS + 30)
            await producer.use_keys_again(sorted(producer.accepted)[::50])
            await site.fleet.stop()
            evidence = await site.evidence(producer)
            recovered = recovery_seconds(evidence, killer.worker_kills_us)
            return tally(evidence, faults=kills, seconds={RECOVERED: recovered})


async def age_leases(site: PostgresSite) -> None:
    """Spare a short run the wait for the leases of who is gone: with QUICK no attempt lasts longer than 1 s."""
    await asyncio.sleep(1.5)
    async with looking(site.direct_url) as ask:
        await ask(
            f"UPDATE deliveries SET lease_until = lease_until - interval '{LEASE_SECONDS} s' "
            "WHERE state = 'sending' AND claimed_at < now() - interval '1.5 s'"
        )


def recovery_seconds(evidence: Evidence, worker_kills_us: list[int]) -> list[float]:
    """For each lease that was lost: from its worker's death until the receiver had its message.

    Which worker had it is not on record; the first kill after its claim is taken, which can only make it longer.
    """
    to_wall_ns = time.time_ns() - time.monotonic_ns()
    taken_us: dict[str, list[int]] = defaultdict(list)
    for one in evidence.arrivals:
        if 200 <= one.status < 300:
            taken_us[one.delivery_id].append((one.at_ns + to_wall_ns) // 1000)
    found = []
    for attempt in evidence.holdings.attempts:
        place = bisect_left(worker_kills_us, attempt.started_us)
        if attempt.outcome != "unknown" or place == len(worker_kills_us):
            continue
        after_us = [at_us for at_us in taken_us[attempt.delivery_id] if at_us > worker_kills_us[place]]
        if after_us:
            found.append((min(after_us) - worker_kills_us[place]) / 1e6)
    return found


F2 = Scenario(
    id="F2",
    title="kill -9 of APIs and workers, on PostgreSQL",
    fault="Two APIs and three workers: SIGKILL for one of them every 0.1 to 1 s under 100 events/s; started again.",
    run=run,
    is_quick=True,
)
