import base64
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.credentials import (
    Basic,
    Bearer,
    hash_secret,
    issue_jwt,
    mark_of,
    new_secret,
    read_authorization,
    read_jwt,
)
from tocsin.errors import NotAuthenticated

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = b"k" * 32


def issued(**changes):
    values = {"key": KEY, "issuer": "http://x", "user_id": "us-1", "token_id": "tk-1", "secret_hash": b"h", "now": NOW}
    return issue_jwt(**values | changes)


def test_a_secret_is_a_prefix_and_43_url_safe_characters():
    secret = new_secret()
    assert re.fullmatch(r"tk-us-[A-Za-z0-9_-]{43}", secret)
    assert new_secret() != secret


def test_a_jwt_is_read_back():
    claims = read_jwt(issued(), keys=[KEY], issuer="http://x", now=NOW)
    assert (claims.user_id, claims.token_id, claims.mark) == ("us-1", "tk-1", mark_of(b"h"))
    assert claims.expires_at == (NOW + timedelta(hours=1)).timestamp()


def test_each_jwt_has_an_id_of_its_own():
    assert issued() != issued()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (issued(key=b"j" * 32), NOW),
        (issued(issuer="http://y"), NOW),
        (issued(), NOW + timedelta(hours=1)),
        ("a.b.c", NOW),
        ("", NOW),
    ],
)
def test_a_jwt_that_is_not_ours_or_too_old_is_refused(text, at):
    with pytest.raises(NotAuthenticated):
        read_jwt(text, keys=[KEY], issuer="http://x", now=at)


def test_headers_are_read():
    assert read_authorization("bearer  abc ") == Bearer("abc")
    encoded = base64.b64encode(b"user:pass:word").decode()
    assert read_authorization(f"Basic {encoded}") == Basic("user", "pass:word")


@given(st.none() | st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"Basic {text}"))
def test_any_header_is_read_or_refused(header):
    try:
        found = read_authorization(header)
    except NotAuthenticated:
        return
    assert isinstance(found, Bearer | Basic)


def test_secrets_do_not_show_in_reprs():
    assert "secret" not in repr(Basic("user", "secret"))
    assert "secret" not in repr(Bearer("secret"))
    assert hash_secret("secret") != hash_secret("Secret")
