"""F7: the disk of the database fills up, and has room again later."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial

import httpx
import msgspec

from faults import namespaces
from faults.checker import figures
from faults.namespaces import MOUNTS, Ballast, in_namespace, small_disk
from faults.producer import Producer
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import QUICK, Site, Tally, postgres_site, sqlite_site, tally
from faults.tally import spread
from tocsin.store.sqlite.space import Room

ROUNDS = 10
PER_SECOND = 100
FULL_SECONDS = 3
WAITING_SECONDS = 2
SETTINGS = {**QUICK, "TOCSIN_RETRY_SCHEDULE": ",".join(["0", *["2"] * 15])}
"""What is refused waits so long that some of it is due while the disk is full."""

PATIENCE_SECONDS = 20
POSTGRES_MIB, POSTGRES_ROUNDS = 256, 4
SMALL_LOG = {"min_wal_size": "32MB", "max_wal_size": "64MB"}
SQLITE_MIB = 48
LEFT = Room(free=0, total=SQLITE_MIB << 20).reserve // 2, 0
"""How many bytes are left free: half of what Tocsin keeps for delivering, or none."""

GUARD_SECONDS = 1.5
"""How long it may take to be seen: the disk is looked at once a second."""


class Full(msgspec.Struct, kw_only=True):
    """What was found under full disks."""

    tally: Tally
    refused: int
    """Requests that were answered with 503."""

    late: int = 0
    """Answers of 201 once the guard must have seen that the disk is nearly full."""

    silent: int = 0
    """Rounds in which readiness did not tell."""

    delivered: int = 0
    """Messages that arrived while events were refused."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """From when until when (in ns on the monotonic clock) there was no room, and what was seen."""

    full_ns: int
    refused_ns: int
    """When the first event was refused."""

    freed_ns: int
    readiness: int
    """The status that readiness was answered with."""


async def run(context: Context) -> list[Figure]:
    rounds = context.repetitions(ROUNDS, smoke=2)
    part = await context.keep("sqlite", Full, lambda part: in_namespace(MOUNTS, partial(_fill_sqlite, rounds, part)))
    found = [
        *_figures("SQLite", part),
        Figure(name=f"SQLite: answers of 201 later than {GUARD_SECONDS} s after that", value=part.late, target="= 0"),
        Figure(name="SQLite: times that readiness did not tell", value=part.silent, target="= 0"),
        Figure(name="SQLite: messages delivered while events were refused", value=part.delivered, target="> 0"),
    ]
    if context.is_smoke:
        return found
    part = await context.keep("postgres", Full, lambda part: in_namespace(MOUNTS, partial(_fill_postgres, part)))
    return [*found, *_figures("PostgreSQL", part)]


def _figures(database: str, part: Full) -> list[Figure]:
    found = [
        Figure(name="times that the disk was full, or nearly", value=part.tally.faults),
        Figure(name="events accepted", value=part.tally.accepted),
        Figure(name="requests answered with 503", value=part.refused, target="> 0"),
        *spread("from room, and a running database, to the next 201", part.tally.seconds["recovered"], "<= 5 s"),
        *figures([part.tally.violations]),
    ]
    return [msgspec.structs.replace(figure, name=f"{database}: {figure.name}") for figure in found]


async def _fill_sqlite(rounds: int, part: Part) -> Full:
    async with sqlite_site(part.folder, SETTINGS) as site:
        place = part.folder / "small"
        place.mkdir()
        with small_disk(place, SQLITE_MIB):
            shutil.move(part.folder / "tocsin.db", place)
            site.installation.environment["TOCSIN_DATABASE_URL"] = f"sqlite:///{place}/tocsin.db"
            try:
                return await _fill_under_load(site, rounds, Ballast(place), lambda: None)
            finally:
                await asyncio.to_thread(site.installation.end)


async def _fill_postgres(part: Part) -> Full:
    async with postgres_site(part.folder, SETTINGS, server_settings=SMALL_LOG) as site:
        site.server.stop()
        data = site.server.folder / "data"
        kept = data.rename(data.with_name("kept"))
        data.mkdir()
        with small_disk(data, POSTGRES_MIB):
            subprocess.run(["cp", "-a", f"{kept}/.", str(data)], check=True)
            site.server.start()

            def revive() -> None:
                # Without room for its log PostgreSQL may end for good; whoever runs it starts it again.
                if not site.server.is_alive:
                    site.server.kill()
                    site.server.start()

            try:
                return await _fill_under_load(site, POSTGRES_ROUNDS, Ballast(data), revive)
            finally:
                await asyncio.to_thread(site.installation.end)
                site.server.stop("immediate")


async def _fill_under_load(site: Site, rounds: int, ballast: Ballast, revive: Callable[[], None]) -> Full:
    server = site.installation.add_process("all", name="tried")
    await asyncio.to_thread(server.start)
    await site.add_app(server.url)
    async with site.producing([server.url]) as producer:
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
            done = []
            for number in range(rounds):
                full = await _fill_once(site, producer, ballast, LEFT[number % len(LEFT)])
                await asyncio.to_thread(revive)
                ready_ns = time.monotonic_ns()
                recovered_ns = await producer.next_answer(201)
                done.append((full, (recovered_ns - ready_ns) / 1e9))
            enough.set()
        await site.wait_until_delivered(producer, within_seconds=60)
        await asyncio.to_thread(server.stop)
        evidence = await site.evidence(producer)
        seconds = {"recovered": [recovered_seconds for _, recovered_seconds in done]}
        found = Full(tally=tally(evidence, faults=rounds, seconds=seconds), refused=producer.counts[503])
        answered = [answer.at_ns for answer in producer.answers if answer.status == 201]
        arrived = [arrival.at_ns for arrival in evidence.arrivals if 200 <= arrival.status < 300]
        for full, _ in done:
            seen_ns = full.full_ns + int(GUARD_SECONDS * 1e9)
            found.late += sum(seen_ns < at_ns < full.freed_ns for at_ns in answered)
            found.delivered += sum(full.refused_ns < at_ns < full.freed_ns for at_ns in arrived)
            found.silent += full.readiness != 503
        return found


async def _fill_once(site: Site, producer: Producer, ballast: Ballast, leave_bytes: int) -> Round:
    """Fill the disk while messages wait for their next attempt, and make room."""
    await site.sink.behave("*", "fail_first", every=3)
    await producer.next_answer(201)
    await asyncio.sleep(WAITING_SECONDS)
    ballast.fill(leave_bytes=leave_bytes)
    full_ns = time.monotonic_ns()
    refused_ns = await producer.next_answer(503)
    await asyncio.sleep(FULL_SECONDS)
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        readiness = (await client.get(f"{producer.urls[0]}/readyz")).status_code
    freed_ns = time.monotonic_ns()
    ballast.drop()
    return Round(full_ns=full_ns, refused_ns=refused_ns, freed_ns=freed_ns, readiness=readiness)


F7 = Scenario(
    id="F7",
    title="disk full",
    fault=(
        f"The database is on an ext4 of {SQLITE_MIB} MiB. Under {PER_SECOND} events/s, a third of them refused at "
        f"first, it is filled for {FULL_SECONDS} s, in turns to half of what Tocsin keeps for delivering and to "
        f"the last byte; then there is room again. The same with all of PostgreSQL's data on {POSTGRES_MIB} MiB, which "
        "is started again if it ended."
    ),
    run=run,
    is_quick=True,
    missing=partial(namespaces.missing, MOUNTS),
)
