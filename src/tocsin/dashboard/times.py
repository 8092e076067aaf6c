"""Moments and spans as a reader takes them: in their time zone and language."""

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tocsin.clock import Clock
from tocsin.dashboard.words import Words

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class Times:
    """How one reader sees time; without a zone, or with one that is not known here, in UTC."""

    def __init__(self, words: Words, zone_name: str | None, clock: Clock) -> None:
        self._words = words
        self._clock = clock
        # Listing the zones takes a moment, which nobody without one should wait for.
        self.zone_name = zone_name if zone_name is not None and zone_name in zone_names() else None
        self.zone = UTC if self.zone_name is None else ZoneInfo(self.zone_name)

    def now(self) -> datetime:
        return self._clock.now()

    def local(self, at: datetime) -> str:
        """Date and time to the minute; which zone it is stands at the foot of the page, unless it is UTC."""
        return f"{at.astimezone(self.zone):%Y-%m-%d %H:%M}{' UTC' if self.zone_name is None else ''}"

    def full(self, at: datetime) -> str:
        """To the millisecond, with the difference to UTC."""
        return at.astimezone(self.zone).isoformat(" ", "milliseconds")

    def ago(self, at: datetime) -> str:
        """How long ago it was, or how long it is till then, roughly."""
        seconds = (self.now() - at).total_seconds()
        way = "ago" if seconds >= 0 else "ahead"
        size = abs(seconds)
        if size < _MINUTE:
            return self._words(f"time.{way}.moment")
        for unit, name in ((_DAY, "days"), (_HOUR, "hours")):
            if size >= 2 * unit:
                return self._words(f"time.{way}.{name}", number=int(size // unit))
        return self._words(f"time.{way}.minutes", number=int(size // _MINUTE))

    def lasting(self, milliseconds: float) -> str:
        """A span, as short as it can be said."""
        seconds = milliseconds / 1000
        if seconds < 1:
            return f"{milliseconds:.0f} ms"
        if seconds < _MINUTE:
            return f"{self._words.number(seconds, 1)} s"
        minutes, rest = divmod(round(seconds), _MINUTE)
        if minutes < _HOUR // _MINUTE:
            return f"{minutes} min {rest} s"
        return f"{minutes // 60} h {minutes % 60} min"

    def field(self, at: datetime | None) -> str:
        """What a field of the type `datetime-local` holds."""
        return "" if at is None else f"{at.astimezone(self.zone):%Y-%m-%dT%H:%M}"

    def read(self, text: str) -> datetime | None:
        """What somebody entered in such a field; None for nothing. Raises ValueError for what is no time."""
        if not text.strip():
            return None
        try:
            at = datetime.fromisoformat(text.strip())
            return (at if at.tzinfo else at.replace(tzinfo=self.zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError("must be a date and a time, such as 2026-01-31 14:30") from None

    def start_of_day(self) -> datetime:
        """When today began."""
        midnight = self.now().astimezone(self.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.astimezone(UTC)

    def before(self, **span: float) -> datetime:
        """A moment so long ago, as `timedelta` names spans."""
        return self.now() - timedelta(**span)


@cache
def zone_names() -> tuple[str, ...]:
    """Every time zone that can be chosen, in order; those that this machine's data is broken for are left out."""
    return tuple(sorted(name for name in available_timezones() if "/" in name and _is_whole(name)))


def _is_whole(name: str) -> bool:
    if name.startswith(("Etc/", "SystemV/", "US/", "posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
