"""Request heads as bytes: names and values validated, so that nothing a notifier holds can add a line."""

import re

from tocsin.egress.addresses import Destination
from tocsin.errors import PermanentFailure
from tocsin.model import Reason

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
# What egress decides itself: where the request goes, how it is framed, and what the connection is used for.
_RESERVED = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "accept-encoding",
        "proxy-authorization",
        "proxy-connection",
    )
)
_MAX_SHAPES = 1024


class HeadWriter:
    """Writes the lines that differ between requests; one instance remembers the header names it has validated."""

    def __init__(self, user_agent: str) -> None:
        self._defaults = {"accept": "*/*", "user-agent": user_agent}
        self._shapes: dict[tuple[str, ...], str] = {}
        if not _VALUE.fullmatch(user_agent):
            raise ValueError("the user agent must be visible ASCII")

    def write(self, headers: tuple[tuple[str, str], ...]) -> str:
        """Header lines, each with its line end. Raises PermanentFailure(misconfigured)."""
        names, values = zip(*headers, strict=True) if headers else ((), ())
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._add_shape(names)
        joined = "".join(values)
        # isprintable() refuses the tab, which is allowed but rare
        if not (joined.isascii() and joined.isprintable()) and not _VALUE.fullmatch(joined):
            raise PermanentFailure(
                Reason.MISCONFIGURED, "a header value has characters other than visible ASCII, spaces and tabs"
            )
        return shape % values

    def _add_shape(self, names: tuple[str, ...]) -> str:
        lines = []
        for name in names:
            if not _TOKEN.fullmatch(name):
                raise PermanentFailure(Reason.MISCONFIGURED, "a header name is not a token (RFC 9110 5.6.2)")
            if name.lower() in _RESERVED:
                raise PermanentFailure(Reason.MISCONFIGURED, f"the header {name.lower()} cannot be set")
            lines.append(f"{name.replace('%', '%%')}: %s\r\n")
        given = {name.lower() for name in names}
        lines += [
            f"{name}: {value.replace('%', '%%')}\r\n" for name, value in self._defaults.items() if name not in given
        ]
        if len(self._shapes) >= _MAX_SHAPES:
            del self._shapes[next(iter(self._shapes))]
        shape = self._shapes[names] = "".join(lines)
        return shape


def write_start(destination: Destination, method: str) -> str:
    """Everything of a head that is the same for each request to a URL. Raises PermanentFailure(misconfigured)."""
    if not _TOKEN.fullmatch(method) or method.upper() in {"CONNECT", "TRACE"}:
        raise PermanentFailure(Reason.MISCONFIGURED, "the request method cannot be used")
    return f"{method} {destination.path} HTTP/1.1\r\nhost: {destination.authority}\r\naccept-encoding: identity\r\n"
