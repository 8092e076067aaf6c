"""PostgreSQL goes away under load and comes back: refused meanwhile, nothing lost, and all goes on by itself."""

import asyncio
import time

import pytest

from faults.fleet import Fleet, Look
from tests.conftest import Place
from tests.line import receiving
from tests.load import Arrivals, Producer
from tests.postgres import PostgresServer
from tests.processes import Installation

BACK_WITHIN_SECONDS = 5


def end(postgres: PostgresServer, how: str) -> None:
    match how:
        case "kill":
            postgres.kill()
        case "fast" | "immediate":
            postgres.stop(how)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_all_goes_on_when_the_database_comes_back(
    installation: Installation, place: Place, postgres: PostgresServer
) -> None:
    arrivals, look = Arrivals(), Look(place.url)
    async with (
        Fleet.started(installation, apis=1, workers=1) as fleet,
        receiving(arrivals) as receiver,
        Producer(fleet.urls, place.token) as producer,
    ):
        await producer.add_app(receiver.url)
        pids = fleet.pids
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(producer.post_until(enough, per_second=150))
            for how in ("fast", "immediate", "kill"):
                await producer.wait_for_accepted(len(producer.accepted) + 100)
                await asyncio.to_thread(end, postgres, how)
                await producer.wait_for_answer("503")
                assert not fleet.apis[0].is_ready()
                await asyncio.to_thread(postgres.start)
                back_at = time.monotonic()
                await producer.wait_for_answer("201", within_seconds=BACK_WITHIN_SECONDS)
                await arrivals.next(within_seconds=BACK_WITHIN_SECONDS)
                print(f"{how}: all went on {time.monotonic() - back_at:.1f} s after the database came back")
            enough.set()
        accepted = set(producer.accepted.values())
        # No process ended, so that no lease has to run out: whoever made an attempt tells its outcome in the end.
        await arrivals.wait_for(accepted, within_seconds=BACK_WITHIN_SECONDS)
        assert await look.all_finished() == {"delivered": len(accepted)}
        assert fleet.pids == pids
    assert len(accepted) == len(producer.accepted) == await look.events()
    assert arrivals.counts.keys() == accepted
    assert arrivals.duplicates == 0
