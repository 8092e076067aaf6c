"""An API and two workers on machines of their own, one of which loses its network for a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.fleet import Fleet
from tests.faults.conftest import LEASE_SECONDS, QUICK
from tests.faults.look import Look
from tests.faults.network import HOME, Host, run_on_a_network, skip_without_networks
from tests.line import receiving
from tests.load import Arrivals, Producer
from tests.postgres import PgBouncer, PostgresServer
from tests.processes import Installation

REAP_SECONDS = 5
BACK_WITHIN_SECONDS = 20
SHARE = 50


@dataclass
class Site:
    hosts: list[Host]
    arrivals: Arrivals
    producer: Producer
    look: Look

    async def wait_for_share(self, host: Host, *, within_seconds: float) -> None:
        """Wait until this host has made some more deliveries."""
        wanted = self.arrivals.senders[host.address] + SHARE
        async with asyncio.timeout(within_seconds):
            while self.arrivals.senders[host.address] < wanted:
                await self.arrivals.next(within_seconds=within_seconds)


@asynccontextmanager
async def site(folder: Path, *, is_pooled: bool) -> AsyncIterator[Site]:
    """PostgreSQL, a receiver and the producer at home, and three hosts with a process each."""
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer.started({"listen_addresses": f"127.0.0.1,{HOME}"}))
        direct = url = postgres.url(host=HOME)
        if is_pooled:
            url = stack.enter_context(PgBouncer.started(postgres, HOME)).url()
        pooling = {"TOCSIN_DATABASE_DIRECT_URL": direct} if is_pooled else {}
        installation = Installation(folder, database_url=url, **QUICK, **pooling, TOCSIN_EGRESS_ALLOW=HOME)
        token = installation.add_user()
        hosts = [stack.enter_context(Host(number)) for number in (2, 3, 4)]
        fleet = Fleet(installation, apis=0, workers=0)
        api, *workers = hosts
        fleet.apis = [installation.add_process("api", name="api", host=api.address, within=api.within)]
        fleet.workers = [
            installation.add_process("worker", name=host.address, host=host.address, within=host.within)
            for host in workers
        ]
        arrivals = Arrivals()
        async with (
            fleet.running(),
            receiving(arrivals, host=HOME) as receiver,
            Producer(fleet.urls, token) as producer,
        ):
            await producer.add_app(receiver.url)
            yield Site(workers, arrivals, producer, Look(postgres.url()))


async def part_and_heal(folder: Path, *, is_pooled: bool, parted_seconds: float | None) -> None:
    """Cut one worker off for so long, or until the other has taken over what it had, which is then hastened."""
    async with site(folder, is_pooled=is_pooled) as place:
        arrivals, producer = place.arrivals, place.producer
        lonely, other = place.hosts
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(producer.post_until(enough, per_second=100))
            for host in place.hosts:
                await place.wait_for_share(host, within_seconds=10)
            lonely.cut()
            before = dict(producer.accepted)
            await place.wait_for_share(other, within_seconds=10)
            if parted_seconds is None:
                await asyncio.sleep(1.5)  # longer than an attempt may take
                await place.look.age_leases(LEASE_SECONDS - 1)
                await arrivals.wait_for(before.values(), within_seconds=2 * REAP_SECONDS)
            else:
                await arrivals.wait_for(before.values(), within_seconds=LEASE_SECONDS + 2 * REAP_SECONDS)
                await asyncio.sleep(parted_seconds - LEASE_SECONDS)
            alone = arrivals.senders[lonely.address]
            lonely.heal()
            await place.wait_for_share(lonely, within_seconds=BACK_WITHIN_SECONDS)
            assert arrivals.senders[lonely.address] > alone
            enough.set()
        accepted = set(producer.accepted.values())
        await arrivals.wait_for(accepted, within_seconds=LEASE_SECONDS + 2 * REAP_SECONDS)
        assert await place.look.all_finished() == {"delivered": len(accepted)}
        assert arrivals.counts.keys() == accepted
        lost_leases = await place.look.lost_leases()
        print(f"{len(accepted)} events, {arrivals.duplicates} duplicates, {lost_leases} leases lost")
        assert arrivals.duplicates <= await place.look.doubtful_attempts()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_parted_worker_s_deliveries_go_out_through_the_other(tmp_path: Path) -> None:
    skip_without_networks()
    run_on_a_network(lambda: part_and_heal(tmp_path, is_pooled=False, parted_seconds=None))


@pytest.mark.long
@pytest.mark.parametrize("is_pooled", [False, True])
def test_a_minute_apart_loses_nothing(tmp_path: Path, *, is_pooled: bool) -> None:
    skip_without_networks()
    if is_pooled and not PgBouncer.is_installed():
        pytest.skip("pgbouncer is not installed: nothing is tested through a pooler")
    run_on_a_network(lambda: part_and_heal(tmp_path, is_pooled=is_pooled, parted_seconds=60))
