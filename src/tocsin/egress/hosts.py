"""Reading the host of a URL as a browser does (WHATWG URL, "host parsing"), so that no spelling hides an address."""

import re
from ipaddress import IPv4Address

import idna

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)
# Names that mean this machine or this network (RFC 6761, 6762, 8375; ICANN reserved .internal in 2024), that never are
# in the public DNS (RFC 6761, 7686, 9476), and the infrastructure's own (RFC 3172), .home.arpa among them. Not here are
# .test and .example, which programs are to treat as any other (RFC 6761 6.2, 6.5), and .lan, .home, .corp and the like,
# which nobody has reserved: what they resolve to decides.
_INTERNAL_SUFFIXES = (".localhost", ".local", ".internal", ".invalid", ".onion", ".alt", ".arpa")


def read_name(text: str) -> str:
    """A host name in lower-case ASCII without a final dot, or the dotted form of an address written as numbers.

    Raises ValueError with a sentence that completes "the URL …".
    """
    ascii_name = _to_ascii(text).lower().removesuffix(".")
    labels = ascii_name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return str(_read_ipv4(labels))
    if len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a host that is not a valid name")
    return ascii_name


def is_internal(name: str) -> bool:
    """True for names that mean nothing on the public Internet."""
    return "." not in name or name.endswith(_INTERNAL_SUFFIXES)


def is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _to_ascii(text: str) -> str:
    if text.isascii():
        return text
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError("has a host that is not a valid name") from error


def _read_ipv4(labels: list[str]) -> IPv4Address:
    """`127.1`, `2130706433`, `0x7f.1` and `0177.0.0.1` are 127.0.0.1 to every resolver, hence here too."""
    numbers = [_read_number(label) for label in labels]
    *heads, tail = numbers
    if len(numbers) > 4 or any(not 0 <= head <= 255 for head in heads) or not 0 <= tail < 256 ** (5 - len(numbers)):
        raise ValueError("has a host that looks like an address but is none")
    return IPv4Address(sum(head << 8 * (3 - place) for place, head in enumerate(heads)) + tail)


def _read_number(label: str) -> int:
    """The number, or -1."""
    if not _NUMBER.fullmatch(label) or len(label) > 20:
        return -1
    try:
        if label[:2] in {"0x", "0X"}:
            return int(label[2:] or "0", 16)
        return int(label, 8 if len(label) > 1 and label[0] == "0" else 10)
    except ValueError:  # 08 is no octal number
        return -1
