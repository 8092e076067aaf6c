"""How receivers were served in a span of time: how soon, how much of what was due to them, and how evenly."""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import msgspec

from faults.checker import Route
from faults.producer import Producer
from faults.records import Accepted, Arrival
from faults.site import Site

GRACE_SECONDS = 8.0
"""For what is under way when a span is over; less than an attempt may take, so that what waits for one is missing."""


class Span(msgspec.Struct, frozen=True):
    """From when until when, in ns on the monotonic clock."""

    begun_ns: int
    over_ns: int

    @property
    def seconds(self) -> float:
        return (self.over_ns - self.begun_ns) / 1e9


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Times are from when an event was first posted to when a receiver took it."""

    due: int
    missing: int
    """What had not arrived when it was looked; until then it counts as having waited."""

    p50_seconds: float
    p99_seconds: float
    p999_seconds: float
    share: float
    """What arrived within the span, of all that was posted in it."""

    jain: float
    """Jain's index of the shares of each receiver: 1 when all are served alike, 1/n when one gets everything."""


class Steady:
    """A steady load on a site, and how its receivers are served."""

    def __init__(self, site: Site, producer: Producer, *, per_second: float) -> None:
        self._site = site
        self._producer = producer
        self._per_second = per_second

    async def post(self, seconds: float) -> Span:
        begun_ns = time.monotonic_ns()
        enough = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, enough.set)
        await self._producer.post_steadily(enough, per_second=self._per_second)
        return Span(begun_ns, begun_ns + int(seconds * 1e9))

    async def measure(self, paths: Collection[str], seconds: float) -> Service:
        """Post for so long, and see how these receivers were served once all is there or given up."""
        span = await self.post(seconds)
        await self._site.wait_until_delivered(self._producer, paths=list(paths), within_seconds=GRACE_SECONDS)
        return await service_of(self._site, self._producer, span, paths)


async def service_of(site: Site, producer: Producer, span: Span, paths: Collection[str]) -> Service:
    """How a site's receivers were served, as far as it is known now."""
    return served(
        span,
        accepted=producer.accepted.values(),
        arrivals=await asyncio.to_thread(site.sink.arrivals),
        routes=site.routes,
        paths=set(paths),
        looked_ns=time.monotonic_ns(),
    )


def served(
    span: Span,
    *,
    accepted: Iterable[Accepted],
    arrivals: Iterable[Arrival],
    routes: Sequence[Route],
    paths: Collection[str],
    looked_ns: int,
) -> Service:
    """How the receivers on these paths were served with what was posted in a span."""
    first: dict[tuple[str, int], int] = {}
    for one in arrivals:
        if 200 <= one.status < 300 and one.path in paths:
            first.setdefault((one.path, one.number), one.at_ns)
    wanted: dict[str, list[str]] = {}
    for route in routes:
        if route.path in paths:
            wanted.setdefault(route.app, []).append(route.path)
    waits: list[float] = []
    due, in_time = Counter[str](), Counter[str]()
    missing = 0
    for event in accepted:
        if not span.begun_ns <= event.sent_ns < span.over_ns:
            continue
        for path in wanted.get(event.app, ()):
            at_ns = first.get((path, event.number))
            due[path] += 1
            missing += at_ns is None
            in_time[path] += at_ns is not None and at_ns < span.over_ns
            waits.append(((looked_ns if at_ns is None else at_ns) - event.sent_ns) / 1e9)
    waits.sort()
    return Service(
        due=due.total(),
        missing=missing,
        p50_seconds=quantile(waits, 0.5),
        p99_seconds=quantile(waits, 0.99),
        p999_seconds=quantile(waits, 0.999),
        share=in_time.total() / due.total() if due else 0.0,
        jain=jain_index([in_time[path] / due[path] for path in due]),
    )


def quantile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that at least this part of all is not above; 0 without any."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def jain_index(shares: Sequence[float]) -> float:
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0
