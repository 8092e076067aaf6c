"""What a receiver asks for in its answer."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.manners import parse_retry_after, read_asked
from tocsin.model import Asked, Response

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("1.5", 1.5),
        (" 30 ", 30),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("", None),
        ("soon", None),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 04:05:05 +0100", 60),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60),
        ("Fri Jan  2 03:05:05 2026", 60),
        ("Fri, 02 Jan 2026 03:04:05 GMT", 0),
        ("Fri, 02 Jan 2026 03:04:04 GMT", None),
        ("Fri, 99 Jan 2026 03:04:04 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, answered_at=None, now=NOW) == seconds


def test_a_date_to_retry_after_is_compared_with_the_clock_that_wrote_it() -> None:
    wrong = "Thu, 01 Jan 2015 00:00:00 GMT"
    assert parse_retry_after("Thu, 01 Jan 2015 00:00:30 GMT", answered_at=wrong, now=NOW) == 30
    assert parse_retry_after("Fri, 02 Jan 2026 03:05:05 GMT", answered_at="garbage", now=NOW) == 60


DATE_LIKE = st.text(alphabet="FriJan GMT0123456789:,+-", max_size=40)


@given(text=st.text(max_size=40) | DATE_LIKE, answered_at=st.none() | st.text(max_size=40) | DATE_LIKE)
def test_no_retry_after_breaks_the_reading(text: str, answered_at: str | None) -> None:
    seconds = parse_retry_after(text, answered_at=answered_at, now=NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7),
        ({"retry-after": "0.5"}, b"", 0.5),
        ({"retry-after": "1000000000"}, b"", 86400),
        ({"retry-after": "garbage", "retry-after-ms": "1500"}, b"", 1.5),
        ({"x-ratelimit-reset-after": "2.25"}, b"", 2.25),
        ({"retry-after": "7", "x-ratelimit-reset-after": "2"}, b"", 7),
        ({}, b'{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}', 64.57),
        ({}, b'{"ok": false, "error_code": 429, "parameters": {"retry_after": 35}}', 35),
        ({}, b'{"retry_after": "soon"}', None),
        ({}, b'{"retry_after": -3}', None),
        ({}, b"retry_after: 5", None),
        ({}, b"", None),
    ],
)
def test_how_long_to_wait_is_read_in_every_form(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    for status in (429, 503, 500):
        asked = read_asked(Response(status=status, headers=tuple(headers.items()), body=body), now=NOW)
        assert (None if asked is None else asked.wait_seconds) == seconds


def test_an_answer_that_takes_the_message_asks_for_no_wait() -> None:
    assert read_asked(Response(status=200, headers=(("retry-after", "7"),)), now=NOW) is None


@pytest.mark.parametrize("word", ["disable", " Disable "])
def test_a_receiver_can_ask_for_no_more(word: str) -> None:
    assert read_asked(Response(status=200, headers=(("webhook-delivery", word),)), now=NOW) == Asked(disable=True)


@given(body=st.binary(max_size=60).map(lambda some: b'{"retry_after": ' + some))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    asked = read_asked(Response(status=429, body=body), now=NOW)
    assert asked is None or 0 <= (asked.wait_seconds or 0) <= 86400
