"""What a receiver asks for in its answer, beside taking the message or not. Pure.

Stop before: `sending`, which has the answer. Stops after: `retry` and `health`.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from tocsin.model import Asked, Response

MAX_WAIT_SECONDS = 24 * 3600
CONTROL = "webhook-delivery"
"""The header by which a receiver of webhooks steers what it gets (https://docs.svix.com/receiving/delivery-control)."""

ABORT_MESSAGE = "abort-message"
DISABLE = "disable"


class _Parameters(msgspec.Struct):
    retry_after: float | None = None


class _Body(msgspec.Struct):
    """Where chats say in JSON how long to wait: Discord at the top, Telegram under `parameters`."""

    retry_after: float | None = None
    parameters: _Parameters | None = None


_BODY = msgspec.json.Decoder(_Body)


def read_asked(response: Response, *, now: datetime) -> Asked | None:
    """What the receiver asks for; None when it asks for nothing."""
    wait_seconds = None if 200 <= response.status < 300 else _wait_seconds(response, now)
    disable = control_of(response) == DISABLE
    if wait_seconds is None and not disable:
        return None
    return Asked(wait_seconds=wait_seconds, disable=disable)


def control_of(response: Response) -> str | None:
    """The word of the control header, if there is one."""
    word = response.header(CONTROL)
    return None if word is None else word.strip().lower()


def _wait_seconds(response: Response, now: datetime) -> float | None:
    """How long to wait, a day at most; None when it does not say, or makes no sense."""
    for found in (
        parse_retry_after(response.header("retry-after"), answered_at=response.header("date"), now=now),
        _thousandths(response.header("retry-after-ms")),
        _number(response.header("x-ratelimit-reset-after")),
        _of_body(response.body),
    ):
        if found is not None:
            return min(found, MAX_WAIT_SECONDS)
    return None


def parse_retry_after(text: str | None, *, answered_at: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3); None for anything else.

    A date is compared with the answer's own Date header where there is one, so that a wrong clock does not matter.
    """
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until, since = _http_date(text), _http_date(answered_at) or now
    return None if until is None else _sane((until - since).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else _sane(float(text))
    except ValueError:
        return None


def _thousandths(text: str | None) -> float | None:
    found = _number(text)
    return None if found is None else found / 1000


def _sane(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 <= seconds < float("inf") else None


def _http_date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _of_body(body: bytes) -> float | None:
    if b"retry_after" not in body:
        return None
    try:
        said = _BODY.decode(body)
    except (msgspec.DecodeError, ValueError):
        return None
    return _sane(said.retry_after if said.parameters is None else said.parameters.retry_after)
