"""F16: receivers that ask to be left alone, in every form that Retry-After takes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.bench import say
from faults.database import looking, read_holdings, wait_until_none_is_live
from faults.producer import Producer
from faults.records import Arrival
from faults.scenario import Context, Figure, Part, Scenario
from faults.service import quantile
from faults.site import Site, sqlite_site

SETTINGS = {"TOCSIN_DELIVERY_TIMEOUT": "5", "TOCSIN_RETRY_SCHEDULE": "0,1,1,1,1,1", "TOCSIN_RATE_LIMIT": "off"}
SECONDS, SMOKE_SECONDS = 30, 3
SIBLINGS = 5
CLOCK_SECONDS = 0.05
LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 20
IGNORED_SECONDS = 1.25 + 3
"""When a retry is due at the latest that nothing holds up, and slack for a busy machine."""

DAY_SECONDS = 24 * 3600 + 60


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, as options of the behaviour `hold`, and for how long sends must stop (0: not at all)."""

    asked: dict[str, Any]
    seconds: float


def forms(seconds: int) -> dict[str, Form]:
    hour = 3600
    held: dict[str, dict[str, Any]] = {
        "seconds": {},
        "seconds, with 503": {"status": 503},
        "a fraction": {"text": f"{seconds}.0"},
        "a date": {"is_date": True},
        "a date, clock an hour ahead": {"is_date": True, "skew_seconds": hour},
        "a date, clock an hour behind, with 503": {"is_date": True, "skew_seconds": -hour, "status": 503},
    }
    ignored: dict[str, dict[str, Any]] = {
        "words": {"text": "soon"},
        "nothing": {"text": ""},
        "not a number": {"text": "nan"},
        "a negative number": {"text": "-5"},
        "a date in the past": {"is_date": True, "seconds": -hour},
    }
    return (
        {name: Form(asked={"seconds": seconds, **asked}, seconds=seconds) for name, asked in held.items()}
        | {name: Form(asked={"seconds": 0, **asked}, seconds=0) for name, asked in ignored.items()}
        | {"a thousand million": Form(asked={"seconds": 1_000_000_000}, seconds=DAY_SECONDS)}
    )


class Found(msgspec.Struct, kw_only=True):
    early: dict[str, list[float]] = {}
    """By form: how long after the answer something was sent that had to wait."""

    late_seconds: list[float] = []
    """From the end of each hold to the first send after it."""

    held_by_nothing: list[str] = []
    missing: dict[str, int] = {}
    longest_wait_seconds: float = 0
    """How far off the attempt is that was to wait for a thousand million seconds."""


async def _hold(part: Part) -> Found:
    """One message to each receiver, which asks for time; then some more at once, and some when half of it is over."""
    seconds = SMOKE_SECONDS if part.is_smoke else SECONDS
    known = forms(seconds)
    paths = {name: f"/hold/{place}" for place, name in enumerate(known)}
    async with sqlite_site(part.folder, SETTINGS) as site:
        await asyncio.to_thread(site.installation.serve)
        for place, path in enumerate(paths.values()):
            await site.add_app(site.installation.url, name=f"app-{place}", paths=[path])
        await wait_until_none_is_live(site.direct_url, within_seconds=PATIENCE_SECONDS)  # of what tells of notifiers
        for name, path in paths.items():
            await site.sink.behave(path, "hold", **known[name].asked)
        async with site.producing([site.installation.url]) as producer:
            await producer.post_all(len(paths))
            await _wait_until_asked(site)
            await asyncio.gather(*(site.sink.behave(path, "answer") for path in paths.values()))
            for _ in range(2):
                await producer.post_all(SIBLINGS * len(paths))
                await asyncio.sleep(seconds / 2)
            waited_for = [path for name, path in paths.items() if known[name].seconds < DAY_SECONDS]
            missing = await site.wait_until_delivered(producer, paths=waited_for, within_seconds=PATIENCE_SECONDS)
            found = judge(known, paths, await asyncio.to_thread(site.sink.arrivals))
            found.missing = {name: len(missing[path]) for name, path in paths.items() if path in missing}
            found.longest_wait_seconds = await _longest_wait(site, producer)
            return found


async def _wait_until_asked(site: Site) -> None:
    """Wait until each receiver has asked to be left alone, and that is on record."""
    paths = {route.path for route in site.routes}
    async with asyncio.timeout(PATIENCE_SECONDS), looking(site.direct_url) as ask:
        while paths - {one.path for one in await asyncio.to_thread(site.sink.arrivals) if one.status >= 400}:
            await asyncio.sleep(LOOK_SECONDS)  # nothing tells
        while await ask("SELECT count(*) FROM deliveries WHERE state = 'sending'"):
            await asyncio.sleep(LOOK_SECONDS)  # nothing tells


async def _longest_wait(site: Site, producer: Producer) -> float:
    first = {one.event_id for one in producer.accepted.values() if one.number < len(site.routes)}
    holdings = await read_holdings(site.direct_url)
    waits = [row.next_attempt_us for row in holdings.deliveries if row.next_attempt_us and row.event_id in first]
    return max(waits, default=0) / 1e6 - time.time()


def judge(known: Mapping[str, Form], paths: Mapping[str, str], arrivals: Sequence[Arrival]) -> Found:
    """What the receiver's records say of each form."""
    found = Found()
    for name, form in known.items():
        own = sorted((one for one in arrivals if one.path == paths[name]), key=lambda one: one.at_ns)
        while own and own[0].status < 400:  # of what came before it was told to ask
            del own[0]
        after = [(one.at_ns - own[0].at_ns) / 1e9 for one in own[1:]]
        if early := [seconds for seconds in after if seconds < form.seconds - CLOCK_SECONDS]:
            found.early[name] = early
        if 0 < form.seconds < DAY_SECONDS:
            found.late_seconds += [seconds - form.seconds for seconds in after if seconds >= form.seconds][:1]
        again = [one for one in own[1:] if one.number == own[0].number]
        if not form.seconds and (not again or (again[0].at_ns - own[0].at_ns) / 1e9 > IGNORED_SECONDS):
            found.held_by_nothing.append(name)
    return found


async def run(context: Context) -> list[Figure]:
    found = await context.keep("all forms", Found, _hold)
    for name, early in found.early.items():
        say(f"F16 {name}: {len(early)} sends too early, the first after {early[0]:.2f} s")
    return [
        Figure(name="forms of Retry-After", value=len(forms(SECONDS))),
        Figure(name="sends before the time", value=sum(map(len, found.early.values())), target="= 0"),
        Figure(name="forms that hold though they say nothing", value=len(found.held_by_nothing), target="= 0"),
        Figure(name="not delivered when the time was over", value=sum(found.missing.values()), target="= 0"),
        Figure(
            name="from the end of a hold to the first send, longest",
            value=quantile(sorted(found.late_seconds), 1),
            unit="s",
            target="<= 2 s",
        ),
        Figure(
            name="a hold of 10^9 s is cut to",
            value=found.longest_wait_seconds / 3600,
            unit="h",
            target="<= 24.1 h",
        ),
    ]


F16 = Scenario(
    id="F16",
    title="receivers that ask to be left alone",
    fault=(
        f"429 or 503 with Retry-After: {SECONDS} s as a number, a fraction, or a date by a clock that is right or an "
        "hour off; nonsense, negative, past; 10^9 s. Ten more messages follow for each receiver while it waits; the "
        "schedule would try again after 1 s."
    ),
    run=run,
    is_quick=True,
)
