"""F12 and F13: what healthy receivers notice of others that hang, catch up, or are flooded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import msgspec

from benchmarks.bench import say
from faults.client import Client
from faults.scenario import Context, Figure, Part, Scenario
from faults.service import Service, Steady
from faults.site import Site, sqlite_site

SETTINGS = {"TOCSIN_RATE_LIMIT": "off"}
BATCH = 100
FLOOD_RECEIVERS = 10
FLOOD_BATCHES_PER_SECOND = 2

Layout = Literal["one address", "an address each"]
LAYOUTS: tuple[Layout, ...] = ("one address", "an address each")


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Receivers are spread over the apps evenly; each event of an app is for all of its receivers."""

    apps: int
    receivers_an_app: int
    events_per_second: float
    seconds: float
    backlog: int

    def paths(self, app: int) -> list[str]:
        return [f"/{app}/{number}" for number in range(self.receivers_an_app)]


FULL = Size(apps=20, receivers_an_app=10, events_per_second=30, seconds=30, backlog=100_000)
SMOKE = Size(apps=4, receivers_an_app=10, events_per_second=30, seconds=4, backlog=2_000)


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The same receivers, before and during the fault."""

    before: Service
    during: Service


class Course:
    """The installation of one part, and what is measured on it."""

    def __init__(self, site: Site, load: Steady, size: Size) -> None:
        self.site = site
        self.size = size
        self.paths = [path for app in range(size.apps) for path in size.paths(app)]
        self._load = load

    async def compare(self, paths: Collection[str], strike: Callable[[], Awaitable[object]]) -> Compared:
        """How these receivers are served before the fault and with it, after a while to warm up."""
        seconds = self.size.seconds
        await self._load.post(seconds / 4)
        before = await self._load.measure(paths, seconds)
        await strike()
        return Compared(before=before, during=await self._load.measure(paths, seconds))


@asynccontextmanager
async def _course(part: Part, layout: Layout = "one address") -> AsyncIterator[Course]:
    """Healthy receivers on paths of one port, or on a port each."""
    size = SMOKE if part.is_smoke else FULL
    each = layout == "an address each"
    async with sqlite_site(part.folder, SETTINGS, ports=size.apps * size.receivers_an_app if each else 1) as site:
        await asyncio.to_thread(site.installation.serve)
        for app in range(size.apps):
            await site.add_app(
                site.installation.url,
                name=f"app-{app}",
                paths=size.paths(app),
                port=app * size.receivers_an_app if each else 0,
                has_port_each=each,
            )
        async with site.producing([site.installation.url]) as producer:
            yield Course(site, Steady(site, producer, per_second=size.events_per_second), size)


async def _hang(hanging_of_ten: int, layout: Layout, part: Part) -> Compared:
    """From a moment on, so many of each ten receivers take requests and never answer."""
    async with _course(part, layout) as course:
        hanging = [path for path in course.paths if int(path.rpartition("/")[2]) % 10 < hanging_of_ten]

        async def strike() -> None:
            await asyncio.gather(*(course.site.sink.behave(path, "hang") for path in hanging))

        return await course.compare(set(course.paths) - set(hanging), strike)


async def _catch_up(part: Part) -> Compared:
    """A notifier that was paused, with many deliveries waiting, is resumed."""
    async with _course(part) as course, _client(course.site) as client:
        notifier_id = await _add_app(course.site, client, "backlog", ["/backlog"])
        notifier = f"/apps/backlog/notifiers/{notifier_id}"
        await client.call("POST", f"{notifier}/pause", {"pause": {}})
        for _ in range(course.size.backlog // BATCH):
            await client.post_many("backlog", BATCH)
        return await course.compare(course.paths, partial(client.call, "POST", f"{notifier}/resume"))


async def _flood(part: Part) -> Compared:
    """One app posts more than can be delivered, and goes on."""
    async with _course(part) as course, _client(course.site) as client:
        await _add_app(course.site, client, "flood", [f"/flood/{number}" for number in range(FLOOD_RECEIVERS)])
        flooding: list[asyncio.Task[None]] = []

        async def flood() -> None:
            while True:
                await client.post_many("flood", BATCH)
                await asyncio.sleep(1 / FLOOD_BATCHES_PER_SECOND)

        async def strike() -> None:
            flooding.append(asyncio.create_task(flood()))

        try:
            return await course.compare(course.paths, strike)
        finally:
            for task in flooding:
                task.cancel()


@asynccontextmanager
async def _client(site: Site) -> AsyncIterator[Client]:
    async with Client.of(site.installation.url, site.token) as client:
        yield client


async def _add_app(site: Site, client: Client, name: str, paths: Sequence[str]) -> str:
    """An app beside those that are measured; answers with the id of its last notifier."""
    await client.add_app(name)
    for path in paths:
        notifier_id = await client.add_notifier(name, path, {"webhook_url": site.sink.url(path)})
    return notifier_id


def _figures(name: str, found: Compared, *, targets: Mapping[str, str]) -> list[Figure]:
    before, during = found.before, found.during
    multiple = during.p99_seconds / before.p99_seconds if before.p99_seconds else float("inf")
    values = {
        "healthy p50 before": (before.p50_seconds * 1000, "ms"),
        "healthy p99 before": (before.p99_seconds * 1000, "ms"),
        "healthy p99.9 before": (before.p999_seconds * 1000, "ms"),
        "healthy p50": (during.p50_seconds * 1000, "ms"),
        "healthy p99": (during.p99_seconds * 1000, "ms"),
        "healthy p99.9": (during.p999_seconds * 1000, "ms"),
        "healthy p99, as a multiple": (multiple, "x"),
        "share delivered in time": (during.share * 100, "%"),
        "Jain index": (during.jain, ""),
        "not delivered": (during.missing, ""),
    }
    say(f"{name}: {during.due} due, {during.missing} missing")
    return [
        Figure(name=f"{what}, {name}", value=value, unit=unit, target=targets.get(what, ""))
        for what, (value, unit) in values.items()
    ]


async def _half(context: Context) -> list[Figure]:
    targets = {
        "healthy p99": "< 500 ms",
        "healthy p99, as a multiple": "<= 2 x",
        "share delivered in time": ">= 90 %",
        "Jain index": "> 0.95",
        "not delivered": "= 0",
    }
    figures: list[Figure] = []
    for layout in LAYOUTS[: context.repetitions(2, smoke=1)]:
        found = await context.keep(f"half hang, {layout}", Compared, partial(_hang, 5, layout))
        figures += _figures(f"50 % hang, {layout}", found, targets=targets)
    return figures


async def _most(context: Context) -> list[Figure]:
    targets = {"healthy p99": "< 1000 ms", "Jain index": "> 0.95", "not delivered": "= 0"}
    figures: list[Figure] = []
    for layout in LAYOUTS[: context.repetitions(2, smoke=1)]:
        found = await context.keep(f"most hang, {layout}", Compared, partial(_hang, 9, layout))
        figures += _figures(f"90 % hang, {layout}", found, targets=targets)
    caught_up = await context.keep("backlog", Compared, _catch_up)
    flooded = await context.keep("flood", Compared, _flood)
    figures += _figures("one catches up", caught_up, targets=targets)
    figures += _figures("one app floods", flooded, targets=targets)
    return figures


F12 = Scenario(
    id="F12",
    title="half of the receivers hang",
    fault=(
        "Of 200 receivers of 20 apps, 100 begin to take requests and never answer; 300 deliveries/s are due. Once all "
        "are paths of one address, once each has a port of its own. Attempts may take 15 s."
    ),
    run=_half,
    is_quick=True,
)

F13 = Scenario(
    id="F13",
    title="most of the receivers hang; one catches up; one app floods",
    fault=(
        "As before with 180 of 200. Then, with all healthy: a notifier beside them is resumed with 100,000 deliveries "
        "waiting; an app beside them makes 2,000 deliveries/s."
    ),
    run=_most,
)
