"""From which address a request comes, when proxies that are trusted stand in front."""

import ipaddress
from collections.abc import Iterable
from typing import Self

from tocsin.errors import ConfigError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NOWHERE = ""
"""The caller of whom no address is known."""

# Whoever has one IPv6 address has all of its /64.
_OWN_BITS = 64


class Proxies:
    """The reverse proxies whose word is taken for whom they ask for."""

    def __init__(self, networks: Iterable[_Network] = ()) -> None:
        self._networks = tuple(networks)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Networks and addresses, comma-separated. Raises ConfigError."""
        try:
            return cls(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
        except ValueError as error:
            raise ConfigError(
                f"TOCSIN_TRUSTED_PROXIES must list networks and addresses such as 10.0.0.0/8,::1: {error}"
            ) from None

    def caller(self, peer: str, forwarded: str | None) -> str:
        """The network that a request counts for: an IPv4 address, or the /64 of an IPv6 one."""
        return _network(self._find(peer, forwarded))

    def address(self, peer: str, forwarded: str | None) -> str | None:
        """The address that a request comes from."""
        found = self._find(peer, forwarded)
        return None if found is None else str(found)

    def _find(self, peer: str, forwarded: str | None) -> _Address | None:
        """`peer` is who is connected.

        What it says in X-Forwarded-For is read from its end, where each proxy adds whom it answers, for as long as the
        one that added it is trusted.
        """
        address = _address(peer)
        claims = forwarded.split(",") if forwarded else []
        while address is not None and claims and self._trusts(address):
            claimed = _address(claims.pop())
            if claimed is None:
                break
            address = claimed
        return address

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> _Address | None:
    """An address, which some proxies write with its port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(address: _Address | None) -> str:
    if address is None:
        return NOWHERE
    if address.version == 4:
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> _OWN_BITS << _OWN_BITS, _OWN_BITS)))
