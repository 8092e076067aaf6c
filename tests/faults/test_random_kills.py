"""kill -9 of random processes under load: nothing that was accepted is lost, and what was under way may come twice."""

import asyncio
import random

import pytest

from faults.fleet import Fleet, Look
from tests.conftest import Place
from tests.faults.conftest import LEASE_SECONDS
from tests.line import receiving
from tests.load import Arrivals, Producer
from tests.processes import Installation, Process

SEED = 20261123
LEASED_AT_MOST = 64
"""Deliveries of one notifier that a worker has leased at any time."""

REAP_SECONDS = 5


class Nemesis:
    """Kills processes, and starts each again at once. One of each kind is left: without, there would be no load."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self.worker_kills = 0
        self._fleet = fleet
        self._chance = chance
        self._ready = list(fleet.processes)
        self._came_back = asyncio.Event()

    async def kill(self, times: int) -> None:
        async with asyncio.TaskGroup() as restarts:
            for _ in range(times):
                await asyncio.sleep(self._chance.uniform(0.1, 0.6))  # at no point of the product's choosing
                while not self._candidates():
                    self._came_back.clear()
                    await self._came_back.wait()
                victim = self._chance.choice(self._candidates())
                self._ready.remove(victim)
                self.worker_kills += victim in self._fleet.workers
                victim.kill()
                restarts.create_task(self._restart(victim))

    def _candidates(self) -> list[Process]:
        kinds = (self._fleet.apis, self._fleet.workers)
        ready = [[process for process in self._ready if process in kind] for kind in kinds]
        return [process for kind in ready if len(kind) > 1 for process in kind]

    async def _restart(self, victim: Process) -> None:
        await asyncio.to_thread(victim.start)
        self._ready.append(victim)
        self._came_back.set()


async def kill_under_load(installation: Installation, place: Place, *, kills: int, is_time_waited_for: bool) -> None:
    arrivals, look = Arrivals(), Look(place.url)
    async with (
        Fleet.started(installation, apis=2, workers=3) as fleet,
        receiving(arrivals) as receiver,
        Producer(fleet.urls, place.token) as producer,
    ):
        await producer.add_app(receiver.url)
        nemesis = Nemesis(fleet, random.Random(SEED))
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(producer.post_until(enough, per_second=50))
            await nemesis.kill(kills)
            enough.set()
        if not is_time_waited_for:
            # An attempt ends within the time-out: what is leased for longer belonged to the killed.
            await asyncio.sleep(1.5)
            await look.age_leases(LEASE_SECONDS - 1)
        accepted = set(producer.accepted.values())
        await arrivals.wait_for(accepted, within_seconds=LEASE_SECONDS + 2 * REAP_SECONDS)
        assert await look.all_finished() == {"delivered": len(accepted)}
    assert len(accepted) == len(producer.accepted) == await look.events()
    assert arrivals.counts.keys() == accepted
    lost_leases = await look.lost_leases()
    print(f"{len(accepted)} events, {kills} kills, {arrivals.duplicates} duplicates, {lost_leases} leases lost")
    assert lost_leases <= nemesis.worker_kills * LEASED_AT_MOST
    assert arrivals.duplicates <= await look.doubtful_attempts()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nothing_accepted_is_lost_in_some_kills(quick_installation: Installation, place: Place) -> None:
    await kill_under_load(quick_installation, place, kills=8, is_time_waited_for=False)


@pytest.mark.long
async def test_nothing_accepted_is_lost_in_a_hundred_kills(quick_installation: Installation, place: Place) -> None:
    await kill_under_load(quick_installation, place, kills=100, is_time_waited_for=True)
