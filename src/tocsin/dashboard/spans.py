"""Spans of time as people write them: `90`, `90s`, `15m`, `12h`, `7d`. Pure."""

import re
from collections.abc import Iterable

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "j": 86_400}
_SPAN = re.compile(r"([0-9]{1,9}(?:[.,][0-9]{1,3})?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_BETWEEN = re.compile(r"[,;\s]+")


def read_span(text: str) -> float:
    """The seconds of a span. Raises ValueError."""
    found = _SPAN.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ValueError("must be a number of seconds, or one with a unit: 90s, 15m, 12h, 7d")
    return float(found[1].replace(",", ".")) * unit


def read_spans(text: str) -> list[float]:
    """The seconds of each span, with spaces or commas between. Raises ValueError."""
    return [read_span(part) for part in _BETWEEN.split(text.strip()) if part]


def write_span(seconds: float) -> str:
    """A span in the largest unit in which it is a whole number."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").removesuffix(".") + "s"


def write_spans(spans: Iterable[float]) -> str:
    return " ".join(map(write_span, spans))
