"""The connection to PostgreSQL drops before, at or after any statement: every event arrives, and arrives once.

No process ends here, so that whatever is uncertain for a moment can be found out.
"""

import asyncio
import random
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.faults.look import Look
from tests.line import Got, answer, receiving
from tests.load import Arrivals, Producer
from tests.postgres import PostgresServer
from tests.processes import Installation
from tests.proxy import Moment, Proxy

SEED = 20261123
STATEMENTS = 40
"""More than it takes from the request to the recorded outcome of the second attempt."""


class Hesitant(Arrivals):
    """Takes a message at the second attempt only, so that it has to be claimed."""

    def __call__(self, got: Got) -> bytes:
        return answer(503) if got.headers["tocsin-attempt"] == "1" else super().__call__(got)


async def drop_connections(
    postgres: PostgresServer, place: Place, folder: Path, drops: Iterable[tuple[Moment, int]]
) -> None:
    arrivals, look = Hesitant(), Look(place.url)
    async with Proxy.started(postgres.port) as proxy, receiving(arrivals) as receiver:
        installation = Installation(folder, database_url=proxy.url(place.name), TOCSIN_RETRY_SCHEDULE="0,0.2,1,5,5")
        server = installation.add_process("all", name="server")
        server.launch()
        try:
            await asyncio.to_thread(server.wait_until_ready)
            async with Producer([server.url], place.token) as producer:
                await producer.add_app(receiver.url)
                for number, (moment, nth) in enumerate(drops):
                    drop = proxy.drop(moment, nth=nth)
                    await producer.post(number)
                    await arrivals.wait_for({producer.accepted[number]}, within_seconds=10)
                    proxy.drops.remove(drop)
                accepted = set(producer.accepted.values())
            assert await look.all_finished() == {"delivered": len(accepted)}
            assert await look.events() == len(accepted) == len(producer.accepted)
            assert (await look.lost_leases(), arrivals.duplicates) == (0, 0), server.log.read_text()
            assert await asyncio.to_thread(server.stop) == 0
        finally:
            if server.is_running:
                server.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_connections_that_drop_lose_and_repeat_nothing(
    postgres: PostgresServer, place: Place, tmp_path: Path
) -> None:
    every = list(product(Moment, range(1, STATEMENTS)))
    await drop_connections(postgres, place, tmp_path, random.Random(SEED).sample(every, 20))


@pytest.mark.long
async def test_connections_that_drop_anywhere_lose_and_repeat_nothing(
    postgres: PostgresServer, place: Place, tmp_path: Path
) -> None:
    await drop_connections(postgres, place, tmp_path, product(Moment, range(1, STATEMENTS)))
