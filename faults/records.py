"""What the harness writes down and reads back: who sent what, what arrived, what the database holds."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

NOT_OURS = -1
_NUMBER = re.compile(rb'"type_data":\{"number":(\d+)')


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One request as a receiver got it, written down before it was answered."""

    at_ns: int
    """On the monotonic clock, which all processes of a machine share."""

    port: int
    path: str
    message_id: str
    delivery_id: str
    attempt: int
    number: int
    """The producer's; NOT_OURS for what Tocsin itself tells."""

    body_sha: str
    is_signed: bool
    status: int
    """What it is about to be answered; 0 for no answer."""

    retry_after_seconds: float = 0


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was answered with 201."""

    number: int
    event_id: str
    key: str
    app: str
    body_sha: str
    """Of the event object, which a webhook carries byte for byte."""

    sent_ns: int
    """When it was posted for the first time."""

    accepted_ns: int
    tries: int = 1


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def number_in(body: bytes) -> int:
    """The producer's number in an event's body, or NOT_OURS."""
    found = _NUMBER.search(body)
    return int(found[1]) if found else NOT_OURS


def read_lines(path: Path, kind: type[T]) -> Iterator[T]:
    """The records of a file of JSON lines; a last line without its end was not finished."""
    decoder = msgspec.json.Decoder(kind)
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield decoder.decode(line)
