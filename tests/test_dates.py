"""Dates and durations as the API writes and reads them."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.dates import format_duration, format_instant, parse_duration, parse_instant

SECOND = 1_000_000_000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
LONGEST = (1 << 63) - 1

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
FIRST, LAST = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001 - the zones are drawn apart
INSTANTS = st.datetimes(FIRST, LAST, timezones=OFFSETS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678Z", datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.6Z", datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02T03:04:05.000000000+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-08:30", datetime(2026, 1, 2, 11, 34, 5, tzinfo=UTC)),
        ("2024-02-29T23:59:59+00:00", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_dates_are_read(text: str, expected: datetime) -> None:
    read = parse_instant(text)
    assert read == expected
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-1-2T03:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:05+0200",
        "2026-01-02T03:04:05Z\n",
        " 2026-01-02T03:04:05Z",
        "२०२६-01-02T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "2026-13-01T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05+25:00",
        "0000-01-02T03:04:05Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05.000Z"),
        (datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T23:00:00.000Z"),
        (datetime(1, 2, 3, tzinfo=UTC), "0001-02-03T00:00:00.000Z"),
    ],
)
def test_dates_are_written_in_utc_with_milliseconds(at: datetime, text: str) -> None:
    assert format_instant(at) == text


@given(at=INSTANTS)
def test_a_date_read_back_is_the_one_written_to_the_millisecond(at: datetime) -> None:
    assert parse_instant(format_instant(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


@given(at=INSTANTS)
def test_a_date_in_any_zone_is_read_as_the_same_instant(at: datetime) -> None:
    assert parse_instant(at.isoformat()) == at


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        # From the tests and examples of Go's package time (Duration.String, ParseDuration).
        (0, "0s"),
        (1, "1ns"),
        (1100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (4 * MINUTE + 5 * SECOND, "4m5s"),
        (4 * MINUTE + 5_001_000_000, "4m5.001s"),
        (5 * HOUR + 6 * MINUTE + 7_001_000_000, "5h6m7.001s"),
        (8 * MINUTE + 1, "8m0.000000001s"),
        (LONGEST, "2562047h47m16.854775807s"),
        (-1100, "-1.1µs"),
        (5 * MINUTE + 30 * SECOND, "5m30s"),
        (HOUR, "1h0m0s"),
        (MINUTE, "1m0s"),
        (SECOND * 3 // 2, "1.5s"),
        (HOUR + 15 * MINUTE + 30_918_000_000, "1h15m30.918s"),
        (24 * HOUR, "24h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text
    if nanoseconds >= 0:
        assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("", 0),
        ("0", 0),
        ("5s", 5 * SECOND),
        ("30s", 30 * SECOND),
        ("1478s", 1478 * SECOND),
        ("5.0s", 5 * SECOND),
        ("5.6s", 5_600_000_000),
        ("5.s", 5 * SECOND),
        (".5s", SECOND // 2),
        ("1.004s", 1_004_000_000),
        ("100.00100s", 100_001_000_000),
        ("10ns", 10),
        ("11us", 11_000),
        ("12µs", 12_000),
        ("12μs", 12_000),
        ("13ms", 13_000_000),
        ("14s", 14 * SECOND),
        ("15m", 15 * MINUTE),
        ("16h", 16 * HOUR),
        ("3h30m", 3 * HOUR + 30 * MINUTE),
        ("10.5s4m", 4 * MINUTE + 10_500_000_000),
        ("1h2m3s4ms5us6ns", HOUR + 2 * MINUTE + 3 * SECOND + 4_005_006),
        ("39h9m14.425s", 39 * HOUR + 9 * MINUTE + 14_425_000_000),
        ("52763797000ns", 52_763_797_000),
        ("0.3333333333333333333h", 20 * MINUTE - 1),
        ("9007199254740993ns", (1 << 53) + 1),
        ("9223372036854775807ns", LONGEST),
        ("9223372036s854ms775us807ns", LONGEST),
        ("0.100000000000000000000h", 6 * MINUTE),
    ],
)
def test_go_durations_are_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["3", "-", "s", ".", "-.", ".s", "1", "1x", "-5s", "+5s", "1 m", " 1m", "1m ", "1m\n", "5M", "1d", "1e6s", "1..5s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3000000h", "9223372036854775808ns", "9223372036854ms775us808ns", "1" * 99 + "h"])
def test_a_duration_past_go_s_longest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="292 years"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["1" * 200_000, "1" * 200_000 + "h", "1m" * 100_000 + "x", "." * 200_000, "1." * 100_000]
)
def test_a_long_text_is_refused_in_no_time(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError):
        parse_duration(text)
    assert time.process_time() - began < 1


@given(nanoseconds=st.integers(0, LONGEST))
def test_a_duration_read_back_is_the_one_written(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds
