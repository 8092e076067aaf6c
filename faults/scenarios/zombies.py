"""F4: a worker stands still until others have its deliveries, and then goes on as if nothing had been."""

import asyncio
import os
import signal
from functools import partial

from faults.database import looking
from faults.scenario import Context, Figure, Part, Scenario
from faults.scenarios.fleet_kills import age_leases
from faults.site import LEASE_SECONDS, postgres_site
from faults.tally import Tally, counted, summary, tally

TIMES = 5
PER_SECOND = 50
REAP_SECONDS = 5
FENCED = "results that came too late, and changed nothing"
_LATE = "SELECT count(*) FROM attempts WHERE outcome = 'unknown' AND error LIKE '%came late%'"


async def run(context: Context) -> list[Figure]:
    times = context.repetitions(TIMES, smoke=1)
    parts = [await context.keep(f"{times} times", Tally, partial(_stand_still, times))]
    return [*summary(parts, "workers stopped and continued"), counted(parts, FENCED, ">= 1")]


async def _stand_still(times: int, part: Part) -> Tally:
    async with postgres_site(part.folder, apis=1, workers=2) as site:
        await site.fleet.start()
        await site.add_app(site.fleet.urls[0])
        await site.sink.behave("*", "answer", after_seconds=0.2)  # so that something is under way at any moment
        async with site.producing(site.fleet.urls) as producer:
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                for turn in range(times):
                    await producer.wait_for_accepted(len(producer.accepted) + PER_SECOND)
                    zombie = site.fleet.workers[turn % 2]
                    os.kill(zombie.pid, signal.SIGSTOP)
                    try:
                        if part.is_smoke:
                            await age_leases(site)
                            await asyncio.sleep(REAP_SECONDS + 1)
                        else:
                            await asyncio.sleep(LEASE_SECONDS + REAP_SECONDS + 3)
                    finally:
                        os.kill(zombie.pid, signal.SIGCONT)
                enough.set()
            await site.wait_until_delivered(producer, within_seconds=60)
            await site.fleet.stop()
            async with looking(site.direct_url) as ask:
                late = await ask(_LATE)
            return tally(await site.evidence(producer), faults=times, counts={FENCED: late})


F4 = Scenario(
    id="F4",
    title="a worker that was stopped comes back, on PostgreSQL",
    fault="SIGSTOP for one of two workers until its leases are over and the other has its deliveries; then SIGCONT.",
    run=run,
)
