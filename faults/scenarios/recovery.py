"""F15: a receiver that was down for long comes back to everything it missed."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from faults.records import Arrival
from faults.scenario import Context, Figure, Part, Scenario
from faults.service import Steady
from faults.site import QUICK, sqlite_site

PATH = "/down"
SMOKE_SETTINGS = {**QUICK, "TOCSIN_RATE_LIMIT": "off"}
FULL_SETTINGS = {"TOCSIN_RATE_LIMIT": "off"}


class Size(msgspec.Struct, frozen=True, kw_only=True):
    queued: int
    down_seconds: float
    patience_seconds: float


FULL = Size(queued=20_000, down_seconds=600, patience_seconds=1800)
SMOKE = Size(queued=500, down_seconds=8, patience_seconds=60)


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    queued: int
    missing: int
    sends_while_down: int
    until_first_seconds: float
    drain_seconds: float
    """From the first arrival to the last."""

    at_first: int
    """Arrivals in the first second."""

    peak: int
    """Most arrivals in one second."""

    mean: float


async def _go_down_and_up(part: Part) -> Recovery:
    size = SMOKE if part.is_smoke else FULL
    async with sqlite_site(part.folder, SMOKE_SETTINGS if part.is_smoke else FULL_SETTINGS) as site:
        await asyncio.to_thread(site.installation.serve)
        await site.add_app(site.installation.url, paths=[PATH])
        await site.sink.behave(PATH, "answer", status=503)
        async with site.producing([site.installation.url]) as producer:
            await Steady(site, producer, per_second=size.queued / size.down_seconds).post(size.down_seconds)
            await site.sink.behave(PATH, "answer")
            up_ns = time.monotonic_ns()
            missing = await site.wait_until_delivered(producer, within_seconds=size.patience_seconds)
            arrivals = await asyncio.to_thread(site.sink.arrivals)
            return _recovery(arrivals, up_ns, queued=len(producer.accepted), missing=len(missing.get(PATH, ())))


def _recovery(arrivals: Sequence[Arrival], up_ns: int, *, queued: int, missing: int) -> Recovery:
    seconds = [(one.at_ns - up_ns) / 1e9 for one in arrivals if one.path == PATH and one.status < 300]
    after = [second for second in seconds if second >= 0]
    first, last = min(after, default=0.0), max(after, default=0.0)
    by_second = Counter(int(second - first) for second in after)
    return Recovery(
        queued=queued,
        missing=missing,
        sends_while_down=sum(one.status == 503 for one in arrivals),
        until_first_seconds=first,
        drain_seconds=last - first,
        at_first=by_second[0],
        peak=max(by_second.values(), default=0),
        mean=len(after) / max(last - first, 1.0),
    )


async def run(context: Context) -> list[Figure]:
    found = await context.keep("down and up", Recovery, _go_down_and_up)
    return [
        Figure(name="events queued", value=found.queued),
        Figure(name="not delivered in the end", value=found.missing, target="= 0"),
        Figure(name="sends while it was down", value=found.sends_while_down),
        Figure(name="from its return to the first arrival", value=found.until_first_seconds, unit="s"),
        Figure(name="from the first arrival to the last", value=found.drain_seconds, unit="s"),
        Figure(name="arrivals in the first second", value=found.at_first, unit="/s"),
        Figure(name="arrivals in the busiest second", value=found.peak, unit="/s"),
        Figure(name="arrivals on average", value=found.mean, unit="/s"),
        Figure(name="peak over mean", value=found.peak / found.mean if found.mean else 0, unit="x", target="< 3 x"),
    ]


F15 = Scenario(
    id="F15",
    title="a receiver comes back after ten minutes",
    fault="A receiver answers 503 for 10 minutes, while 20,000 events are posted at a steady rate; then it is well.",
    run=run,
)
