"""An installation under test with its receiver and its producer: what nearly every scenario begins with."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from faults.checker import Evidence, Route
from faults.database import read_holdings, wait_until_none_is_live
from faults.fleet import Fleet
from faults.producer import Producer
from faults.sink import Sink
from faults.tally import Tally, tally
from tests.postgres import PostgresServer
from tests.processes import Installation
from tests.proxy import Proxy
from tocsin.retry import DEFAULT_SCHEDULE_SECONDS

__all__ = ["LEASE_SECONDS", "QUICK", "PostgresSite", "Site", "Tally", "postgres_site", "sqlite_site", "tally"]

WEBHOOK = "5982f145d48c3600273ef08a"
QUICK = {"TOCSIN_DELIVERY_TIMEOUT": "1", "TOCSIN_RETRY_SCHEDULE": "0,0.2,0.5,1,2,5,5,5,5,5,5,5,5,5"}
"""Short leases, and retries within seconds."""

LEASE_SECONDS = 17
"""How long a lease lasts with QUICK."""


class Site:
    """`installation` runs, or not, as the scenario wants; `url` is where one of its APIs listens."""

    def __init__(self, folder: Path, installation: Installation, token: str, sink: Sink) -> None:
        self.folder = folder
        self.installation = installation
        self.token = token
        self.sink = sink
        self.routes: list[Route] = []
        self.secrets: dict[str, str] = {}
        """Signing secrets by the receiver's path."""

    @property
    def direct_url(self) -> str:
        """The database, past whatever is put in between."""
        return self.installation.environment["TOCSIN_DATABASE_URL"]

    def examine(self) -> list[str]:
        """What there is to say against the database beside what reading it says."""
        return []

    async def add_app(
        self,
        url: str,
        *,
        name: str = "my-app",
        paths: Sequence[str] = ("/1",),
        port: int = 0,
        has_port_each: bool = False,
    ) -> None:
        """An app at a running API with a notifier for each of the receiver's paths, which gets all its events.

        The paths are on the receiver's port of that place, or from that on each on its own.
        """
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=f"{url}/v1", headers=headers, timeout=20) as client:
            await _created(client, "/apps", {"app": {"name": name}})
            for default in (await client.get(f"/apps/{name}/notifiers")).json()["notifiers"]:
                await client.delete(f"/apps/{name}/notifiers/{default['id']}")
            for place, path in enumerate(paths):
                given = {
                    "platform_id": WEBHOOK,
                    "name": f"to {path}",
                    "send_all_events": True,
                    "type_data": {"webhook_url": self.sink.url(path, port=port + (place if has_port_each else 0))},
                }
                added = await _created(client, f"/apps/{name}/notifiers", {"notifier": given})
                notifier_id = added["notifier"]["id"]
                self.routes.append(Route(app=name, notifier_id=notifier_id, path=path))
                found = await client.get(f"/apps/{name}/notifiers/{notifier_id}/secret")
                self.secrets[path] = found.json()["secret"]
        await self.sink.check_signatures(self.secrets)

    @asynccontextmanager
    async def producing(self, urls: Sequence[str]) -> AsyncIterator[Producer]:
        """A producer for all apps of the site."""
        apps = list(dict.fromkeys(route.app for route in self.routes))
        async with Producer.started(urls, self.token, self.folder, apps=apps) as producer:
            yield producer

    async def wait_until_delivered(
        self, producer: Producer, *, paths: Sequence[str] = (), within_seconds: float
    ) -> Mapping[str, Any]:
        """Wait until all that was accepted has arrived, and is on record; answers with what did not, by path."""
        wanted: dict[str, list[int]] = {}
        for route in self.routes:
            if not paths or route.path in paths:
                numbers = [one.number for one in producer.accepted.values() if one.app == route.app]
                wanted.setdefault(route.path, []).extend(numbers)
        missing = await self.sink.wait_for(wanted, within_seconds=within_seconds)
        if not missing and not paths:
            await wait_until_none_is_live(self.direct_url, within_seconds=10)
        return missing

    async def evidence(self, producer: Producer) -> Evidence:
        """Everything that is known now."""
        schedule = self.installation.environment.get("TOCSIN_RETRY_SCHEDULE")
        return Evidence(
            accepted=await asyncio.to_thread(producer.logged),
            sent=producer.sent,
            arrivals=await asyncio.to_thread(self.sink.arrivals),
            routes=self.routes,
            holdings=await read_holdings(self.direct_url, self.examine),
            replays=producer.replays,
            schedule_seconds=[float(step) for step in schedule.split(",")] if schedule else DEFAULT_SCHEDULE_SECONDS,
        )


@asynccontextmanager
async def sqlite_site(folder: Path, settings: Mapping[str, str] = QUICK, *, ports: int = 1) -> AsyncIterator[Site]:
    """One process on SQLite, not started yet, with a user; whatever of it still runs at the end is killed."""
    installation = Installation(folder, **settings)
    async with Sink.started(folder, ports=ports) as sink:
        token = await asyncio.to_thread(installation.add_user)
        try:
            yield Site(folder, installation, token, sink)
        finally:
            await asyncio.to_thread(installation.end)


class PostgresSite(Site):
    """Several processes on a PostgreSQL of their own, reached through a proxy."""

    fleet: Fleet
    server: PostgresServer
    proxy: Proxy
    database: str

    @property
    def direct_url(self) -> str:
        """The database past the proxy."""
        return self.server.url(self.database)

    def examine(self) -> list[str]:
        """What pg_amcheck, where it is installed, says against tables and indexes."""
        program = self.server.programs / "pg_amcheck"
        if not program.exists():
            return []
        command = [str(program), "--install-missing", "--heapallindexed", "-d", self.direct_url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        return done.stdout.splitlines() if done.returncode else []


@asynccontextmanager
async def postgres_site(
    folder: Path,
    settings: Mapping[str, str] = QUICK,
    *,
    apis: int = 1,
    workers: int = 1,
    ports: int = 1,
    server_settings: Mapping[str, str] | None = None,
) -> AsyncIterator[PostgresSite]:
    """API and worker processes, not started yet, with a user; whatever of them still runs at the end is killed."""
    with PostgresServer.started(server_settings) as server:
        async with Proxy.started(server.port) as proxy, Sink.started(folder, ports=ports) as sink:
            await asyncio.to_thread(server.add_database, "tocsin")
            installation = Installation(folder, database_url=proxy.url("tocsin"), **settings)
            await asyncio.to_thread(installation.run, "migrate")
            token = await asyncio.to_thread(installation.add_user)
            site = PostgresSite(folder, installation, token, sink)
            site.server, site.proxy, site.database = server, proxy, "tocsin"
            site.fleet = Fleet(installation, apis=apis, workers=workers)
            try:
                yield site
            finally:
                await asyncio.to_thread(installation.end)


async def _created(client: httpx.AsyncClient, path: str, given: object) -> Any:
    response = await client.post(path, json=given)
    if response.status_code != 201:
        raise RuntimeError(f"{path}: {response.status_code} {response.text}")
    return response.json()
