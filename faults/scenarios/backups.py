"""F24: a backup is made while events come and go, and later takes the place of the database."""

import asyncio
import sqlite3
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import msgspec

from faults import checker
from faults.checker import Evidence
from faults.database import SQLITE, wait_until_none_is_live
from faults.producer import Producer
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import Site, postgres_site, sqlite_site
from faults.tally import Tally, counted, summary, tally, times

TIMES = 5
PER_SECOND = 100
AFTERWARDS = 200
"""Events that are accepted after the backup."""

RESTORED = "restored"
BACKUP, RESTORE = "making the backup", "from the stop to readiness on the backup"
FORGOTTEN = "events accepted after the backup was begun that it does not have"
MADE_AGAIN = "deliveries that were made after the backup, and again"


async def run(context: Context) -> list[Figure]:
    found = []
    for number in range(1, context.repetitions(TIMES, smoke=1) + 1):
        found.append(await context.keep(f"SQLite, {number}", Tally, _on_sqlite))
        found.append(await context.keep(f"PostgreSQL, {number}", Tally, _on_postgres))
    return [
        *summary(found, "backups restored"),
        counted(found, FORGOTTEN),
        counted(found, MADE_AGAIN),
        *times(found, BACKUP),
        *times(found, RESTORE),
    ]


async def _on_sqlite(part: Part) -> Tally:
    async with sqlite_site(part.folder) as site:
        await asyncio.to_thread(site.installation.serve)
        path = Path(site.direct_url.removeprefix(SQLITE))
        copy = path.with_name("copy.db")

        def copy_file() -> None:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                database.execute("VACUUM INTO ?", (str(copy),))

        def put_in_place() -> None:
            site.installation.stop()
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            copy.replace(path)
            path.chmod(0o600)
            site.installation.serve()

        async def back_up() -> None:
            await asyncio.to_thread(copy_file)

        async def restore() -> None:
            await asyncio.to_thread(put_in_place)

        async def stop() -> None:
            await asyncio.to_thread(site.installation.stop)

        return await _lose_a_while(site, site.installation.url, back_up, restore, stop)


async def _on_postgres(part: Part) -> Tally:
    async with postgres_site(part.folder) as site:
        await site.fleet.start()
        dump = part.folder / "tocsin.dump"

        async def back_up() -> None:
            program = site.server.programs / "pg_dump"
            await asyncio.to_thread(_run, program, "--format=custom", f"--file={dump}", site.direct_url)

        async def restore() -> None:
            await site.fleet.stop()
            await asyncio.to_thread(site.server.remove_database, site.database)
            await asyncio.to_thread(site.server.add_database, site.database)
            command = (site.server.programs / "pg_restore", "--no-owner", "--exit-on-error")
            await asyncio.to_thread(_run, *command, f"--dbname={site.direct_url}", dump)
            await site.fleet.start()

        async def stop() -> None:
            await site.fleet.stop()

        return await _lose_a_while(site, site.fleet.urls[0], back_up, restore, stop)


Step = Callable[[], Awaitable[None]]


async def _lose_a_while(site: Site, url: str, back_up: Step, restore: Step, stop: Step) -> Tally:
    """Back up under load, go on for a while, and go back to the backup: all that it has is delivered or was."""
    await site.add_app(url)
    await site.sink.behave("/1", "fail_first", every=2)  # so that some of what is backed up is still to be delivered
    async with site.producing([url]) as producer:
        begun_ns, backup_seconds = await _back_up_under_load(producer, back_up)
        known_early = {one.number for one in producer.accepted.values() if one.accepted_ns < begun_ns}
        await site.wait_until_delivered(producer, within_seconds=30)
        restored_ns = time.monotonic_ns()
        await restore()
        restore_seconds = (time.monotonic_ns() - restored_ns) / 1e9
        await producer.post_all(50)
        restored = await site.evidence(producer)
        kept = {event.number for event in restored.holdings.events}
        known = [one.number for one in producer.accepted.values() if one.number in kept]
        await site.sink.wait_for({"/1": known}, within_seconds=30)
        await wait_until_none_is_live(site.direct_url, within_seconds=30)
        await stop()
        evidence = await site.evidence(producer)
    forgotten = producer.accepted.keys() - kept
    if forgotten & known_early:
        raise RuntimeError(f"{len(forgotten & known_early)} events from before the backup are not in it")
    counts = {FORGOTTEN: len(forgotten), MADE_AGAIN: len(checker.duplicates(evidence))}
    seconds = {BACKUP: [backup_seconds], RESTORE: [restore_seconds]}
    return tally(_since_restored(evidence, kept, restored_ns), faults=1, counts=counts, seconds=seconds)


async def _back_up_under_load(producer: Producer, back_up: Step) -> tuple[int, float]:
    """When the backup was begun, in ns on the monotonic clock, and how many seconds it took."""
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
        await producer.wait_for_accepted(2 * PER_SECOND)
        begun_ns = time.monotonic_ns()
        await back_up()
        backup_seconds = (time.monotonic_ns() - begun_ns) / 1e9
        await producer.wait_for_accepted(len(producer.accepted) + AFTERWARDS)
        enough.set()
    return begun_ns, backup_seconds


def _since_restored(evidence: Evidence, kept: set[int], restored_ns: int) -> Evidence:
    """What is to be held against a restored installation: what it knows of, and nothing that it was made to forget."""
    attempted = {one.delivery_id for one in evidence.arrivals if one.at_ns > restored_ns}
    return msgspec.structs.replace(
        evidence,
        accepted=[one for one in evidence.accepted if one.number in kept],
        arrivals=[one for one in evidence.arrivals if one.at_ns > restored_ns or one.delivery_id not in attempted],
    )


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


F24 = Scenario(
    id="F24",
    title="going back to a backup, on both databases",
    fault="A backup is made under 100 events/s, as docs/production.md says; 200 events later it takes the place of the "
    "database. What came in between is forgotten, and what was delivered in between is delivered again.",
    run=run,
)
