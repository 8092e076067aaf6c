"""What a check of the doctor comes to."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tocsin.errors import TocsinError

Level = Literal["ok", "warn", "FAIL"]

MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""Before this there was no Tocsin: a clock that says so is not set."""


class Finding(msgspec.Struct, frozen=True):
    level: Level
    text: str


Check = Callable[[], Finding]


def look(check: Check) -> Finding:
    """What a check finds; what it raises is a failure."""
    try:
        return check()
    except TocsinError as error:
        return Finding("FAIL", error.message)
    except OSError as error:
        return Finding("FAIL", error.strerror or str(error) or type(error).__name__)
