"""When a delivery is tried again, and when it is given up. Pure: time and chance are given.

Stop before: `deliver`, which knows the outcome. Stop after: the store, which keeps the time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

from tocsin.model import DeliveryReason

DEFAULT_SCHEDULE_SECONDS = (0, 5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds before each attempt: 12 attempts, the last after 75 h 42 m 35 s, so that a receiver may fail for a weekend.

The tail is that of the Standard Webhooks example; the steps of 30 s, 2 m and 10 m bring a short redeployment's
messages soon after it.
"""

JITTER = 0.25
"""Each delay is multiplied by 0.75 to 1.25, so that deliveries that failed together do not return together."""

MAX_RETRY_AFTER_SECONDS = 24 * 3600


class TryAgain(msgspec.Struct, frozen=True):
    at: datetime


class GiveUp(msgspec.Struct, frozen=True):
    reason: DeliveryReason


def parse_retry_after(text: str | None, *, answered_at: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3); None for anything else.

    A date is compared with the answer's own Date header where there is one, so that a wrong clock does not matter.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        until, since = _http_date(text), _http_date(answered_at) or now
        if until is None:
            return None
        seconds = (until - since).total_seconds()
    return seconds if 0 <= seconds < float("inf") else None


def _http_date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def next_step(
    *,
    attempt: int,
    schedule_seconds: Sequence[float],
    now: datetime,
    expires_at: datetime,
    chance: float,
    retry_after_seconds: float | None = None,
) -> TryAgain | GiveUp:
    """What follows after attempt number `attempt` failed for now.

    `chance` is in [0, 1). A receiver's Retry-After can only postpone, by at most a day; a garbage one (negative,
    not finite) is ignored. A delivery that would be tried after it expires is given up at once.
    """
    if attempt >= len(schedule_seconds):
        return GiveUp(DeliveryReason.EXHAUSTED)
    delay_seconds = schedule_seconds[attempt] * (1 - JITTER + 2 * JITTER * chance)
    if retry_after_seconds is not None and 0 <= retry_after_seconds < float("inf"):
        delay_seconds = max(delay_seconds, min(retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
    at = now + timedelta(seconds=delay_seconds)
    return GiveUp(DeliveryReason.EXPIRED) if at >= expires_at else TryAgain(at)
