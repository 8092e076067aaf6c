"""A server on SQLite whose disk is recorded from its first start on, with a receiver and a producer."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.subjects import ROOT
from faults.disk import Record, Recording
from faults.powerloss import Disk
from faults.records import sha
from faults.sink import Sink
from faults.site import QUICK, Site
from tests.processes import TOCSIN, Installation, Process

DATABASE = Path("data") / "tocsin.db"
UNSYNCED: Sequence[str | Path] = (sys.executable, ROOT / "faults" / "unsynced.py")
"""In the place of Tocsin's command: the same with commits that are not synced."""


class RecordedSite(Site):
    """`server` is the recorded process, `disk` its disk as it was before the first start."""

    disk: Disk
    recording: Recording
    server: Process


@asynccontextmanager
async def recorded_site(
    folder: Path, chance: random.Random, program: Sequence[str | Path] = (TOCSIN,)
) -> AsyncIterator[RecordedSite]:
    """A running server with an app; whatever of it still runs at the end is killed."""
    place = folder / "disk"
    place.mkdir()
    disk = Disk(place, chance)
    installation = Installation(folder, TOCSIN_DATABASE_URL=database_url(place), **QUICK)
    del installation.environment["TOCSIN_SECRET_KEY"]  # so that the key is a file, which must last as well
    recording = Recording(place, folder)
    server = installation.add_process("all", name="recorded", program=program, **recording.environment)
    async with Sink.started(folder) as sink:
        try:
            await asyncio.to_thread(server.start)
            site = RecordedSite(folder, installation, await asyncio.to_thread(installation.add_user), sink)
            site.disk, site.recording, site.server = disk, recording, server
            await site.add_app(server.url)
            yield site
        finally:
            installation.end()


def database_url(place: Path) -> str:
    return f"sqlite:///{place / DATABASE}"


def promised_by(record: Record) -> dict[str, str]:
    """The id and the digest of the event that an answer promises; nothing for any other record."""
    body = record.data.partition(b"\r\n\r\n")[2] if record.kind == "A" else b""
    if not body.startswith(b'{"event":'):
        return {}
    event = bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["event"])
    return {msgspec.json.decode(event)["id"]: sha(event)}
