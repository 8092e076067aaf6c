"""F3: processes are stopped as an upgrade stops them, one after the other, while receivers take a second to answer."""

import asyncio
import time
from functools import partial

from faults.scenario import Context, Figure, Part, Scenario
from faults.site import postgres_site
from faults.tally import Tally, counted, summary, tally, times

RESTARTS = 50
APPS = 8
PER_SECOND = 20
ANSWER_SECONDS = 1.0
STOPPED = "from SIGTERM to the exit"
BAD_EXITS, REFUSED, UNANSWERED = (
    "exit statuses other than 0",
    "answers 5xx",
    "requests refused a connection, or that lost it",
)


async def run(context: Context) -> list[Figure]:
    restarts = context.repetitions(RESTARTS, smoke=4)
    parts = [await context.keep(f"{restarts} restarts", Tally, partial(_restart_under_load, restarts))]
    return [
        *summary(parts, "restarts"),
        Figure(name="messages that arrived twice", value=sum(part.duplicates for part in parts), target="= 0"),
        counted(parts, BAD_EXITS, "= 0"),
        counted(parts, REFUSED, "= 0"),
        counted(parts, UNANSWERED),
        *times(parts, STOPPED, "<= 20 s"),
    ]


async def _restart_under_load(restarts: int, part: Part) -> Tally:
    async with postgres_site(part.folder, {}, apis=2, workers=2, ports=4) as site:
        await site.fleet.start()
        for number in range(APPS):
            await site.add_app(site.fleet.urls[0], name=f"app-{number}", paths=[f"/{number}"], port=number % 4)
        await site.sink.behave("*", "answer", after_seconds=ANSWER_SECONDS)
        async with site.producing(site.fleet.urls) as producer:
            seconds: list[float] = []
            bad_exits = 0
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                for turn in range(restarts):
                    await producer.wait_for_accepted(len(producer.accepted) + PER_SECOND)
                    process = site.fleet.processes[turn % len(site.fleet.processes)]
                    told_at = time.monotonic()
                    bad_exits += await asyncio.to_thread(process.stop) != 0
                    seconds.append(time.monotonic() - told_at)
                    await asyncio.to_thread(process.start)
                enough.set()
            await site.wait_until_delivered(producer, within_seconds=60)
            await site.fleet.stop()
            answers = producer.counts
            counts = {
                BAD_EXITS: bad_exits,
                REFUSED: sum(times for status, times in answers.items() if status >= 500),
                UNANSWERED: answers[0],
            }
            return tally(await site.evidence(producer), faults=restarts, counts=counts, seconds={STOPPED: seconds})


F3 = Scenario(
    id="F3",
    title="rolling restarts, on PostgreSQL",
    fault="Two APIs and two workers, one after the other: SIGTERM, and started again, under 20 events/s to receivers "
    "that take 1 s to answer.",
    run=run,
    is_quick=True,
)
