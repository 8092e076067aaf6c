"""F14: receivers that hang, drip, flood, reset, redirect or speak nonsense, all at once."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from benchmarks import procfs
from faults.client import Client
from faults.doors import Canary, canary, doors, write_authority
from faults.scenario import Context, Figure, Part, Scenario
from faults.service import Service, Steady
from faults.sink import Sink
from faults.site import sqlite_site
from faults.verdicts import misread, verdicts_of
from tests.egress.odd_responses import RESPONSES

APP = "odd"
WELL_PATHS = tuple(f"/well/{number}" for number in range(5))
PER_SECOND = 20
PATIENCE_SECONDS = 40
LOOK_SECONDS = 0.1
SETTINGS = {"TOCSIN_DELIVERY_TIMEOUT": "2", "TOCSIN_RETRY_SCHEDULE": "0,3600", "TOCSIN_RATE_LIMIT": "off"}
MEMORY_MB = 32
"""What all oddities at once may add."""

BAD, LATE, NONE = "retry bad_response", "retry timeout", "retry unreachable"


class Oddity(msgspec.Struct, frozen=True):
    """What an attempt must be recorded as (one of several with `or`), and what the receiver does."""

    verdict: str
    behaviour: str
    options: dict[str, Any] = {}


def _status(status: int, verdict: str, **options: object) -> Oddity:
    return Oddity(verdict, "answer", {"status": status, **options})


def _octets(name: str, verdict: str, **options: object) -> Oddity:
    return Oddity(verdict, "octets", {"sent": RESPONSES[name].decode("latin-1"), **options})


ODDITIES = {
    "204": _status(204, "delivered"),
    "200": _status(200, "delivered", body="thanks"),
    "late": _status(204, "delivered", after_seconds=0.5),
    "204 with a body": _octets("204 with body", "delivered", status=204, is_kept=True),
    "HTTP/1.0, closed": _octets("http/1.0 until close", "delivered", status=200),
    "100, then 200": _octets("100 then 200", "delivered", status=200, is_kept=True),
    "103, then 200": _octets("103 then 200", "delivered", status=200, is_kept=True),
    "hang": Oddity(LATE, "hang"),
    "hang after the headers": Oddity(LATE, "hang_after", {"after": "headers"}),
    "hang in the body": Oddity(LATE, "hang_after", {"after": "half"}),
    "drip": Oddity(LATE, "drip", {"pause_seconds": 0.2}),
    "a gibibyte": Oddity("delivered", "flood"),
    "a bomb": Oddity("delivered", "flood", {"is_compressed": True, "mebibytes": 10_000}),
    "reset": Oddity(BAD, "reset"),
    "reset after the headers": Oddity(BAD, "reset", {"after": "headers"}),
    "reset in the body": Oddity(BAD, "reset", {"after": "half"}),
    "nothing": _octets("nothing", BAD),
    "half a head": _octets("half a head", BAD),
    "half a body": _octets("length longer than body", BAD),
    "SSH": _octets("another protocol", BAD),
    "TLS without being asked": _octets("tls alert", BAD),
    "two lengths": _octets("two lengths", BAD),
    "101": _octets("101", BAD),
    "headers without end": _octets("header of 40 KiB", "retry too_large"),
    "304": _octets("304 with length", "retry redirected"),
    "400": _status(400, "retry rejected"),
    "401": _status(401, "retry auth"),
    "403": _status(403, "retry auth"),
    "404": _status(404, "retry rejected"),
    "408": _status(408, LATE),
    "409": _status(409, "retry rejected"),
    "410": _status(410, "failed gone"),
    "413": _status(413, "retry too_large"),
    "422": _status(422, "retry rejected"),
    "425": _status(425, "retry rejected"),
    "429": _status(429, "retry rate_limited"),
    "500": _status(500, "retry server_error"),
    "502": _status(502, "retry server_error"),
    "503": _status(503, "retry server_error"),
    "504": _status(504, "retry server_error"),
    "599": _status(599, "retry server_error"),
}
REDIRECTS = ("301", "302", "303", "307", "308")
DOORS = {
    "closed port": NONE,
    "reset at once": f"{BAD} or {NONE}",  # by whether it is noticed before the request is written
    "closed at once": f"{BAD} or {NONE}",
    "tls": "delivered",
    "tls, expired": NONE,
    "tls, unknown authority": NONE,
    "tls, another name": NONE,
    "tls, no handshake": LATE,
    "tls, plain http": NONE,
    "tls behind http": BAD,
}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    verdicts: dict[str, list[str]]
    """What the ended attempts of each oddity were recorded as, each word once."""

    before: Service
    during: Service
    memory_mb: float
    """By how much the process grew at most."""

    was_alive: bool
    canary_calls: int


def expected() -> dict[str, str]:
    redirects = dict.fromkeys(REDIRECTS, "retry redirected")
    return {name: oddity.verdict for name, oddity in ODDITIES.items()} | redirects | DOORS


async def _meet_all(part: Part) -> Found:
    """Post events for all oddities at once, beside healthy receivers whose messages go on."""
    seconds, copies = (3.0, 2) if part.is_smoke else (20.0, 20)
    authority, certificates = write_authority(part.folder)
    settings = {**SETTINGS, "SSL_CERT_FILE": str(certificates)}
    async with (
        sqlite_site(part.folder, settings, ports=1 + len(ODDITIES) + len(REDIRECTS)) as site,
        doors(authority) as behind,
        canary() as bird,
    ):
        await asyncio.to_thread(site.installation.serve)
        await site.add_app(site.installation.url, name="well", paths=WELL_PATHS)
        urls = {**behind, **await _behave(site.sink, bird)}
        async with (
            site.producing([site.installation.url]) as producer,
            Client.of(site.installation.url, site.token) as client,
        ):
            await client.add_app(APP)
            names = {await client.add_notifier(APP, name, {"webhook_url": url}): name for name, url in urls.items()}
            load = Steady(site, producer, per_second=PER_SECOND)
            before = await load.measure(WELL_PATHS, seconds)
            with _memory(site.installation.pid) as memory:
                await client.post_many(APP, copies)
                during = await load.measure(WELL_PATHS, seconds)
                verdicts = await verdicts_of(site.direct_url, names, within_seconds=PATIENCE_SECONDS)
            return Found(
                verdicts=verdicts,
                before=before,
                during=during,
                memory_mb=memory.grown_mb,
                was_alive=await asyncio.to_thread(site.installation.is_ready),
                canary_calls=bird.calls,
            )


async def _behave(sink: Sink, bird: Canary) -> dict[str, str]:
    """Let each of the receiver's ports but the first be odd; answers with their URLs."""
    urls = {}
    redirects = {name: _to(f"http://127.0.0.1:{bird.port}/", name) for name in REDIRECTS}
    for port, (name, oddity) in enumerate({**ODDITIES, **redirects}.items(), start=1):
        await sink.behave(f"/odd/{port}", oddity.behaviour, **oddity.options)
        urls[name] = sink.url(f"/odd/{port}", port=port)
    return urls


def _to(location: str, status: str) -> Oddity:
    return _status(int(status), "retry redirected", headers={"location": location})


class _Memory:
    """How much a process holds, looked at again and again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun_mb = self._most_mb = procfs.memory_mb([pid])

    @property
    def grown_mb(self) -> float:
        return self._most_mb - self._begun_mb

    async def watch(self) -> None:
        while True:
            self._most_mb = max(self._most_mb, await asyncio.to_thread(procfs.memory_mb, [self._pid]))
            await asyncio.sleep(LOOK_SECONDS)


@contextmanager
def _memory(pid: int) -> Iterator[_Memory]:
    memory = _Memory(pid)
    watching = asyncio.get_running_loop().create_task(memory.watch())
    try:
        yield memory
    finally:
        watching.cancel()


async def _run(context: Context) -> list[Figure]:
    found = await context.keep("all", Found, _meet_all)
    return [
        Figure(name="kinds of oddities", value=len(expected())),
        Figure(name="recorded otherwise than documented", value=len(misread(found.verdicts, expected())), target="= 0"),
        Figure(name="redirects followed", value=found.canary_calls, target="= 0"),
        Figure(name="memory added at most", value=found.memory_mb, unit="MiB", target=f"<= {MEMORY_MB} MiB"),
        Figure(name="process ready afterwards", value=int(found.was_alive), target="= 1"),
        Figure(name="p99 of the healthy before", value=found.before.p99_seconds * 1000, unit="ms"),
        Figure(name="p99 of the healthy", value=found.during.p99_seconds * 1000, unit="ms", target="< 500 ms"),
        Figure(name="not delivered to the healthy", value=found.during.missing, target="= 0"),
    ]


F14 = Scenario(
    id="F14",
    title="receivers that hang, drip, flood, reset, redirect or speak nonsense",
    fault=(
        f"{len(expected())} notifiers at once, each with a receiver that is odd in a way of its own: it hangs or "
        "drips, answers a gibibyte or a gzip bomb, resets the connection, redirects to an address of this machine, "
        "speaks another protocol, has a certificate that is not valid, or answers any status. Attempts may take 2 s."
    ),
    run=_run,
    is_quick=True,
)
