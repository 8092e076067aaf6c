"""A clock that is wrong is noticed by the dates of receivers' answers, and not by the word of one of them."""

from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.line import answer, receiving, straight_line
from tocsin.clock import ManualClock
from tocsin.model import Notifier, Response
from tocsin.skew import ENOUGH_RECEIVERS, FRESH_SECONDS, MAX_RECEIVERS, WARN_EVERY_SECONDS, Skew


def notifier_with(**fields: Any) -> Notifier:
    at = ManualClock().now()
    given = {"id": "no-1", "app_id": "a" * 24, "name": "n", "platform": "webhook", "secret": "s"}
    return Notifier(**given, created_at=at, updated_at=at, **fields)


def look(skew: Skew, clock: ManualClock, host: str, seconds: float) -> None:
    date = format_datetime(clock.now() + timedelta(seconds=seconds), usegmt=True)
    notifier = notifier_with(type_data={"webhook_url": f"https://{host}/hook"})
    skew.look(notifier, Response(status=200, headers=(("date", date),)))


def test_the_median_of_several_receivers_decides() -> None:
    clock = ManualClock()
    skew = Skew(clock)
    for _ in range(50):
        look(skew, clock, "liar.test", 86_400)
    look(skew, clock, "a.test", 600)
    assert skew.seconds == 0, "too few"
    look(skew, clock, "b.test", 602)
    assert skew.seconds == 602
    look(skew, clock, "c.test", 598)
    assert skew.seconds == 601
    for host in ("a.test", "b.test", "c.test"):
        look(skew, clock, host, 0)
    assert skew.seconds == 0, "one that lies moves nothing"
    assert skew.notes() == {}


def test_what_was_seen_long_ago_is_forgotten_and_receivers_are_bounded() -> None:
    clock = ManualClock()
    skew = Skew(clock)
    for number in range(2 * MAX_RECEIVERS):
        look(skew, clock, f"{number}.test", -300)
    assert len(skew._of) == MAX_RECEIVERS
    assert skew.notes() == {"clock": "300 s ahead of the receivers': they may refuse signatures; set it right"}
    clock.advance(FRESH_SECONDS + 1)
    assert skew.seconds == 0


def test_it_is_told_once_an_hour() -> None:
    clock = ManualClock()
    skew = Skew(clock)
    with capture_logs() as logs:
        for _ in range(2):
            for _ in range(3):
                for host in "abc":
                    look(skew, clock, host, 61)
            clock.advance(WARN_EVERY_SECONDS)
    assert [(entry["event"], entry["seconds"]) for entry in logs] == [("clock.differs_from_receivers", 61)] * 2


@pytest.mark.parametrize("date", [None, "", "yesterday", "Fri, 99 Jan 2026 03:04:05 GMT", "9" * 400, "\x00"])
def test_dates_that_cannot_be_read_mean_nothing(date: str | None) -> None:
    clock = ManualClock()
    skew = Skew(clock)
    for host in "abcd":
        headers = () if date is None else (("date", date),)
        skew.look(notifier_with(type_data={"webhook_url": f"https://{host}/"}), Response(status=200, headers=headers))
    assert skew.seconds == 0
    assert skew.next_look_seconds == clock.monotonic() + 1


async def test_receivers_ten_minutes_ahead_are_told_of_everywhere(tmp_path: Path) -> None:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(straight_line(tmp_path, clock=clock))
        date = format_datetime(clock.now() + timedelta(seconds=600), usegmt=True)
        with capture_logs() as logs:
            for _ in range(ENOUGH_RECEIVERS):
                receiver = await stack.enter_async_context(receiving(lambda _: answer(200, date=date)))
                notifier = await line.add_notifier(type_data={"webhook_url": receiver.url}, send_all_events=False)
                clock.advance(1)
                tested = await line.client.post(f"/v1/apps/my-app/notifiers/{notifier['id']}/test")
                assert tested.status_code == 200
        assert "clock.differs_from_receivers" in {entry["event"] for entry in logs}
        ready = await line.client.get("/readyz")
        assert ready.status_code == 200
        assert "s behind the receivers'" in ready.json()["notes"]["clock"]
        shown = line.running.metrics.registry.get_sample_value("tocsin_clock_skew_seconds")
        assert shown is not None
        assert 570 < shown <= 600
