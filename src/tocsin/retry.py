"""When a delivery is tried again, and when it is given up. Pure: time and chance are given.

Stop before: `deliver`, which knows the outcome. Stop after: the store, which keeps the time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from tocsin.model import DeliveryReason

DEFAULT_SCHEDULE_SECONDS = (0, 5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
"""Seconds before each attempt: 12 attempts, the last after 75 h 42 m 35 s, so that a receiver may fail for a weekend.

The tail is that of the Standard Webhooks example; the steps of 30 s, 2 m and 10 m bring a short redeployment's
messages soon after it.
"""

JITTER = 0.25
"""Each delay is multiplied by 0.75 to 1.25, so that deliveries that failed together do not return together."""


class TryAgain(msgspec.Struct, frozen=True):
    at: datetime


class GiveUp(msgspec.Struct, frozen=True):
    reason: DeliveryReason


def next_step(
    *,
    attempt: int,
    schedule_seconds: Sequence[float],
    now: datetime,
    expires_at: datetime,
    chance: float,
    wait_seconds: float | None = None,
) -> TryAgain | GiveUp:
    """What follows after attempt number `attempt` failed for now.

    `chance` is in [0, 1). What the receiver asked for can only postpone. A delivery that would be tried after it
    expires is given up at once.
    """
    if attempt >= len(schedule_seconds):
        return GiveUp(DeliveryReason.EXHAUSTED)
    delay_seconds = schedule_seconds[attempt] * (1 - JITTER + 2 * JITTER * chance)
    if wait_seconds is not None:
        delay_seconds = max(delay_seconds, wait_seconds)
    at = now + timedelta(seconds=delay_seconds)
    return GiveUp(DeliveryReason.EXPIRED) if at >= expires_at else TryAgain(at)
