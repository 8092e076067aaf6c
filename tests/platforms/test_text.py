"""Cutting and quieting words that users chose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.platforms.settings import mask_url
from tocsin.platforms.text import clip, one_line, plain, quiet, web_link, width


@given(text=st.text(), limit=st.integers(1, 40))
def test_a_clipped_text_fits_and_is_a_beginning(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert width(clipped) <= limit
    assert clipped == text or (clipped.endswith("…") and text.startswith(clipped[:-1]))


def test_a_text_that_fits_is_left_alone() -> None:
    assert clip("x" * 10, 10) == "x" * 10
    assert clip("x" * 11, 10) == "x" * 9 + "…"
    assert clip("👍👍", 4) == "👍👍"


@pytest.mark.parametrize("joined", ["👩‍👩‍👧", "👍🏽", "❤️", "e\u0301"])
def test_what_belongs_together_is_not_cut_apart(joined: str) -> None:
    for limit in range(2, 20):
        beginning = clip(f"ab {joined}{'z' * 30}", limit).removesuffix("…").rstrip()
        assert beginning in {"a", "ab"} or beginning.startswith(f"ab {joined}")


def test_control_characters_and_marks_that_reorder_are_removed() -> None:
    assert plain("a\x00b\x1b[31m\u202ec\r\nd\re\tf\ud800", 99) == "ab[31mc\nd\ne\tf"
    assert one_line(" a\r\n b\u2028c\td ", 99) == "a b c d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@here", "@\u200bhere"),
        ("cc @ada, @bob", "cc @\u200bada, @\u200bbob"),
        ("_@all", "_@\u200ball"),
        ("grace@example.com", "grace@example.com"),
        ("a @ b", "a @ b"),
    ],
)
def test_mentions_call_nobody(text: str, shown: str) -> None:
    assert quiet(text) == shown


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://x.test/a?b=c&d=%20#e", "https://x.test/a?b=c&d=%20#e"),
        ("http://x.test:8600/é|>", "http://x.test:8600/%C3%A9%7C%3E"),
        ("http://[2001:db8::1]/", "http://[2001:db8::1]/"),
        ("https://x.test/\ud800", "https://x.test/?"),
        ("javascript:alert(1)", None),
        ("ftp://x.test", None),
        ("https:///x", None),
        ("http://[", None),
        ("https://x.test/" + "x" * 2000, None),
        ("https://x.test/" + "é" * 500, None),
        ("", None),
        (None, None),
    ],
)
def test_only_web_addresses_are_links(link: str | None, shown: str | None) -> None:
    assert web_link(link) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/…"),
        ("http://ada:pw@x.test:8080/y?token=z#f", "http://x.test:8080/…"),
        ("http://[::1]:80/y", "http://[::1]:80/…"),
        ("https://x.test:99999/", "…"),
        ("ftp://x.test/y", "…"),
        ("secret", "…"),
        (42, "…"),
    ],
)
def test_a_masked_url_shows_where_it_leads_and_no_more(url: object, shown: str) -> None:
    assert mask_url(url) == shown
