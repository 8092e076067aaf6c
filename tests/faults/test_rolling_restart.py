"""One process after the other is stopped and started again under load, as an upgrade does it: nobody notices."""

import asyncio

import pytest

from faults.fleet import Fleet, Look
from tests.conftest import Place
from tests.line import receiving
from tests.load import Arrivals, Producer
from tests.processes import Installation


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_rolling_restart_loses_and_repeats_nothing(installation: Installation, place: Place) -> None:
    arrivals, look = Arrivals(), Look(place.url)
    async with (
        Fleet.started(installation, apis=2, workers=2) as fleet,
        receiving(arrivals) as receiver,
        Producer(fleet.urls, place.token) as producer,
    ):
        await producer.add_app(receiver.url)
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(producer.post_until(enough, per_second=50))
            for process in fleet.processes:
                await producer.wait_for_accepted(len(producer.accepted) + 20)
                assert await asyncio.to_thread(process.stop) == 0
                await asyncio.to_thread(process.start)
            enough.set()
        accepted = set(producer.accepted.values())
        await arrivals.wait_for(accepted, within_seconds=10)
        assert await look.all_finished() == {"delivered": len(accepted)}
    assert {answered.rpartition(" ")[2] for answered in producer.answers} <= {"201", "lost"}
    assert len(accepted) == len(producer.accepted) == await look.events()
    assert arrivals.counts.keys() == accepted
    assert arrivals.duplicates == 0
