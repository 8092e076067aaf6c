"""First attempts before retries: how a notifier's slots are divided between them when they are claimed for."""

from collections.abc import Callable

FIRSTS_IN_TEN = 7
"""So many of ten slots of a notifier go to first attempts; the others go to whatever is due longest, so that retries,
which grow old while they wait, are never passed over for ever."""

Chance = Callable[[], float]
"""A number from 0 to below 1, each time another."""


def count_firsts(slots: int, chance: float) -> int:
    """How many of so many slots are for first attempts: rounded by chance, so that a single one is in 7 of 10 cases."""
    whole, tenths = divmod(slots * FIRSTS_IN_TEN, 10)
    return whole + (chance >= 1 - tenths / 10)
