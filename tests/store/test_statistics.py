"""Statistics of an app: parts of a span, the day at a glance, and what became of each notifier's deliveries."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.store.cast import APP, OTHER_APP, OWNER, Stage, insert
from tests.store.test_tallies import finished_row
from tocsin.model import App, User
from tocsin.statistics import SPANS, Counts, Span, Statistics, _starts
from tocsin.store import schema

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
    series = await statistics.series(app(), span, zone=PARIS)
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


def test_days_begin_at_midnight_of_the_reader_also_where_clocks_change() -> None:
    now = datetime(2026, 3, 30, 12, tzinfo=UTC)  # the clocks of Paris went forward on the 29th
    starts = [start.astimezone(PARIS) for start in _starts(Span(96, 24), now, PARIS)]
    assert [(start.day, start.hour) for start in starts] == [(27, 0), (28, 0), (29, 0), (30, 0)]
    assert starts[3].astimezone(UTC) - starts[0].astimezone(UTC) == 71 * HOUR
