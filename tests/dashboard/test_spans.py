"""Spans of time as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.dashboard.spans import read_span, read_spans, write_span, write_spans


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("1.5 h", 5400),
        ("1,5h", 5400),
        (" 15m ", 900),
        ("15 min", 900),
        ("12H", 43_200),
        ("7d", 604_800),
        ("7 j", 604_800),
    ],
)
def test_a_span_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert read_span(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1", "1w", "1 2", "1e3", "nan", "٣", "1h30m", "9" * 400])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number of seconds"):
        read_span(text)


@given(st.integers(0, 1_000_000))
def test_a_span_that_is_written_is_read_again(seconds: int) -> None:
    assert read_span(write_span(seconds)) == seconds
    assert read_span(write_span(seconds / 8)) == seconds / 8


def test_several_spans_stand_in_a_row() -> None:
    assert read_spans("0, 5s;5m  2h\n1d") == [0, 5, 300, 7200, 86_400]
    assert read_spans(" ") == []
    assert write_spans([0, 5, 300, 7200, 86_400, 61]) == "0s 5s 5m 2h 1d 61s"
    with pytest.raises(ValueError, match="must be a number of seconds"):
        read_spans("5m later")
