"""Statistics of an app: parts of a span, the day at a glance, and what became of each notifier's deliveries."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.store.cast import APP, OTHER_APP, OWNER, Stage, insert
from tests.store.test_tallies import finished_row
from tocsin.model import App, User
from tocsin.statistics import SPANS, Counts, Statistics
from tocsin.store import schema
from tocsin.store.tallies import fold_tallies

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
def statistics(stage: Stage) -> Statistics:
    return Statistics(store=stage.store, clock=stage.clock)


def app(app_id: str = APP) -> App:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    owner = User(id=OWNER, username="owner", email="owner@example.com", created_at=at)
    return App(id=app_id, name="shop", owner=owner, created_at=at, updated_at=at)


async def end(stage: Stage, *, ago: timedelta = timedelta(), latency: timedelta = MINUTE, **changes: object) -> None:
    at = stage.clock.now() - ago
    row = finished_row(stage, latency, finished_at=at, created_at=at - latency)
    await stage.store.write(insert, schema.finished_deliveries, row | changes)


@pytest.mark.parametrize("name", SPANS)
async def test_the_parts_of_a_span_add_up_to_the_whole(stage: Stage, statistics: Statistics, name: str) -> None:
    span = SPANS[name]
    for back in range(0, span.hours + 48, 5):
        state = ("delivered", "failed", "cancelled")[back % 3]
        await end(stage, ago=back * HOUR, state=state)
    series = await statistics.series(app(), span)
    assert len(series.parts) == span.hours / span.part_hours
    first, last = series.parts[0], series.parts[-1]
    assert last.since <= stage.clock.now() < last.until
    assert all(one.until == next_.since for one, next_ in zip(series.parts, series.parts[1:], strict=False))
    inside = len([back for back in range(0, span.hours + 48, 5) if stage.clock.now() - back * HOUR >= first.since])
    assert series.whole.total == sum(part.counts.total for part in series.parts) == inside
    assert sum(series.whole.by_latency.values()) == series.whole.by_state["delivered"]


async def test_a_notifiers_own_series_counts_nothing_else(stage: Stage, statistics: Statistics) -> None:
    await end(stage)
    await end(stage, notifier_id="no-2", state="failed")
    await end(stage, app_id=OTHER_APP)
    series = await statistics.series(app(), SPANS["24h"], notifier_id="no-2")
    assert series.whole.by_state == {"failed": 1}
    assert series.parts[-1].counts.by_state == {"failed": 1}


async def test_notifiers_are_told_apart(stage: Stage, statistics: Statistics) -> None:
    for latency in (5, 15, 15):
        await end(stage, latency=timedelta(milliseconds=latency))
    await end(stage, state="failed")
    await end(stage, notifier_id="no-2", state="cancelled")
    await end(stage, ago=2 * DAY, notifier_id="no-3")
    found = await statistics.by_notifier(app(), SPANS["24h"])
    assert {each: counts.by_state for each, counts in found.items()} == {
        "no-1": {"delivered": 3, "failed": 1},
        "no-2": {"cancelled": 1},
    }
    assert (found["no-1"].success_share, found["no-2"].success_share) == (0.75, None)
    assert found["no-1"].percentile_ms(0.5) == pytest.approx(12.5)


async def test_a_glance_tells_the_day_of_each_app(stage: Stage, statistics: Statistics) -> None:
    stage.clock.advance(timedelta(days=1) - (stage.clock.now() - stage.clock.now().replace(hour=0, minute=0, second=0)))
    await stage.ingest()
    stage.clock.advance(23.5 * HOUR)  # in Paris it is the next day already
    await stage.ingest(stage.event(), stage.event())
    await end(stage)
    await end(stage, ago=22 * HOUR, state="failed")
    await end(stage, ago=30 * HOUR)
    in_utc = await statistics.glance([app(), app(OTHER_APP)])
    assert (in_utc[APP].events_today, in_utc[OTHER_APP].events_today) == (3, 0)
    assert in_utc[APP].counts.by_state == {"delivered": 1, "failed": 1}
    assert [(number, hour) for number, hour in enumerate(in_utc[APP].by_hour) if hour] == [
        (1, {"failed": 1}),
        (23, {"delivered": 1}),
    ]
    assert in_utc[OTHER_APP].counts == Counts({}, {})
    assert (await statistics.glance([app()], PARIS))[APP].events_today == 2


async def test_what_was_folded_is_shown_as_before(stage: Stage, statistics: Statistics) -> None:
    for back in range(0, 31 * 24, 7):
        await end(stage, ago=back * HOUR, state=("delivered", "failed")[back % 2], latency=back * MINUTE)
    before = [await statistics.series(app(), span) for span in SPANS.values()]
    rows = await stage.count(schema.tallies)
    for _ in range(2):
        while await stage.store.write(fold_tallies, at=stage.clock.now(), limit=10) == 10:
            pass
    assert [await statistics.series(app(), span) for span in SPANS.values()] == before
    assert await stage.count(schema.tallies) < rows
    assert await stage.store.write(fold_tallies, at=stage.clock.now(), limit=10) == 0


async def test_what_failed_last_is_found_among_what_did_not_arrive(stage: Stage, statistics: Statistics) -> None:
    notifiers = [await stage.add_notifier(name) for name in ("one", "two")]
    failed = []
    for number in range(6):
        for notifier in notifiers:
            row = finished_row(stage, MINUTE, notifier_id=notifier.id, event_id=f"e{number}")
            row |= {"state": ("failed", "cancelled", "delivered")[number % 3]}
            await stage.store.write(insert, schema.finished_deliveries, row)
            failed += [row["id"]] if row["state"] == "failed" else []
    counts = await statistics.by_notifier(app(), SPANS["24h"])
    found = await statistics.last_failed(counts, limit=3)
    assert [each.id for each in found] == sorted(failed, reverse=True)[:3]
    assert await statistics.last_failed({}, limit=3) == []
