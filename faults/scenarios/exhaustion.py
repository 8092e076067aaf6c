"""F19: a running server is short of something for a while: open files, memory, or ports to connect from."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec

from faults import namespaces
from faults.checker import figures
from faults.namespaces import NETWORK, in_namespace
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import Site, sqlite_site
from faults.tally import Tally, spread, tally
from tests.processes import Process

PATIENT = {"TOCSIN_DELIVERY_TIMEOUT": "5", "TOCSIN_RETRY_SCHEDULE": "0,0.5,1,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2"}
PER_SECOND = 30
SHORT_SECONDS = 4
FILES = 64
CONNECTIONS = 100
SPARE_BYTES = 16 << 20
LARGE_REQUESTS = 30
NETWORK_SETTINGS = Path("/proc/sys/net/ipv4")
FEW_PORTS, MANY_PORTS = "32768 32799", "32768 60999"
BULK = "bulk"
"""An app without a notifier."""

Shortage = Callable[[Site, Process, Counter[str]], AbstractAsyncContextManager[None]]
"""Gets a place to count what it meets besides the producer."""


class Found(msgspec.Struct, kw_only=True):
    tally: Tally
    exits: int
    answers: dict[str, int]
    """How often what was answered; 0 for no answer."""

    failures: dict[str, int]
    """Attempts that failed, by reason."""

    met: dict[str, int]
    """What the shortage itself met."""


@asynccontextmanager
async def few_files(_: Site, server: Process, met: Counter[str]) -> AsyncIterator[None]:
    """Not more than so many open files, and more connections than that."""
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (FILES, before[1]))
    held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CONNECTIONS)]
    try:
        met["connections"] = len(held)
        yield
    finally:
        for connection in held:
            connection[1].close()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)


@asynccontextmanager
async def little_memory(site: Site, server: Process, met: Counter[str]) -> AsyncIterator[None]:
    """Hardly more address space than is taken, and requests of 2 MB that want it."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[0])
    before = resource.prlimit(server.pid, resource.RLIMIT_AS)
    resource.prlimit(server.pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + SPARE_BYTES, before[1]))
    event = '{"type":"large","type_data":{"text":"%s"}}' % ("x" * 2000)
    body = f'{{"events":[{",".join([event] * 900)}]}}'
    headers = {"authorization": f"Bearer {site.token}", "content-type": "application/json"}

    async def post(client: httpx.AsyncClient) -> None:
        try:
            answered = await client.post(f"{server.url}/v1/apps/{BULK}/events", content=body, headers=headers)
        except httpx.TransportError:
            met["large requests without an answer"] += 1
        else:
            met[f"large requests answered with {answered.status_code}"] += 1

    async with httpx.AsyncClient(timeout=SHORT_SECONDS) as client, asyncio.TaskGroup() as tasks:
        for _ in range(LARGE_REQUESTS):
            tasks.create_task(post(client))
        yield
    if server.is_running:
        resource.prlimit(server.pid, resource.RLIMIT_AS, before)


@asynccontextmanager
async def few_ports(site: Site, _: Process, met: Counter[str]) -> AsyncIterator[None]:
    """Few ports to connect from, each of which a connection that was closed occupies for a minute."""
    await site.sink.behave("*", "answer", headers={"connection": "close"})
    (NETWORK_SETTINGS / "tcp_tw_reuse").write_text("0")
    (NETWORK_SETTINGS / "ip_local_port_range").write_text(FEW_PORTS)
    met["ports"] = 32
    yield
    (NETWORK_SETTINGS / "ip_local_port_range").write_text(MANY_PORTS)


async def run(context: Context) -> list[Figure]:
    parts = {"files": await context.keep("files", Found, partial(_exhaust, few_files))}
    parts["memory"] = await context.keep("memory", Found, partial(_exhaust, little_memory))
    if not namespaces.missing(NETWORK):
        parts["ports"] = await context.keep(
            "ports", Found, lambda part: in_namespace(NETWORK, partial(_exhaust, few_ports, part))
        )
    found = []
    for name, part in parts.items():
        found += [
            Figure(name=f"{name}: events accepted", value=part.tally.accepted),
            Figure(name=f"{name}: requests answered with 503", value=part.answers.get("503", 0)),
            Figure(name=f"{name}: connections that ended without an answer", value=part.answers.get("0", 0)),
            Figure(name=f"{name}: attempts that failed", value=sum(part.failures.values())),
            Figure(name=f"{name}: ends of the process", value=part.exits, target="= 0"),
            *(Figure(name=f"{name}: {what}", value=count) for what, count in sorted(part.met.items())),
            *spread(f"{name}: from then on to the next 201", part.tally.seconds["recovered"], "<= 5 s"),
        ]
    blamed = parts["memory"].met.get("large requests answered with 400", 0)
    found.append(Figure(name="memory: of these, taken for a mistake of the client's", value=blamed, target="= 0"))
    return [*found, *figures(part.tally.violations for part in parts.values())]


async def _exhaust(shortage: Shortage, part: Part) -> Found:
    met: Counter[str] = Counter()
    async with sqlite_site(part.folder, PATIENT) as site:
        server = site.installation.add_process("all", name="short")
        await asyncio.to_thread(server.start)
        await site.add_app(server.url)
        await site.add_app(server.url, name=BULK, paths=())
        async with site.producing([server.url]) as producer:
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(producer.post_steadily(enough, per_second=PER_SECOND))
                await producer.next_answer(201)
                async with shortage(site, server, met):
                    await asyncio.sleep(SHORT_SECONDS)
                over_ns = time.monotonic_ns()
                exits = int(not server.is_running)
                if exits:
                    await asyncio.to_thread(server.start)
                recovered_seconds = (await producer.next_answer(201) - over_ns) / 1e9
                enough.set()
            await site.wait_until_delivered(producer, within_seconds=60)
            await asyncio.to_thread(server.stop)
            evidence = await site.evidence(producer)
            failed = [str(row.reason) for row in evidence.holdings.attempts if row.outcome != "delivered"]
            return Found(
                tally=tally(evidence, faults=1, seconds={"recovered": [recovered_seconds]}),
                exits=exits,
                answers={str(status): count for status, count in producer.counts.items()},
                failures=Counter(failed),
                met=met,
            )


F19 = Scenario(
    id="F19",
    title="files, memory and ports run out",
    fault=(
        f"Under {PER_SECOND} events/s the running server is held short for {SHORT_SECONDS} s: to {FILES} open files, "
        f"with {CONNECTIONS} more connections to it; to {SPARE_BYTES >> 20} MiB more address space than it has, with "
        f"{LARGE_REQUESTS} requests of 2 MB; to 32 ports that it can connect from, with receivers that keep no "
        "connection."
    ),
    run=run,
)
