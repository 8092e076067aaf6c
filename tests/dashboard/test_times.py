"""Moments and spans in the words, and the time zone, of who reads them."""

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.clock import ManualClock
from tocsin.dashboard.times import Times, zone_names
from tocsin.dashboard.words import Languages

NOW = datetime(2026, 3, 29, 10, 0, tzinfo=UTC)
WORDS = Languages().all


def times(zone: str | None = None, language: str = "en") -> Times:
    return Times(WORDS[language], zone, ManualClock(NOW))


def test_a_moment_is_told_in_the_readers_zone_with_its_summer_time() -> None:
    before, after = datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert times("Europe/Paris").local(before) == "2026-03-29 01:59"
    assert times("Europe/Paris").local(after) == "2026-03-29 03:00"
    assert times("Europe/Paris").full(after) == "2026-03-29 03:00:00.000+02:00"
    assert times().local(after) == "2026-03-29 01:00 UTC"


def test_a_zone_that_is_not_known_is_utc() -> None:
    assert times("Nowhere/Town").local(NOW) == "2026-03-29 10:00 UTC"
    assert {"Europe/Paris", "America/New_York", "Asia/Kolkata"} <= set(zone_names())


@pytest.mark.parametrize(
    ("span", "english", "french"),
    [
        (timedelta(seconds=59), "just now", "à l’instant"),
        (timedelta(minutes=1), "1 min ago", "il y a 1 min"),
        (timedelta(minutes=119), "119 min ago", "il y a 119 min"),
        (timedelta(hours=2), "2 h ago", "il y a 2 h"),
        (timedelta(hours=48), "2 days ago", "il y a 2 jours"),
        (timedelta(seconds=-30), "in a moment", "dans un instant"),
        (timedelta(minutes=-5), "in 5 min", "dans 5 min"),
    ],
)
def test_how_long_ago_it_was_is_told_roughly(span: timedelta, english: str, french: str) -> None:
    assert times().ago(NOW - span) == english
    assert times(language="fr").ago(NOW - span) == french


@pytest.mark.parametrize(
    ("milliseconds", "english", "french"),
    [
        (0, "0 ms", "0 ms"),
        (999, "999 ms", "999 ms"),
        (1400, "1.4 s", "1,4 s"),
        (125_000, "2 min 5 s", "2 min 5 s"),
        (539_700, "9 min 0 s", "9 min 0 s"),
        (3_599_900, "1 h 0 min", "1 h 0 min"),
        (7_260_000, "2 h 1 min", "2 h 1 min"),
    ],
)
def test_spans_are_as_short_as_they_can_be_said(milliseconds: int, english: str, french: str) -> None:
    assert times().lasting(milliseconds) == english
    assert times(language="fr").lasting(milliseconds) == french


def test_what_is_entered_is_read_in_the_readers_zone() -> None:
    paris = times("Europe/Paris")
    assert paris.read("2026-07-01T12:00") == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert paris.read("2026-07-01 12:00") == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert paris.read("2026-07-01T12:00:00Z") == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert paris.read(" ") is None
    assert paris.field(datetime(2026, 7, 1, 10, tzinfo=UTC)) == "2026-07-01T12:00"
    assert paris.field(None) == ""


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01T00:00", "0001-01-01T00:00", "9999-12-31T23:59-12:00", "٣"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a date and a time"):
        times("Asia/Tokyo").read(text)


def test_today_begins_at_the_readers_midnight() -> None:
    assert times("America/New_York").start_of_day() == datetime(2026, 3, 29, 4, tzinfo=UTC)
    assert times().start_of_day() == datetime(2026, 3, 29, tzinfo=UTC)


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert WORDS["en"].number(1234567.891, 1) == "1,234,567.9"
    assert WORDS["fr"].number(1234567.891, 1) == "1\u202f234\u202f567,9"
