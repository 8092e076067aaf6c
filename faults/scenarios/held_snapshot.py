"""F6: a transaction that somebody left open keeps PostgreSQL from clearing dead rows while deliveries come and go."""

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles

import asyncpg

from faults.scenario import Context, Figure, Part, Scenario
from faults.site import QUICK, postgres_site
from faults.tally import Tally, summary, tally

BEFORE_SECONDS, HELD_SECONDS, AFTER_SECONDS = 60, 600, 60
PER_SECOND = 300
SAMPLED = 0.2
"""The share of statements whose duration the server logs."""

# A claim's statement begins like this, and is logged with the time it took.
_CLAIM = re.compile(r"duration: ([\d.]+) ms  execute [^:]*: \s*WITH sendable", re.ASCII)
DEAD = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'deliveries'"


async def run(context: Context) -> list[Figure]:
    part = await context.keep("held", Tally, _hold)
    p99 = {name: _p99(part.seconds[name]) for name in ("before", "while held", "afterwards")}
    return [
        *summary([part], "snapshots held"),
        *(Figure(name=f"claims {name}, p99", value=value, unit="ms") for name, value in p99.items()),
        Figure(
            name="claims while held, p99 against before",
            value=p99["while held"] / p99["before"],
            unit="times",
            target="< 5",
        ),
        Figure(
            name="claims afterwards, p99 against before",
            value=p99["afterwards"] / p99["before"],
            unit="times",
            target="< 2",
        ),
        *(Figure(name=name, value=count) for name, count in part.counts.items()),
    ]


RETRIED = {"TOCSIN_RETRY_SCHEDULE": QUICK["TOCSIN_RETRY_SCHEDULE"]}
"""With leases as they usually are: what is measured here must not end them."""


async def _hold(part: Part) -> Tally:
    shrink = 30 if part.is_smoke else 1
    settings = {"log_min_duration_sample": "0", "log_statement_sample_rate": str(1 if part.is_smoke else SAMPLED)}
    async with postgres_site(part.folder, RETRIED, apis=1, workers=1, server_settings=settings) as site:
        await site.fleet.start()
        await site.add_app(site.fleet.urls[0])
        await site.sink.behave("/1", "fail_first", every=2)  # so that half of it is claimed
        holder = await asyncpg.connect(site.direct_url)
        async with site.producing(site.fleet.urls) as producer:
            enough = asyncio.Event()
            durations_ms: dict[str, list[float]] = {}
            dead: dict[str, int] = {}
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND / (3 if part.is_smoke else 1)))
                observe = partial(_observe, site.server.log, durations_ms)
                await observe("before", BEFORE_SECONDS / shrink)
                await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                await holder.fetchval("SELECT count(*) FROM deliveries")
                await observe("while held", HELD_SECONDS / shrink)
                await holder.execute("ROLLBACK")
                dead["dead rows of live deliveries, at the end of the transaction"] = await holder.fetchval(DEAD)
                await observe("afterwards", AFTER_SECONDS / shrink)
                dead["dead rows of live deliveries, afterwards"] = await holder.fetchval(DEAD)
                enough.set()
            await holder.close()
            await site.wait_until_delivered(producer, within_seconds=120)
            await site.fleet.stop()
            return tally(await site.evidence(producer), faults=1, counts=dead, seconds=durations_ms)


async def _observe(log: Path, durations_ms: dict[str, list[float]], name: str, seconds: float) -> None:
    """Note how long claims take in this time, in ms."""
    begin = log.stat().st_size
    await asyncio.sleep(seconds)
    with log.open(errors="replace") as lines:
        lines.seek(begin)
        durations_ms[name] = [float(found[1]) for found in _CLAIM.finditer(lines.read())]


def _p99(durations: Sequence[float]) -> float:
    return quantiles(durations, n=100, method="inclusive")[98]


F6 = Scenario(
    id="F6",
    title="a snapshot held open, on PostgreSQL",
    fault="A REPEATABLE READ transaction stays open for 10 minutes under 300 events/s, half of which are claimed.",
    run=run,
)
