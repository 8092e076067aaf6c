"""Which addresses are public: an own list, for `ipaddress.is_global` calls NAT64, 6to4 and cloud metadata global.

IPv4 is what remains after a deny list; IPv6 is 2000::/3 alone, minus what in it is not the public Internet
(IANA special-purpose registries; RFC 6890 and its successors).
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and Alibaba's metadata at 100.100.100.200
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",  # with Oracle's metadata at 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's wire server, in the midst of public space
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
# What clouds tell their machines, credentials among it; all lies in ranges that are not public.
_METADATA = frozenset(
    (
        IPv4Address("169.254.169.254"),  # nearly all of them
        IPv4Address("169.254.170.2"),  # Amazon, credentials of containers
        IPv4Address("169.254.170.23"),  # Amazon, credentials of pods
        IPv4Address("169.254.42.42"),  # Scaleway
        IPv4Address("169.254.0.23"),  # Tencent
        IPv4Address("100.100.100.200"),  # Alibaba
        IPv4Address("192.0.0.192"),  # Oracle
        IPv4Address("168.63.129.16"),  # Azure
        IPv6Address("fd00:ec2::254"),  # Amazon
        IPv6Address("fd00:ec2::23"),  # Amazon, credentials of pods
        IPv6Address("fd20:ce::254"),  # Google
        IPv6Address("fd00:c1::a9fe:a9fe"),  # Oracle
        IPv6Address("fd00:42::42"),  # Scaleway
        IPv6Address("fd00:a9fe:a9fe::1"),  # Linode
        IPv6Address("fd00:100::100:200"),  # Alibaba
        IPv6Address("fe80::a9fe:a9fe"),  # OpenStack
    )
)
# IPv6 addresses that a gateway turns into IPv4 ones: a CIDR of the allow list must not open such a detour by accident.
_CARRIES_V4 = tuple(
    IPv6Network(text)
    for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
_UNSPECIFIED_AND_LOOPBACK = (IPv6Address("::"), IPv6Address("::1"))
_ISATAP = (0x00005EFE, 0x02005EFE)  # the middle 32 bits, RFC 5214 6.1


def read_address(text: str) -> Address | None:
    """The address in a numeric text, an IPv4-mapped one as the IPv4 address it is; None for anything else.

    Zone ids (`fe80::1%eth0`) are refused: they choose an interface of this machine.
    """
    try:
        if ":" not in text:
            return IPv4Address(text)
        if "%" in text:
            return None
        address = IPv6Address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address


def is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address not in _GLOBAL_UNICAST or any(address in network for network in _NOT_PUBLIC_V6):
        return False
    embedded = _isatap_address(address)
    return embedded is None or is_public(embedded)


def needs_exact_entry(address: Address) -> bool:
    """Cloud metadata, and IPv6 forms of IPv4 addresses: never opened by a wider entry of the allow list."""
    if address in _METADATA:
        return True
    if isinstance(address, IPv4Address) or address in _UNSPECIFIED_AND_LOOPBACK:
        return False
    return any(address in network for network in _CARRIES_V4) or _isatap_address(address) is not None


def is_own(address: Address) -> bool:
    """True for an address of this machine: the kernel reaches it from the same address. Sends no packet."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return read_address(probe.getsockname()[0]) == address
    except OSError:
        return False  # no route: dialling it fails just so


def _isatap_address(address: IPv6Address) -> IPv4Address | None:
    number = int(address)
    if number >> 32 & 0xFFFFFFFF not in _ISATAP:
        return None
    return IPv4Address(number & 0xFFFFFFFF)
