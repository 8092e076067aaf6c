"""F20: rows that cannot be read, as a bad disk, a bad script or another release leaves them: the others flow."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing

import asyncpg
import msgspec

from faults.checker import Evidence
from faults.database import SQLITE, DeliveryRow, wait_until_none_is_live
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import QUICK, Site, postgres_site, sqlite_site
from faults.tally import Tally, counted, summary, tally

SETTINGS = {**QUICK, "TOCSIN_RETRY_SCHEDULE": "0,4,4"}
APP, OF_LOST_EVENTS, OF_POISON = "shop", "lost-events", "poison"
HEALTHY = "/healthy"
EVENTS_BEFORE, EVENTS_AFTER = 24, 90
"""So few before that no notifier is taken for one that fails: a third goes to each app."""

IN_TIME_SECONDS = 15
ITS_EVENTS = "(SELECT event_id FROM deliveries WHERE notifier_id = '{notifier}')"

# What is done to the notifier of a path, or to the events that wait for it. SQLite keeps any text as JSON; PostgreSQL
# nothing that is none.
NOTIFIERS = {
    "/types": "UPDATE notifiers SET selected_event_ids = '7' WHERE id = '{notifier}'",
    "/json": "UPDATE notifiers SET type_data = '{bad_json}' WHERE id = '{notifier}'",
    "/url": "UPDATE notifiers SET type_data = '{{\"webhook_url\": 7}}' WHERE id = '{notifier}'",
    "/platform": "UPDATE notifiers SET platform = 'carrier pigeon' WHERE id = '{notifier}'",
    "/secret": "UPDATE notifiers SET secret = 'whsec_%%%' WHERE id = '{notifier}'",
}
LOST = {"/lost-event": f"DELETE FROM events WHERE id IN {ITS_EVENTS}"}
POISON = {
    "/poison": f"UPDATE events SET body = CAST('no event' AS {{blob}}) WHERE id IN {ITS_EVENTS}; "
    "UPDATE notifiers SET platform = 'rocket_chat' WHERE id = '{notifier}'"
}
DAMAGE = NOTIFIERS | LOST | POISON

BLOCKED = "messages to others that were held up"
WITHOUT_REASON = "deliveries of damaged rows that neither wait nor ended with a reason"
MISCONFIGURED = "deliveries of damaged rows that ended as misconfigured"

Restart = Callable[[], Awaitable[object]]


async def run(context: Context) -> list[Figure]:
    parts = [
        await context.keep("SQLite", Tally, _on_sqlite),
        await context.keep("PostgreSQL", Tally, _on_postgres),
    ]
    return [
        *summary(parts, "rows damaged, or kinds of them"),
        counted(parts, BLOCKED, "= 0"),
        counted(parts, WITHOUT_REASON, "= 0"),
        counted(parts, MISCONFIGURED, ">= 1"),
    ]


async def _on_sqlite(part: Part) -> Tally:
    async with sqlite_site(part.folder, SETTINGS) as site:

        async def serve() -> None:
            await asyncio.to_thread(site.installation.serve)

        async def stop() -> None:
            await asyncio.to_thread(site.installation.stop)

        async def inflict() -> None:
            await stop()
            with closing(sqlite3.connect(site.direct_url.removeprefix(SQLITE))) as database:
                for statement in _damage(site, bad_json='{"webhook_url": ', blob="BLOB"):
                    database.executescript(statement)

        await serve()
        return await _suffer(site, site.installation.url, inflict, serve, stop)


async def _on_postgres(part: Part) -> Tally:
    async with postgres_site(part.folder, SETTINGS) as site:
        await site.fleet.start()

        async def inflict() -> None:
            await site.fleet.stop()
            database = await asyncpg.connect(site.direct_url)
            for statement in _damage(site, bad_json='["no object"]', blob="bytea"):
                await database.execute(statement)
            await database.close()

        return await _suffer(site, site.fleet.urls[0], inflict, site.fleet.start, site.fleet.stop)


def _damage(site: Site, **words: str) -> list[str]:
    notifiers = {route.path: route.notifier_id for route in site.routes}
    return [statement.format(notifier=notifiers[path], **words) for path, statement in DAMAGE.items()]


async def _suffer(site: Site, url: str, inflict: Restart, start: Restart, stop: Restart) -> Tally:
    """Damage the rows of what waits, between a stop and a start, and look who is delivered to all the same."""
    await site.add_app(url, name=APP, paths=[HEALTHY, *NOTIFIERS])
    await site.add_app(url, name=OF_LOST_EVENTS, paths=list(LOST))
    await site.add_app(url, name=OF_POISON, paths=list(POISON))
    for path in DAMAGE:
        await site.sink.behave(path, "answer", status=503)
    async with site.producing([url]) as producer:
        await producer.post_all(EVENTS_BEFORE)
        await inflict()
        for path in DAMAGE:
            await site.sink.behave(path, "answer")
        await start()
        await producer.post_all(EVENTS_AFTER)
        wanted = [one.number for one in producer.accepted.values() if one.app == APP]
        missing = await site.sink.wait_for({HEALTHY: wanted}, within_seconds=IN_TIME_SECONDS)
        await wait_until_none_is_live(site.direct_url, within_seconds=IN_TIME_SECONDS)
        await stop()
        evidence = await site.evidence(producer)
    damaged = [row for row in evidence.holdings.deliveries if row.notifier_id in _damaged_notifiers(site)]
    counts = {
        BLOCKED: sum(map(len, missing.values())),
        WITHOUT_REASON: sum(not _is_explained(row) for row in damaged),
        MISCONFIGURED: sum(row.reason == "misconfigured" for row in damaged),
    }
    return tally(_of_healthy(evidence), faults=len(DAMAGE), counts=counts)


def _damaged_notifiers(site: Site) -> set[str]:
    return {route.notifier_id for route in site.routes if route.path in DAMAGE}


def _is_explained(row: DeliveryRow) -> bool:
    if row.is_live:
        return row.next_attempt_us is not None or row.lease_until_us is not None
    return row.reason is not None or row.state == "delivered"


def _of_healthy(evidence: Evidence) -> Evidence:
    """What is to be held against the others: no notifier that is damaged, and no event that was taken away."""
    return msgspec.structs.replace(
        evidence,
        routes=[route for route in evidence.routes if route.path == HEALTHY],
        arrivals=[one for one in evidence.arrivals if one.path == HEALTHY],
        accepted=[one for one in evidence.accepted if one.app == APP],
    )


F20 = Scenario(
    id="F20",
    title="rows that cannot be read, on both databases",
    fault="Notifiers with settings, JSON, a URL, a platform or a secret that are none; events that are missing, or are "
    "no events: written past Tocsin while deliveries wait for them.",
    run=run,
)
