"""How far this machine's clock is from those of receivers, by the dates of their answers.

Receivers refuse signatures whose time is some minutes off.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median
from urllib.parse import urlsplit

import structlog

from tocsin.clock import Clock
from tocsin.model import Notifier, Response

LOOK_EVERY_SECONDS = 1.0
"""One answer in a second is enough, and costs nothing worth measuring."""

ENOUGH_RECEIVERS = 3
"""The median of so many is not moved by one whose own clock is wrong, or who lies."""

MAX_RECEIVERS = 64
FRESH_SECONDS = 600.0
WARN_SECONDS = 60.0
NOTE_SECONDS = 240.0
"""Libraries that verify webhooks allow for five minutes: that is nearly over."""

WARN_EVERY_SECONDS = 3600.0

LOG = structlog.get_logger()


class Skew:
    """What is known of it. Positive when this clock is behind."""

    def __init__(self, clock: Clock) -> None:
        self.next_look_seconds = 0.0
        self._clock = clock
        self._of: dict[str, tuple[float, float]] = {}
        self._warn_at_seconds = 0.0

    @property
    def seconds(self) -> float:
        """The median over receivers; nothing while too few are known."""
        since = self._clock.monotonic() - FRESH_SECONDS
        fresh = [skew for seen, skew in self._of.values() if seen >= since]
        return median(fresh) if len(fresh) >= ENOUGH_RECEIVERS else 0.0

    def look(self, notifier: Notifier, response: Response) -> None:
        """Note an answer's date. To be called from `next_look_seconds` on."""
        now_seconds = self._clock.monotonic()
        self.next_look_seconds = now_seconds + LOOK_EVERY_SECONDS
        date = _read(response.header("date"))
        url = notifier.type_data.get("webhook_url")
        if date is None or not isinstance(url, str):
            return
        receiver = urlsplit(url).netloc
        self._of.pop(receiver, None)
        self._of[receiver] = now_seconds, (date - self._clock.now()).total_seconds()
        if len(self._of) > MAX_RECEIVERS:
            del self._of[next(iter(self._of))]
        self._warn(now_seconds)

    def _warn(self, now_seconds: float) -> None:
        seconds = self.seconds
        if abs(seconds) > WARN_SECONDS and now_seconds >= self._warn_at_seconds:
            self._warn_at_seconds = now_seconds + WARN_EVERY_SECONDS
            LOG.warning("clock.differs_from_receivers", seconds=round(seconds))

    def notes(self) -> dict[str, str]:
        """What whoever asks whether all is well should know."""
        seconds = self.seconds
        if abs(seconds) <= NOTE_SECONDS:
            return {}
        way = "behind" if seconds > 0 else "ahead of"
        return {"clock": f"{abs(seconds):.0f} s {way} the receivers': they may refuse signatures; set it right"}


def _read(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    return date.replace(tzinfo=UTC) if date is not None and date.tzinfo is None else date
