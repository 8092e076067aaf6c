"""The allow list and the reading of URLs; test_ssrf.py has what must never be reached."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.egress import AddressPolicy, Destination, UrlRefused, check_url
from tocsin.egress.ranges import is_public, read_address
from tocsin.errors import ConfigError

NONE = AddressPolicy()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com", ("https", "example.com", 443, "/", "example.com")),
        ("HTTPS://EXAMPLE.com:443/A?b=%20#c", ("https", "example.com", 443, "/A?b=%20", "example.com")),
        ("http://example.com:8080?x", ("http", "example.com", 8080, "/?x", "example.com:8080")),
        ("http://example.com:/", ("http", "example.com", 80, "/", "example.com")),
        ("http://example.com./", ("http", "example.com", 80, "/", "example.com")),
        (
            "https://bücher.example/ä ".strip(),
            ("https", "xn--bcher-kva.example", 443, "/%C3%A4", "xn--bcher-kva.example"),
        ),
        ("https://a_b.example.com/{x}", ("https", "a_b.example.com", 443, "/%7Bx%7D", "a_b.example.com")),
        ("http://8.8.8.8/", ("http", "8.8.8.8", 80, "/", "8.8.8.8")),
        ("http://134744072/", ("http", "8.8.8.8", 80, "/", "8.8.8.8")),
        ("http://[2606:4700:0::1111]:81/", ("http", "2606:4700::1111", 81, "/", "[2606:4700::1111]:81")),
        ("http://[::ffff:8.8.8.8]/", ("http", "8.8.8.8", 80, "/", "8.8.8.8")),
        ("https://3com.example/", ("https", "3com.example", 443, "/", "3com.example")),
    ],
)
def test_a_url_is_read_as_browsers_read_it(url: str, expected: tuple[str, str, int, str, str]) -> None:
    found = check_url(url, NONE)
    assert (found.scheme, found.host, found.port, found.path, found.authority) == expected


def test_the_path_stays_out_of_reprs_and_origins() -> None:
    found = check_url("https://hooks.example.com:8443/services/T0/B0/secret", NONE)
    assert repr(found) == "Destination(https://hooks.example.com:8443)"
    assert found.origin == "https://hooks.example.com:8443"


@pytest.mark.parametrize(
    ("text", "address", "port", "host"),
    [
        ("192.168.1.0/24", "192.168.1.77", 80, "x.example"),
        ("192.168.1.0/24:8080", "192.168.1.77", 8080, "x.example"),
        ("192.168.1.5", "192.168.1.5", 1234, "192.168.1.5"),
        ("192.168.1.5", "::ffff:192.168.1.5", 1234, "192.168.1.5"),
        ("127.0.0.1:9000", "127.0.0.1", 9000, "127.0.0.1"),
        ("fd00::/8", "fd00::5", 443, "x.example"),
        ("[fd00::/8]:443", "fd00::5", 443, "x.example"),
        ("[fd00::5]:443", "fd00::5", 443, "fd00::5"),
        ("::1", "::1", 80, "::1"),
        ("gotify.lan", "192.168.1.5", 80, "gotify.lan"),
        ("GOTIFY.lan.:80", "192.168.1.5", 80, "gotify.lan"),
        ("localhost", "::1", 80, "localhost"),
        ("10.0.0.5:5432", "10.0.0.5", 5432, "10.0.0.5"),
        ("169.254.169.254", "169.254.169.254", 80, "169.254.169.254"),
        ("169.254.169.254/32:80", "169.254.169.254", 80, "x.example"),
        ("fd00:ec2::254/128", "fd00:ec2::254", 80, "x.example"),
        ("64:ff9b::7f00:1", "64:ff9b::7f00:1", 80, "x.example"),
        (" , 10.0.0.1 ,, gotify.lan ", "10.0.0.1", 80, "x.example"),
    ],
)
def test_the_allow_list_opens(text: str, address: str, port: int, host: str) -> None:
    assert not NONE.allows(address, port, host)
    assert AddressPolicy.parse(text).allows(address, port, host)


@pytest.mark.parametrize(
    ("text", "address", "port", "host"),
    [
        ("192.168.1.0/24", "192.168.2.1", 80, "x.example"),
        ("192.168.1.0/24:8080", "192.168.1.1", 80, "x.example"),
        ("gotify.lan", "192.168.1.5", 80, "other.lan"),
        ("gotify.lan:8080", "192.168.1.5", 80, "gotify.lan"),
        ("10.0.0.0/8", "10.0.0.5", 5432, "x.example"),
        ("10.0.0.5:25", "8.8.8.8", 25, "x.example"),
        ("169.254.0.0/16", "169.254.169.254", 80, "x.example"),
        ("0.0.0.0/0", "169.254.169.254", 80, "x.example"),
        ("0.0.0.0/0", "100.100.100.200", 80, "x.example"),
        ("0.0.0.0/0", "192.0.0.192", 80, "x.example"),
        ("0.0.0.0/0", "168.63.129.16", 80, "x.example"),
        ("fd00::/8", "fd00:ec2::254", 80, "x.example"),
        ("metadata.lan", "169.254.169.254", 80, "metadata.lan"),
        ("::/0", "64:ff9b::a9fe:a9fe", 80, "x.example"),
        ("::/0", "2002:a9fe:a9fe::1", 80, "x.example"),
        ("::/0", "::a9fe:a9fe", 80, "x.example"),
        ("::/0", "::ffff:169.254.169.254", 80, "x.example"),
        ("fe80::/10", "fe80::1%eth0", 80, "x.example"),
        ("127.0.0.1", "not an address", 80, "x.example"),
    ],
)
def test_the_allow_list_does_not_open(text: str, address: str, port: int, host: str) -> None:
    assert not AddressPolicy.parse(text).allows(address, port, host)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0/33",
        "10.0.0.1/24",
        "10.0.0.0/8:0",
        "10.0.0.0/8:65536",
        "10.0.0.0/8:http",
        "fd00::/8:443",
        "[fd00::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.0/104",
        "127.1",
        "2130706433",
        "http://gotify.lan",
        "gotify..lan",
        "-gotify.lan",
        "*.lan",
        "gotify lan",
        "[gotify.lan",
        "10.0.0.1; 10.0.0.2",
    ],
)
def test_an_allow_list_that_is_not_understood_names_the_setting(text: str) -> None:
    with pytest.raises(ConfigError, match="TOCSIN_EGRESS_ALLOW"):
        AddressPolicy.parse(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("gotify", "http://gotify/"),
        ("gotify:8080", "http://gotify:8080/"),
        ("gotify", "http://gotify./"),
        ("gotify.", "http://gotify/"),
        ("nas.local.", "http://NAS.local./"),
        ("home.arpa", "http://home.arpa/"),
        ("hidden.onion", "http://hidden.onion/"),
        ("printer.local", "http://printer.local/"),
        ("api.internal", "http://api.internal/"),
        ("localhost", "http://LOCALHOST:9000/"),
        ("127.0.0.1", "http://localhost:9000/"),
        ("127.0.0.0/8:9000", "http://app.localhost:9000/"),
        ("mail.example.com:25", "http://mail.example.com:25/"),
        ("10.0.0.5:6379", "http://10.0.0.5:6379/"),
        ("10.0.0.0/8:6379", "http://redis.example.com:6379/"),
    ],
)
def test_a_url_that_the_allow_list_names_is_accepted(text: str, url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, NONE)
    assert isinstance(check_url(url, AddressPolicy.parse(text)), Destination)


@pytest.mark.parametrize(
    "host", ["a.test", "a.example", "nas.lan", "git.corp", "nas.home", "wiki.intranet", "a.private"]
)
def test_a_name_that_nobody_has_reserved_is_judged_by_what_it_resolves_to(host: str) -> None:
    assert check_url(f"http://{host}/", NONE).address is None


@pytest.mark.parametrize("text", ["api.internal", "internal"])
def test_a_name_in_the_allow_list_opens_none_below_it(text: str) -> None:
    with pytest.raises(UrlRefused):
        check_url("http://other.api.internal/", AddressPolicy.parse(text))


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_what_python_calls_private_is_never_public(address: IPv4Address, port: int) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(address)
        assert not NONE.allows(str(address), port, "x.example")


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_only_global_unicast_is_public(address: IPv6Address) -> None:
    if is_public(address):
        assert int(address) >> 125 == 1
        assert address.is_global
        assert address.sixtofour is None
        assert address.teredo is None


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_every_spelling_of_an_address_is_judged_alike(address: IPv4Address) -> None:
    number = int(address)
    spellings = [
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(hex(byte) for byte in address.packed),
        ".".join(f"0{byte:o}" for byte in address.packed),
        f"{number >> 24}.{number & 0xFFFFFF}",
        f"{number >> 24}.{number >> 16 & 255}.{number & 0xFFFF}",
        f"[::ffff:{address}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        "".join(chr(ord(character) + 0xFEE0) if character.isdigit() else character for character in str(address)),
        str(address) + ".",
    ]
    for spelling in spellings:
        if is_public(address):
            assert check_url(f"http://{spelling}/", NONE).address == str(address)
        else:
            with pytest.raises(UrlRefused):
                check_url(f"http://{spelling}/", NONE)


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://[", "http://example.com:"]))
def test_any_text_is_a_destination_or_refused_with_a_sentence(text: str, start: str) -> None:
    try:
        found = check_url(start + text, NONE)
    except UrlRefused:
        return
    assert found.path.startswith("/")
    assert found.path.isascii()
    assert found.path.isprintable()
    assert " " not in found.path
    assert found.authority.isascii()
    assert read_address(found.host) is None or found.address == found.host
