"""When which fault strikes: a schedule made of chance alone, so that a seed makes the same one again."""

import random
from collections.abc import Sequence

import msgspec


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """One fault."""

    after_seconds: float
    """Since the one before was over."""

    kind: str
    target: int
    """Which of those that it may hit, as a number to be taken modulo how many there are."""


def schedule(
    chance: random.Random, times: int, *, kinds: Sequence[str], within_seconds: tuple[float, float]
) -> list[Strike]:
    """So many faults; each kind equally often, but for the rest, in an order of chance."""
    chosen = [kinds[number % len(kinds)] for number in range(times)]
    chance.shuffle(chosen)
    return [
        Strike(after_seconds=chance.uniform(*within_seconds), kind=kind, target=chance.randrange(1 << 16))
        for kind in chosen
    ]
