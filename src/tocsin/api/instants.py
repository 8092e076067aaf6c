"""Dates in bodies: read strictly and written as `tocsin.dates` says, in every model the same."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from tocsin.dates import format_instant, parse_instant
from tocsin.errors import InvalidInput

_DESCRIBED = WithJsonSchema({"type": "string", "format": "date-time"})


def _read(given: Any) -> datetime:
    if not isinstance(given, str):
        raise ValueError("is not an RFC 3339 date such as 2026-01-02T03:04:05Z")  # noqa: TRY004 - pydantic and our errors speak of values
    return parse_instant(given)


def read_instant(text: str | None, field: str) -> datetime | None:
    """The date that a field holds; none when it is absent, empty or Go's zero time. Raises InvalidInput."""
    if not text:
        return None
    try:
        at = parse_instant(text)
    except ValueError as error:
        raise InvalidInput({field: [str(error)]}) from error
    return None if at.year == 1 else at


InstantIn = Annotated[datetime, BeforeValidator(_read), _DESCRIBED]
InstantOut = Annotated[datetime, PlainSerializer(format_instant), _DESCRIBED]
