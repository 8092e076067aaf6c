"""F17: a name server that knows nothing, fails, stays silent, is slow, or lies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from faults.checker import Route
from faults.client import Client
from faults.doors import everywhere
from faults.names import NO_SUCH_NAME, SERVER_FAILURE, Name, NameServer, asking, missing
from faults.scenario import Context, Figure, Part, Scenario
from faults.service import Service, Steady
from faults.site import Site, sqlite_site
from faults.verdicts import misread, verdicts_of
from tests.processes import Process

DOMAIN = "faults.example"
CANARY_HOST = "127.9.9.9"
HERE = ("127.0.0.1",)
PER_SECOND = 20
CACHE_SECONDS = 31
PATIENCE_SECONDS = 60
SETTINGS = {
    "TOCSIN_EGRESS_ALLOW": "127.0.0.0/16",
    "TOCSIN_DELIVERY_TIMEOUT": "5",
    "TOCSIN_RETRY_SCHEDULE": "0,3600",
    "TOCSIN_RATE_LIMIT": "off",
}
WELL = tuple(f"well-{number}" for number in range(10))
SMOKE_SECONDS = 6
ODD_SECONDS = 2
SILENT = 40
"""Names that nobody answers for: more than there are threads to wait in."""

DELIVERED, NONE, BLOCKED = "delivered", "retry unreachable", "failed egress_blocked"
CASES: dict[str, tuple[Name, str]] = {
    "unknown": (Name(code=NO_SUCH_NAME), NONE),
    "refused": (Name(code=SERVER_FAILURE), NONE),
    "slow": (Name(addresses=(HERE,), after_seconds=10), NONE),
    "circle": (Name(alias=f"circle-2.{DOMAIN}"), NONE),
    "empty": (Name(), NONE),
    "alias": (Name(alias=f"target.{DOMAIN}"), DELIVERED),
    "cut": (Name(addresses=(HERE,), is_cut=True), DELIVERED),
    "many": (Name(addresses=(tuple(f"127.0.{n // 250}.{n % 250 + 1}" for n in range(500)),)), DELIVERED),
    "fleeting": (Name(addresses=(HERE,), ttl_seconds=0), DELIVERED),
    "mixed": (Name(addresses=((CANARY_HOST, *HERE),)), DELIVERED),
    "inside": (Name(addresses=((CANARY_HOST,),)), BLOCKED),
    "rebinding": (Name(addresses=(HERE, (CANARY_HOST,)), ttl_seconds=0), f"{DELIVERED} or {BLOCKED}"),
    **{f"silent-{number}": (Name(is_silent=True), NONE) for number in range(SILENT)},
}
TARGETS = {"circle-2": Name(alias=f"circle.{DOMAIN}"), "target": Name(addresses=(HERE,))}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    verdicts: dict[str, list[str]]
    before: Service | None
    during: Service
    canary_calls: int
    was_alive: bool


async def _ask_all(part: Part) -> Found:
    """Messages for all bad names, again and again, beside good ones that have to be looked up too."""
    names = {name: known for name, (known, _) in CASES.items()} | TARGETS
    names |= dict.fromkeys(WELL, Name(addresses=(HERE,)))
    async with (
        NameServer({f"{name}.{DOMAIN}": known for name, known in names.items()}) as name_server,
        everywhere() as place,
        _site(part, name_server) as (site, process),
        Client.of(process.url, site.token) as client,
    ):
        for app in ("well", "odd"):
            await client.add_app(app)
        for name in WELL:
            notifier_id = await client.add_notifier("well", name, {"webhook_url": _url(name, site.sink.ports[0])})
            site.routes.append(Route(app="well", notifier_id=notifier_id, path=f"/{name}"))
        ids = {await client.add_notifier("odd", name, {"webhook_url": _url(name, place.port)}): name for name in CASES}
        async with site.producing([process.url]) as producer:
            before, during = await _compare(part, Steady(site, producer, per_second=PER_SECOND), client)
        return Found(
            verdicts=await verdicts_of(site.direct_url, ids, within_seconds=PATIENCE_SECONDS),
            before=before,
            during=during,
            canary_calls=place.calls[CANARY_HOST],
            was_alive=await asyncio.to_thread(process.is_ready),
        )


async def _compare(part: Part, load: Steady, client: Client) -> tuple[Service | None, Service]:
    """How the good names are served before and during; a short run begins at once, with none of them known yet."""
    paths = [f"/{name}" for name in WELL]
    before = None if part.is_smoke else await load.measure(paths, CACHE_SECONDS)
    asking_on = asyncio.create_task(_post_odd(client))
    try:
        return before, await load.measure(paths, SMOKE_SECONDS if part.is_smoke else 2 * CACHE_SECONDS)
    finally:
        asking_on.cancel()


async def _post_odd(client: Client) -> None:
    while True:
        await client.post("odd")
        await asyncio.sleep(ODD_SECONDS)


@asynccontextmanager
async def _site(part: Part, name_server: NameServer) -> AsyncIterator[tuple[Site, Process]]:
    """A site with a process that asks the name server."""
    async with sqlite_site(part.folder, SETTINGS) as site:
        with asking(name_server.host) as within:
            process = site.installation.add_process("all", name="resolving", within=within)
            await asyncio.to_thread(process.start)
            yield site, process


def _url(name: str, port: int) -> str:
    return f"http://{name}.{DOMAIN}:{port}/{name}"


def _before(service: Service | None) -> list[Figure]:
    if service is None:
        return []
    return [Figure(name="p99 of the others before", value=service.p99_seconds * 1000, unit="ms")]


async def run(context: Context) -> list[Figure]:
    found = await context.keep("all names", Found, _ask_all)
    wanted = {name: verdict for name, (_, verdict) in CASES.items()}
    return [
        Figure(name="names that are badly answered for", value=len(wanted)),
        Figure(name="recorded otherwise than documented", value=len(misread(found.verdicts, wanted)), target="= 0"),
        Figure(name="calls to an address that is not allowed", value=found.canary_calls, target="= 0"),
        *_before(found.before),
        Figure(name="p99 of the others", value=found.during.p99_seconds * 1000, unit="ms", target="< 500 ms"),
        Figure(name="not delivered to the others", value=found.during.missing, target="= 0"),
        Figure(name="process ready afterwards", value=int(found.was_alive), target="= 1"),
    ]


F17 = Scenario(
    id="F17",
    title="a name server that fails, stays silent or lies",
    fault=(
        f"Names that do not exist, SERVFAIL, {SILENT} names without any answer, answers after 10 s, cut ones, aliases "
        "in a circle, 500 addresses, TTL 0, addresses that are not allowed among others and after others. A message "
        f"for each every {ODD_SECONDS} s, beside {len(WELL)} good names of the same name server."
    ),
    run=run,
    missing=missing,
)
