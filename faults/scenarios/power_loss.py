"""F8: the power fails at any moment; what was not synced may be lost, and nothing that was promised is."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.bench import say
from faults import disk
from faults.database import Holdings, read_holdings, wait_until_none_is_live
from faults.powerloss import Survivors
from faults.producer import Producer
from faults.recorded import DATABASE, UNSYNCED, RecordedSite, database_url, promised_by, recorded_site
from faults.scenario import Context, Figure, Part, Scenario
from tests.processes import TOCSIN, Installation
from tests.sealer import SEALER
from tests.store.cast import FakeDispatch
from tocsin.clock import SystemClock
from tocsin.errors import ConfigError
from tocsin.keyring import SECRETS_AT_REST, parse_keys
from tocsin.sealing import Sealer
from tocsin.store.sqlite import SqliteStore

LOSSES, LOSSES_A_RECORDING = 300, 50
RESTARTS = 5
"""After how many of the losses of a recording the server is started again; after all of them its store is opened."""

EVENTS, PER_SECOND = 1500, 300


class Found(msgspec.Struct, kw_only=True):
    """What was found after the losses of one recording."""

    losses: int = 0
    promised: int = 0
    """Events that had been answered with 201, summed over the losses."""

    lost: int = 0
    lossy: int = 0
    """Losses after which any was lost."""

    damaged: int = 0
    restarts: int = 0
    undelivered: int = 0


async def run(context: Context) -> list[Figure]:
    losses = context.repetitions(LOSSES_A_RECORDING, smoke=15)
    recordings = context.repetitions(LOSSES // LOSSES_A_RECORDING, smoke=1)
    synced = [
        await context.keep(f"synced, {number}", Found, partial(_record_and_lose, losses, (TOCSIN,)))
        for number in range(1, recordings + 1)
    ]
    unsynced = await context.keep("unsynced", Found, partial(_record_and_lose, losses, UNSYNCED))
    return [
        Figure(name="power losses", value=sum(part.losses for part in synced)),
        Figure(name="events accepted before, summed over the losses", value=sum(part.promised for part in synced)),
        Figure(name="accepted events lost (I1)", value=sum(part.lost for part in synced), target="= 0"),
        Figure(name="databases damaged (I9)", value=sum(part.damaged for part in synced), target="= 0"),
        Figure(name="restarts of the server", value=sum(part.restarts for part in synced)),
        Figure(name="accepted events not delivered after one", value=sum(p.undelivered for p in synced), target="= 0"),
        Figure(name="for comparison, synchronous = NORMAL: power losses", value=unsynced.losses),
        Figure(name="of which lost accepted events", value=unsynced.lossy, target="> 0"),
        Figure(name="databases damaged", value=unsynced.damaged, target="= 0"),
    ]


async def _record_and_lose(losses: int, program: Sequence[str | Path], part: Part) -> Found:
    """Record a server under load until it is killed, and cut the power at moments of chance of what was recorded."""
    async with recorded_site(part.folder, part.chance, program) as site:
        await _load_and_kill(site, EVENTS // 4 if part.is_smoke else EVENTS)
        return await lose_power(site, part, losses=losses, restarts=0 if program == UNSYNCED else RESTARTS)


async def lose_power(site: RecordedSite, part: Part, *, losses: int, restarts: int) -> Found:
    """Cut the power at moments of chance of what was recorded, and at its end; look at what is left each time."""
    found = Found()
    records = list(site.recording.records())
    moments = sorted([*(part.chance.randrange(len(records)) for _ in range(losses - 1)), len(records)])
    restarted = set(part.chance.sample(range(losses), min(restarts, 1) if part.is_smoke else restarts))
    promised: dict[str, str] = {}
    begin = 0
    for number, end in enumerate(moments):
        for record in records[begin:end]:
            site.disk.follow(record)
            promised |= promised_by(record)
        begin = end
        place = part.folder / "after"
        place.mkdir()
        site.disk.write_out(place, list(Survivors)[number % len(Survivors)])
        await _look(place, promised, found)
        if number in restarted:
            await _restart(site, place, promised, found)
        shutil.rmtree(place)
    return found


async def _load_and_kill(site: RecordedSite, events: int) -> None:
    async with site.producing([site.server.url]) as producer:
        posting = asyncio.create_task(producer.post_steadily(asyncio.Event(), per_second=PER_SECOND))
        await producer.wait_for_accepted(events)
        await asyncio.to_thread(site.server.kill)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        check_recorded(site, producer)


def check_recorded(site: RecordedSite, producer: Producer) -> None:
    """Whether all answers of 201 are in the recording, without which nothing would have been promised."""
    promised = {event_id for record in site.recording.records() for event_id in promised_by(record)}
    unrecorded = {one.event_id for one in producer.accepted.values()} - promised
    if unrecorded:
        raise RuntimeError(f"{len(unrecorded)} answers of 201 are not in the recording")


async def _look(place: Path, promised: Mapping[str, str], found: Found) -> None:
    """Open the store on what the power loss left, as a start does, and look for what was promised."""
    found.losses += 1
    found.promised += len(promised)
    key = place / DATABASE.with_name(f"{DATABASE.name}.key")
    keyring = parse_keys(key.read_text().strip()) if key.exists() else None
    sealer = SEALER if keyring is None else Sealer(keyring.derive(SECRETS_AT_REST))
    try:
        store = SqliteStore(database_url(place), clock=SystemClock(), dispatch=FakeDispatch(), sealer=sealer)
        await store.close()
        holdings = await read_holdings(database_url(place))
    except ConfigError as error:
        say(f"  {error}")
        found.damaged += 1
        holdings = Holdings()
    found.damaged += bool(holdings.damage)
    lost = _lost(holdings, promised) if keyring is not None or not promised else len(promised)
    found.lost += lost
    found.lossy += bool(lost)


def _lost(holdings: Holdings, promised: Mapping[str, str]) -> int:
    """How many of the promised events are not there whole, with what became of their delivery."""
    stored = {event.id: event.body_sha for event in holdings.events}
    fated = {row.event_id for row in holdings.deliveries}
    return sum(stored.get(event_id) != digest or event_id not in fated for event_id, digest in promised.items())


async def _restart(site: RecordedSite, place: Path, promised: Mapping[str, str], found: Found) -> None:
    """Start the server where the power was lost: whatever is there must be delivered."""
    again = Installation(site.folder, TOCSIN_DATABASE_URL=database_url(place))
    for process in again.processes:
        del process.environment["TOCSIN_SECRET_KEY"]
    try:
        await asyncio.to_thread(again.serve)
        await wait_until_none_is_live(database_url(place), within_seconds=30)
        await asyncio.to_thread(again.stop)
    finally:
        again.end()
    holdings = await read_holdings(database_url(place))
    arrived = {one.message_id for one in site.sink.arrivals() if 200 <= one.status < 300}
    delivered = {row.event_id for row in holdings.deliveries if row.state == "delivered"} & arrived
    found.restarts += 1
    found.undelivered += len(promised.keys() - delivered)
    found.damaged += bool(holdings.damage)


F8 = Scenario(
    id="F8",
    title="power loss, on SQLite",
    fault=(
        "What the server does to its files is recorded below SQLite, with its answers. The power is cut at moments of "
        "chance of the recording: of what was not synced then, nothing is left, or a beginning, or any sectors of it. "
        "The store is opened on the rest, and the server started on some of them. For comparison the same with commits "
        "that are not synced."
    ),
    run=run,
    is_quick=True,
    missing=disk.missing,
)
