"""kill -9 of the one process that does everything, in the middle of its work: what was answered with 201 arrives."""

import asyncio
import random
from pathlib import Path

import pytest

from faults.fleet import Look
from tests.conftest import Place
from tests.faults.conftest import LEASE_SECONDS
from tests.line import receiving
from tests.load import Arrivals, Producer
from tests.processes import Installation

EVENTS = 800
KILLS = 3
LEASED_AT_MOST = 64
"""Deliveries of one notifier that a process has leased at any time."""


async def kill_while_posting(installation: Installation, producer: Producer) -> None:
    chance = random.Random(20261123)
    async with asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(producer.post_all(EVENTS))
        for kill in range(1, KILLS + 1):
            # At no point of the server's choosing.
            await producer.wait_for_accepted(kill * EVENTS // (KILLS + 2) + chance.randrange(50))
            assert not posting.done()
            installation.kill()
            await asyncio.to_thread(installation.serve)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database of each kind, with a user."""
    if request.param == "postgresql":
        found: Place = request.getfixturevalue("postgres_place")
        return found
    url = f"sqlite:///{tmp_path}/tocsin.db"
    return Place("", url, Installation(tmp_path, database_url=url).add_user())


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_what_was_accepted_is_delivered_although_the_process_is_killed(
    quick_installation: Installation, place: Place
) -> None:
    installation = quick_installation
    installation.serve()
    arrivals = Arrivals()
    async with receiving(arrivals) as receiver, Producer([installation.url], place.token) as producer:
        await producer.add_app(receiver.url)
        await kill_while_posting(installation, producer)
        if place.url.startswith("postgresql"):
            # On SQLite a lease ends with its process. Here others may be at work, so that it has to run out; an
            # attempt ends within the time-out, and what is leased for longer belonged to the killed.
            await asyncio.sleep(1.5)
            await Look(place.url).age_leases(LEASE_SECONDS - 1)
        accepted = set(producer.accepted.values())
        await arrivals.wait_for(accepted, within_seconds=30)
        assert installation.stop() == 0
    assert len(accepted) == EVENTS
    assert arrivals.counts.keys() == accepted
    assert arrivals.duplicates <= KILLS * LEASED_AT_MOST
