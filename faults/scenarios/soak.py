"""F22: steady load for half an hour; what grows, and what slows down."""

import asyncio
import time
from pathlib import Path

import msgspec

from benchmarks import procfs
from faults.database import looking
from faults.records import Arrival
from faults.scenario import Context, Figure, Part, Scenario
from faults.service import Service, Span, Steady, quantile, service_of
from faults.site import Site, sqlite_site

PER_SECOND = 100
APPS = 20
SETTINGS = {"TOCSIN_RATE_LIMIT": "off", "TOCSIN_RETENTION_DAYS": "1", "TOCSIN_RETRY_SCHEDULE": "0,0,5,30"}
"""A second attempt is due at once: from the first to the second is what it takes to record, to claim and to send."""

FULL_SECONDS, SMOKE_SECONDS = 1800.0, 12.0
WARM_UP = 1 / 3
"""The part of the time in which memory may still grow: pools fill, caches too."""

SAMPLES = 180


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    memory_mb: float
    live_rows: int
    database_mb: float
    wal_mb: float


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    accepted: int
    first_third: Service
    last_third: Service
    claims_first_seconds: float
    claims_last_seconds: float
    samples: list[Sample]


async def _soak(part: Part) -> Soaked:
    seconds = SMOKE_SECONDS if part.is_smoke else FULL_SECONDS
    async with sqlite_site(part.folder, SETTINGS) as site:
        await asyncio.to_thread(site.installation.serve)
        for app in range(APPS):
            await site.add_app(site.installation.url, name=f"app-{app}", paths=[f"/{app}"])
        await site.sink.behave("/0", "fail_first")
        async with site.producing([site.installation.url]) as producer:
            samples: list[Sample] = []
            sampling = asyncio.create_task(_sample(site, samples, pause_seconds=seconds / SAMPLES))
            span = await Steady(site, producer, per_second=PER_SECOND).post(seconds)
            sampling.cancel()
            await site.wait_until_delivered(producer, within_seconds=60)
            arrivals = await asyncio.to_thread(site.sink.arrivals)
            third_ns = (span.over_ns - span.begun_ns) // 3
            first = Span(span.begun_ns, span.begun_ns + third_ns)
            last = Span(span.over_ns - third_ns, span.over_ns)
            paths = [route.path for route in site.routes]
            return Soaked(
                accepted=len(producer.accepted),
                first_third=await service_of(site, producer, first, paths),
                last_third=await service_of(site, producer, last, paths),
                claims_first_seconds=_claim_p99(arrivals, first),
                claims_last_seconds=_claim_p99(arrivals, last),
                samples=samples,
            )


async def _sample(site: Site, samples: list[Sample], *, pause_seconds: float) -> None:
    path = Path(site.direct_url.removeprefix("sqlite:///"))
    begun_at = time.monotonic()
    while True:
        await asyncio.sleep(pause_seconds)
        async with looking(site.direct_url) as ask:
            live_rows = await ask("SELECT count(*) FROM deliveries")
        samples.append(
            Sample(
                seconds=time.monotonic() - begun_at,
                memory_mb=await asyncio.to_thread(procfs.memory_mb, [site.installation.pid]),
                live_rows=live_rows,
                database_mb=path.stat().st_size / 1024**2,
                wal_mb=path.with_name(f"{path.name}-wal").stat().st_size / 1024**2,
            )
        )


def _claim_p99(arrivals: list[Arrival], span: Span) -> float:
    """From the first attempt, which failed, to the second, which was due at once."""
    failed = {one.delivery_id: one.at_ns for one in arrivals if one.attempt == 1 and one.status == 503}
    seconds = [
        (one.at_ns - failed[one.delivery_id]) / 1e9
        for one in arrivals
        if one.attempt == 2 and one.delivery_id in failed and span.begun_ns <= one.at_ns < span.over_ns
    ]
    return quantile(sorted(seconds), 0.99)


def slope(samples: list[Sample]) -> float:
    """MiB in 10 minutes, by least squares, once it is warm."""
    warm = samples[int(len(samples) * WARM_UP) :]
    count = len(warm)
    if count < 2:
        return 0.0
    mean_seconds = sum(one.seconds for one in warm) / count
    mean_mb = sum(one.memory_mb for one in warm) / count
    above = sum((one.seconds - mean_seconds) * (one.memory_mb - mean_mb) for one in warm)
    return above / sum((one.seconds - mean_seconds) ** 2 for one in warm) * 600


async def run(context: Context) -> list[Figure]:
    found = await context.keep("steady load", Soaked, _soak)
    first, last = found.samples[0], found.samples[-1]
    grown_bytes = (last.database_mb - first.database_mb) * 1024**2
    claims = found.claims_last_seconds / found.claims_first_seconds if found.claims_first_seconds else 0
    return [
        Figure(name="events accepted", value=found.accepted),
        Figure(name="not delivered", value=found.first_third.missing + found.last_third.missing, target="= 0"),
        Figure(name="memory, slope in 10 minutes", value=slope(found.samples), unit="MiB", target="< 1 MiB"),
        Figure(name="memory at the end", value=last.memory_mb, unit="MiB"),
        Figure(name="p99 of a claim in the first third", value=found.claims_first_seconds * 1000, unit="ms"),
        Figure(name="p99 of a claim in the last third", value=found.claims_last_seconds * 1000, unit="ms"),
        Figure(name="as a multiple", value=claims, unit="x", target="<= 1.5 x"),
        Figure(name="p99 in the first third", value=found.first_third.p99_seconds * 1000, unit="ms"),
        Figure(name="p99 in the last third", value=found.last_third.p99_seconds * 1000, unit="ms"),
        Figure(name="live deliveries at most", value=max(one.live_rows for one in found.samples), target="<= 1000"),
        Figure(name="write-ahead log at most", value=max(one.wal_mb for one in found.samples), unit="MiB"),
        Figure(name="database an event", value=grown_bytes / max(found.accepted, 1), unit="bytes"),
    ]


F22 = Scenario(
    id="F22",
    title="half an hour of steady load",
    fault=(
        f"{PER_SECOND} events/s of {APPS} apps; one of the {APPS} receivers refuses each message once with 503. "
        "History is kept for a day, so that nothing of it is removed meanwhile."
    ),
    run=run,
    is_soak=True,
)
