"""Ids: time-ordered, so that order of receipt is order of id and indexes stay warm.

Apps and events have 24 hexadecimal digits; notifiers `no-`, alerts `al-`, users `us-`, deliveries `de-` and a
UUIDv7 (RFC 9562). Ids of one process never decrease, even when the wall clock steps back.
"""

import hashlib
import os
import random
import threading
import time
from datetime import UTC, datetime, timedelta

_COUNTER_BITS = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Sequence:
    """Strictly increasing numbers: milliseconds since 1970 in the high bits, a counter in the low 12."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        now = (time.time_ns() // 1_000_000) << _COUNTER_BITS
        with self._lock:
            self._last = now if now > self._last else self._last + 1
            return self._last


_SEQUENCE = _Sequence()

# Ids tell processes apart and need not be hard to guess: a generator that is seeded once costs a fifth of asking the
# system each time, and does not make the threads of the hot path change places.
_CHANCE = random.Random(os.urandom(32))  # noqa: S311 - no secrets are made of it


def new_hex_id() -> str:
    """24 hexadecimal digits: 60 bits of time and counter, 36 random ones."""
    return f"{_SEQUENCE.next() << 36 | _CHANCE.getrandbits(36):024x}"


def first_hex_id(at: datetime) -> str:
    """The smallest id that `new_hex_id` could have made at this time: a lower bound for paging by time."""
    return f"{_millis(at) << _COUNTER_BITS:015x}{0:09x}"


def new_uuid7(prefix: str) -> str:
    """`prefix-` and a UUIDv7 whose 12 bits after the version are the counter."""
    number = _SEQUENCE.next()
    millis, counter = number >> _COUNTER_BITS, number & 0xFFF
    tail = _CHANCE.getrandbits(62) | 0x8000_0000_0000_0000
    text = f"{millis:012x}7{counter:03x}{tail:016x}"
    return f"{prefix}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def first_uuid7(prefix: str, at: datetime) -> str:
    """The smallest id that `new_uuid7` could have made at this time."""
    millis = f"{_millis(at):012x}"
    return f"{prefix}-{millis[:8]}-{millis[8:]}"


def time_of_hex_id(hex_id: str) -> datetime:
    """When an id of `new_hex_id` was made."""
    return _EPOCH + timedelta(milliseconds=int(hex_id[:12], 16))


def time_of_uuid7(uuid7: str) -> datetime:
    """When an id of `new_uuid7` was made."""
    head, tail = uuid7.split("-")[1:3]
    return _EPOCH + timedelta(milliseconds=int(head + tail, 16))


def _millis(at: datetime) -> int:
    """Whole milliseconds since 1970, at least 0; exact, where `timestamp()` rounds."""
    return max(0, (at - _EPOCH) // timedelta(milliseconds=1))


def new_request_id() -> str:
    """A version 4 UUID; `uuid.uuid4` takes ten times as long, and the hot path makes one for every request."""
    text = _CHANCE.randbytes(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def derived_hex_id(kind: str, name: str) -> str:
    """An id that is computed from a name once and for all, for catalogue entries without a documented id."""
    return hashlib.sha256(f"tocsin:{kind}:{name}".encode()).hexdigest()[:24]
