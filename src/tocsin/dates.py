"""Dates and durations as the API writes them: RFC 3339 and Go's duration spelling."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_TERM = re.compile(r"(\d{1,99}+(?:\.\d{0,99}+)?|\.\d{1,99}+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_TERMS = re.compile(f"(?:{_TERM.pattern})+", re.ASCII)
_MAX_NS = (1 << 63) - 1


def format_instant(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as `2026-01-02T03:04:05.678Z`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 date with zone; digits beyond microseconds are cut. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("is not an RFC 3339 date such as 2026-01-02T03:04:05Z")
    fraction = match[1]
    if fraction and len(fraction) > 6:
        text = text.replace("." + fraction, "." + fraction[:6])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("is not a date that exists") from error


def format_duration(nanoseconds: int) -> str:
    """Go's `time.Duration.String`: `5m30s`, `1h0m0s`, `1.5s`, `0s` (https://pkg.go.dev/time#Duration.String)."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < _UNITS["s"]:
        unit = "ms" if rest >= _UNITS["ms"] else "µs" if rest >= _UNITS["us"] else "ns"
        return f"{sign}{_decimal(rest, _UNITS[unit])}{unit}"
    hours, rest = divmod(rest, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    seconds = f"{_decimal(rest, _UNITS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    return f"{whole}.{part:0{len(str(unit)) - 1}d}".rstrip("0")


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as `3m`, `1h30m` or `0`; an empty text is 0. Raises ValueError."""
    if text in {"", "0"}:
        return 0
    if not _TERMS.fullmatch(text):
        raise ValueError("is not a duration such as 5m30s")
    total = 0
    for number, unit in _TERM.findall(text):
        whole, _, part = number.partition(".")
        total += int(whole or 0) * _UNITS[unit] + int(part or 0) * _UNITS[unit] // 10 ** len(part)
    if total > _MAX_NS:
        raise ValueError("is longer than 292 years")
    return total
