"""Figures, spans and clean text, as people read them."""

from datetime import UTC, datetime

import pytest

from tocsin.rendering.words import (
    discreet,
    euros,
    figure,
    joined,
    lines,
    moment,
    one_line,
    percent,
    sentences,
    site,
    size,
    span,
    tail,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-1, ""),
        (0, "0 s"),
        (0.4, "under 1 s"),
        (40, "40 s"),
        (65, "1 m 5 s"),
        (120, "2 m"),
        (3_600, "1 h"),
        (3_661, "1 h 1 m"),
        (3_601, "1 h"),
        (90_000, "1 d 1 h"),
        (86_400_000, "1,000 d"),
    ],
)
def test_a_span_of_time_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, ""), (1234, "1,234"), (0.93, "0.93"), (1234.5, "1,234.5"), (-0.001, "0")]
)
def test_a_figure_has_thousands_and_two_decimals_at_most(number: float | None, text: str) -> None:
    assert figure(number) == text


def test_ratios_amounts_and_sizes_have_their_units() -> None:
    assert [percent(0.93), percent(0.005), percent(1), percent(None)] == ["93 %", "0.5 %", "100 %", ""]
    assert [euros(1234.5), euros(None)] == ["€1,234.50", ""]
    assert [size(12), size(2048), size(3 * 1024**2), size(5 * 1024**3)] == ["12 bytes", "2 KiB", "3 MiB", "5 GiB"]
    assert size(0) == size(None) == ""


def test_a_moment_is_in_utc() -> None:
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2 January 2026, 03:04 UTC"


def test_lists_read_as_prose_and_end_in_how_many_more() -> None:
    assert joined([]) == ""
    assert joined(["a"]) == "a"
    assert joined(["a", "b"]) == "a and b"
    assert joined(list("abc")) == "a, b and c"
    assert joined(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_sentences_end_in_one_full_stop() -> None:
    assert sentences("it broke", "", "Why?") == "It broke. Why?"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://hooks.example.com/services/T0/B0/secret?x=1", "https://hooks.example.com"),
        ("tcp+tls://user:secret@logs.example.com:6514", "tcp+tls://logs.example.com"),
        ("https://[2001:db8::1]:8443/secret", "https://[2001:db8::1]"),
        ("https://example.com?token=secret", "https://example.com"),
        ("https://user:secret", ""),
        ("secret", ""),
        ("", ""),
    ],
)
def test_a_site_is_scheme_and_host_alone(url: str, text: str) -> None:
    assert site(url) == text


def test_one_line_is_clean_and_clipped() -> None:
    assert one_line("  a\x00b\r\nc\td\u2028e\ud800f  g\x1b[1mh ", 50) == "a b c d e f gh"
    assert one_line("\u202eevil\u2066", 50) == "evil"
    assert one_line("a" * 20, 10) == "a" * 9 + "…"
    assert one_line("👩‍🚀 ok", 10) == "👩‍🚀 ok"


def test_lines_keep_their_breaks_and_nothing_else_that_controls() -> None:
    assert lines("\na \r\nb\x07c\n\n\n\nd\n") == "a\nb c\n\nd"


def test_a_tail_begins_at_a_line() -> None:
    assert tail("short", 10) == "short"
    assert tail("first line\nsecond line", 16) == "…\nsecond line"
    assert tail("x" * 100, 10) == "…\n" + "x" * 8


def test_discreet_text_has_no_credentials() -> None:
    assert discreet("psql postgres://u:pw@db/x") == "psql postgres://…@db/x"
    assert discreet("env API_KEY=abc DB_PASSWORD='abc' run") == "env API_KEY=… DB_PASSWORD=… run"
    assert discreet("DATE=2026 monkey keyboard") == "DATE=2026 monkey keyboard"
