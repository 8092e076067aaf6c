"""Tocsin through a pooler in transaction mode: nothing may depend on what a connection remembers."""

import asyncio
from pathlib import Path

import pytest

from faults.fleet import Fleet
from tests.conftest import Place
from tests.faults.look import Look
from tests.line import receiving
from tests.load import Arrivals, Producer
from tests.postgres import PgBouncer
from tests.processes import Installation


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_work_spreads_over_workers_behind_a_pooler(pgbouncer: PgBouncer, place: Place, tmp_path: Path) -> None:
    pooled = {"database_url": pgbouncer.url(place.name), "TOCSIN_DATABASE_DIRECT_URL": place.url}
    installation = Installation(tmp_path, **pooled)
    arrivals, look = Arrivals(), Look(place.url)
    async with (
        Fleet.started(installation, apis=1, workers=2) as fleet,
        receiving(arrivals) as receiver,
        Producer(fleet.urls, place.token) as producer,
    ):
        await producer.add_app(receiver.url)
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(producer.post_until(enough, per_second=150))
            await producer.wait_for_accepted(300)
            pgbouncer.stop()
            await producer.wait_for_answer("503")
            pgbouncer.start()
            await producer.wait_for_answer("201", within_seconds=5)
            await producer.wait_for_accepted(len(producer.accepted) + 300)
            enough.set()
        accepted = set(producer.accepted.values())
        await arrivals.wait_for(accepted, within_seconds=5)
        assert await look.all_finished() == {"delivered": len(accepted)}
    assert len(accepted) == len(producer.accepted) == await look.events()
    assert arrivals.duplicates == 0
