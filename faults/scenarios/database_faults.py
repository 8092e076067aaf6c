"""F5: PostgreSQL goes away, stands still or takes no writes, and comes back: nothing is lost, all goes on by itself."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import asyncpg

from faults.producer import LOST, Producer
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import PostgresSite, postgres_site
from faults.tally import Tally, counted, spread, summary, tally

TIMES = 3
PER_SECOND = 100
AWAY_SECONDS, STALL_SECONDS = 3.0, 30.0
MAX_CONNECTIONS = 40
ACCEPTED, DELIVERED = "until the first 201", "until the first delivery"
REFUSED = "requests refused or not answered"
ODD, UNTIMED = "answers 5xx other than 503", "answers 503 without Retry-After"
OURS = "datname = current_database() AND pid <> pg_backend_pid()"
END_ALL_BUT = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS} AND NOT pid = ANY($1)"

Fault = Callable[[PostgresSite, float], AbstractAsyncContextManager[None]]
"""The fault lasts as long as the context, for about so many seconds; after it the database is back."""


async def run(context: Context) -> list[Figure]:
    times = context.repetitions(TIMES, smoke=1)
    if context.is_smoke:
        parts = {"all": await context.keep("all", Tally, partial(_strike, list(FAULTS), times))}
    else:
        parts = {name: await context.keep(name, Tally, partial(_strike, [name], times)) for name in FAULTS}
    found = list(parts.values())
    figures = [*summary(found, "faults"), counted(found, REFUSED, f">= {len(FAULTS)}")]
    figures += [counted(found, ODD, "= 0"), counted(found, UNTIMED, "= 0")]
    for name in FAULTS:
        for what in (ACCEPTED, DELIVERED):
            seconds = [one for part in found for one in part.seconds.get(f"{name} {what}", [])]
            figures += spread(f"{name}: {what}", seconds, "<= 5 s")
    return figures


@asynccontextmanager
async def _stopped(how: str, site: PostgresSite, seconds: float) -> AsyncIterator[None]:
    match how:
        case "fast" | "immediate":
            await asyncio.to_thread(site.server.stop, how)
        case _:
            await asyncio.to_thread(site.server.kill)
    await asyncio.sleep(seconds)
    yield
    await asyncio.to_thread(site.server.start)


@asynccontextmanager
async def _backend_killed(site: PostgresSite, seconds: float) -> AsyncIterator[None]:  # noqa: ARG001 - it is over at once
    connection = await asyncpg.connect(site.direct_url)
    victim = await connection.fetchval(f"SELECT pid FROM pg_stat_activity WHERE {OURS} ORDER BY random() LIMIT 1")
    os.kill(victim, signal.SIGKILL)  # the server ends all the others, and recovers
    yield
    connection.terminate()
    await _until(lambda: _answers(site))


@asynccontextmanager
async def _stalled(site: PostgresSite, seconds: float) -> AsyncIterator[None]:
    site.proxy.stall()
    await asyncio.sleep(seconds * STALL_SECONDS / AWAY_SECONDS)
    yield
    site.proxy.resume()


@asynccontextmanager
async def _used_up(site: PostgresSite, seconds: float) -> AsyncIterator[None]:
    """Whoever connects first has the connections: Tocsin's are ended, and all are taken before it can come back."""
    hogs = [await asyncpg.connect(site.direct_url)]
    for _ in range(3):
        await hogs[0].execute(END_ALL_BUT, [hog.get_server_pid() for hog in hogs])
        while (hog := await _connect(site)) is not None:
            hogs.append(hog)
    await asyncio.sleep(seconds)
    yield
    await asyncio.gather(*(hog.close() for hog in hogs))


@asynccontextmanager
async def _read_only(site: PostgresSite, seconds: float) -> AsyncIterator[None]:
    await _set_system(site, "SET default_transaction_read_only = on")
    await asyncio.sleep(seconds)
    yield
    await _set_system(site, "RESET default_transaction_read_only")


async def _set_system(site: PostgresSite, change: str) -> None:
    for statement in (f"ALTER SYSTEM {change}", "SELECT pg_reload_conf()"):
        await asyncio.to_thread(site.server.run, statement)


FAULTS: dict[str, Fault] = {
    "fast restart": partial(_stopped, "fast"),
    "immediate restart": partial(_stopped, "immediate"),
    "kill -9 of the postmaster": partial(_stopped, "kill"),
    "kill -9 of a backend": _backend_killed,
    "stall": _stalled,
    "no connection left": _used_up,
    "read-only": _read_only,
}


async def _strike(names: list[str], times: int, part: Part) -> Tally:
    settings = {"max_connections": str(MAX_CONNECTIONS)}
    async with postgres_site(part.folder, apis=1, workers=1, server_settings=settings) as site:
        await site.fleet.start()
        await site.add_app(site.fleet.urls[0])
        seconds: dict[str, list[float]] = {}
        async with site.producing(site.fleet.urls) as producer:
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                for name in [name for name in names for _ in range(times)]:
                    await producer.wait_for_accepted(len(producer.accepted) + PER_SECOND)
                    away_seconds = AWAY_SECONDS * part.chance.uniform(0.5, 1) * (0.2 if part.is_smoke else 1)
                    async with FAULTS[name](site, away_seconds):
                        pass
                    accepted, delivered = await _time_the_return(site, producer)
                    seconds.setdefault(f"{name} {ACCEPTED}", []).append(accepted)
                    seconds.setdefault(f"{name} {DELIVERED}", []).append(delivered)
                enough.set()
            await site.wait_until_delivered(producer, within_seconds=60)
            await producer.use_keys_again(sorted(producer.accepted)[::50])
            await site.fleet.stop()
            refused = [answer for answer in producer.answers if answer.status >= 500]
            counts = {
                REFUSED: len(refused) + producer.counts[LOST],
                ODD: sum(answer.status != 503 for answer in refused),
                UNTIMED: sum(answer.status == 503 and not answer.has_retry_after for answer in refused),
            }
            return tally(await site.evidence(producer), faults=len(names) * times, counts=counts, seconds=seconds)


async def _time_the_return(site: PostgresSite, producer: Producer) -> tuple[float, float]:
    """Seconds from now until an event is accepted, and until one is delivered."""
    now_ns = time.monotonic_ns()
    accepted_ns, delivered_ns = await asyncio.gather(
        producer.next_answer(201, within_seconds=60), site.sink.next(within_seconds=60)
    )
    if not delivered_ns:
        raise RuntimeError("nothing was delivered within a minute after the database was back")
    return (accepted_ns - now_ns) / 1e9, (delivered_ns - now_ns) / 1e9


async def _connect(site: PostgresSite) -> "asyncpg.Connection[asyncpg.Record] | None":
    try:
        return await asyncpg.connect(site.direct_url)
    except asyncpg.TooManyConnectionsError:
        return None


async def _answers(site: PostgresSite) -> bool:
    try:
        connection = await asyncpg.connect(site.direct_url, timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    await connection.close()
    return True


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await is_so():
            await asyncio.sleep(0.05)  # a server that recovers tells nobody


F5 = Scenario(
    id="F5",
    title="faults of PostgreSQL",
    fault="Under 100 events/s: fast and immediate restart, SIGKILL for the postmaster and for a backend, a stall of "
    "15 to 30 s, all connections used up, and a database that is read-only. Times are from when it is back.",
    run=run,
    is_quick=True,
)
