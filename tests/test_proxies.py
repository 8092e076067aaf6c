"""Whose address a request counts for: never one that a client could have made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import ConfigError
from tocsin.proxies import Proxies

TRUSTED = Proxies.parse("10.0.0.0/8, ::1, 2001:db8:aaaa::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("::ffff:10.1.2.3", "198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "203.0.113.5, 198.51.100.7", "198.51.100.7"),
        ("10.1.2.3", "203.0.113.5, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.1.2.3", "10.8.8.8, 10.9.9.9", "10.8.8.8"),
        ("10.1.2.3", "198.51.100.7:4711", "198.51.100.7"),
        ("10.1.2.3", "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("::1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("10.1.2.3", "198.51.100.7, unknown", "10.1.2.3"),
        ("2001:db8:1:2::5", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::5", None, "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("", "198.51.100.7", ""),
        ("/run/socket", None, ""),
    ],
)
def test_the_last_address_that_is_no_trusted_proxy_is_the_caller(peer: str, forwarded: str | None, caller: str) -> None:
    assert TRUSTED.caller(peer, forwarded) == caller
    address = TRUSTED.address(peer, forwarded)
    assert (address or "").startswith(caller.partition("::/")[0])


@given(st.text(max_size=50))
def test_what_a_client_says_of_itself_changes_nothing(said: str) -> None:
    assert Proxies().caller("192.0.2.1", said) == "192.0.2.1"
    assert TRUSTED.caller("10.1.2.3", f"{said}, 198.51.100.7") == "198.51.100.7"


@pytest.mark.parametrize("text", ["proxy.example.com", "10.0.0.1/8", "10.0.0.0/40", "10.0.0.0/8;::1"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="TOCSIN_TRUSTED_PROXIES"):
        Proxies.parse(text)
