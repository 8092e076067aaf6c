"""Where deliveries may go: the operator's allow list, and the check of a URL before it is stored and before it is sent.

Pure: names are judged here by their spelling, and by what they resolve to when `AddressPolicy.allows` is asked about
the address that is about to be dialled.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import quote

import msgspec

from tocsin.egress.hosts import is_internal, is_localhost, read_name
from tocsin.egress.ranges import Address, is_public, needs_exact_entry, read_address
from tocsin.errors import ConfigError

_SETTING = "TOCSIN_EGRESS_ALLOW"
_MAX_URL_LENGTH = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?", re.ASCII)
_ENTRY = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", re.ASCII)
# Sent as they stand; everything else in a path is percent-encoded, as browsers do.
_PATH_CHARACTERS = "%/:=&?~#+!$,;'@()*[]|^\\"
# https://fetch.spec.whatwg.org/#port-blocking, and the databases and caches that understand parts of HTTP.
# fmt: off
_BAD_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513,
    514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720,
    1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    5432, 3306, 6379, 11211, 27017, 9200,
))
# fmt: on


class UrlRefused(ValueError):
    """A URL that deliveries may not or cannot go to; the sentence completes "the URL …" and repeats no part of it."""


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A checked URL in parts. `address` is set when the host is an address; `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str
    address: str | None = None

    @property
    def authority(self) -> str:
        """The Host header: without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be shown of a URL whose path is a secret."""
        return f"{self.scheme}://{self.authority}"

    def __repr__(self) -> str:
        return f"Destination({self.origin})"


class _Entry(msgspec.Struct, frozen=True):
    """One item of the allow list: a network or a name, for one port or all (None)."""

    network: IPv4Network | IPv6Network | None
    name: str | None
    port: int | None

    def covers(self, address: Address, port: int, host: str) -> bool:
        if self.port not in {None, port}:
            return False
        if self.network is None:
            return self.name == host and not needs_exact_entry(address)
        if needs_exact_entry(address) and self.network.num_addresses != 1:
            return False
        return address in self.network


class AddressPolicy(msgspec.Struct, frozen=True):
    """Public addresses, and what the operator's allow list adds to them."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "AddressPolicy":
        """Read TOCSIN_EGRESS_ALLOW. Raises ConfigError."""
        items = (item.strip() for item in text.split(","))
        return cls(tuple(_read_entry(item) for item in items if item))

    def allows(self, address: str, port: int, host: str) -> bool:
        """May a connection to this numeric address be made for a URL with this host and port?"""
        found = read_address(address)
        if found is None:
            return False
        if port not in _BAD_PORTS and is_public(found):
            return True
        return any(entry.port is not None or port not in _BAD_PORTS for entry in self._covering(found, port, host))

    def names(self, address: str, port: int, host: str) -> bool:
        """Does the allow list itself cover this address, whether public or not?"""
        found = read_address(address)
        return found is not None and any(self._covering(found, port, host))

    def allows_name(self, host: str, port: int) -> bool:
        """May a URL have this name? What it resolves to is judged apart."""
        if not is_internal(host):
            return True
        if any(entry.name == host and entry.port in {None, port} for entry in self.entries):
            return True
        return is_localhost(host) and any(self.allows(loopback, port, host) for loopback in ("127.0.0.1", "::1"))

    def allows_port(self, host: str, port: int) -> bool:
        """May a URL with this name have this port? A listed network speaks for names that might lie in it."""
        if port not in _BAD_PORTS:
            return True
        return any(entry.port == port and entry.name in {None, host} for entry in self.entries)

    def _covering(self, address: Address, port: int, host: str) -> Iterator[_Entry]:
        return (entry for entry in self.entries if entry.covers(address, port, host))


def check_url(url: str, policy: AddressPolicy) -> Destination:
    """Read a URL that deliveries are to go to. Raises UrlRefused with a sentence for whoever typed it."""
    scheme, host, port, path = _split(url)
    address = None
    if host.startswith("["):
        address = read_address(host[1:-1])
        if address is None:
            raise UrlRefused("has a host in brackets that is not an IPv6 address")
    else:
        try:
            host = read_name(host)
        except ValueError as error:
            raise UrlRefused(str(error)) from error
        address = read_address(host)
    if address is not None:
        host = str(address)
        _check_literal(host, port, policy)
    else:
        _check_name(host, port, policy)
    literal = host if address is not None else None
    return Destination(scheme=scheme, host=host, port=port, path=path, address=literal)


def _split(url: str) -> tuple[str, str, int, str]:
    if len(url) > _MAX_URL_LENGTH:
        raise UrlRefused(f"is longer than {_MAX_URL_LENGTH} characters")
    if any(character <= " " or "\x7f" <= character <= "\xa0" for character in url) or "\\" in url:
        raise UrlRefused("must not contain spaces, control characters or backslashes")
    match = _URL.match(url)
    if match is None:
        raise UrlRefused("must start with http:// or https://")
    scheme, authority, path = match[1].lower(), match[2], match[3]
    if "@" in authority:
        raise UrlRefused("must not contain a user name or password")
    if "%" in authority:
        raise UrlRefused("must not have a percent-encoded host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or not parts[1]:
        raise UrlRefused("has no valid host and port")
    port = int(parts[2]) if parts[2] else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise UrlRefused("has a port that is not between 1 and 65535")
    return scheme, parts[1], port, _encode_path(path)


def _encode_path(path: str) -> str:
    try:
        encoded = quote(path, safe=_PATH_CHARACTERS)
    except UnicodeError as error:
        raise UrlRefused("is not valid Unicode") from error
    return encoded if encoded.startswith("/") else f"/{encoded}"


def _check_literal(address: str, port: int, policy: AddressPolicy) -> None:
    if policy.allows(address, port, address):
        return
    if policy.allows(address, _DEFAULT_PORTS["https"], address):
        raise UrlRefused(f"has port {port}, which is not open to deliveries")
    raise UrlRefused("has a host that is not a public address; the operator can allow it in TOCSIN_EGRESS_ALLOW")


def _check_name(host: str, port: int, policy: AddressPolicy) -> None:
    if not policy.allows_name(host, port):
        raise UrlRefused(
            "has a host that is no name of the public Internet; the operator can allow it in TOCSIN_EGRESS_ALLOW"
        )
    if not policy.allows_port(host, port):
        raise UrlRefused(f"has port {port}, which is not open to deliveries")


def _read_entry(item: str) -> _Entry:
    match = _ENTRY.fullmatch(item)
    body, port = (match[1] or match[2], match[3]) if match else (item, None)
    if port is not None and not 0 < int(port) < 65536:
        raise _config_error(item, "the port must be between 1 and 65535")
    number = int(port) if port else None
    if ":" in body or "/" in body or read_address(body) is not None:
        return _Entry(_read_network(item, body), None, number)
    try:
        name = read_name(body)
    except ValueError as error:
        raise _config_error(item, "it is no address, network or host name") from error
    if read_address(name) is not None:
        raise _config_error(item, f"write the address as {name}")
    return _Entry(None, name, number)


def _read_network(item: str, body: str) -> IPv4Network | IPv6Network:
    if "%" in body:
        raise _config_error(item, "zone ids are not supported")
    try:
        network = ip_network(body)
    except ValueError as error:
        raise _config_error(item, str(error)) from error
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise _config_error(item, "write IPv4 addresses in their own form")
    return network


def _config_error(item: str, why: str) -> ConfigError:
    return ConfigError(
        f"{_SETTING}: {item!r} is not understood: {why}. "
        "Examples: 192.168.1.0/24, 10.0.0.5:8080, [fd00::5]:443, gotify.lan"
    )
