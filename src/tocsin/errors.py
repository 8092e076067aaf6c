"""The whole exception tree; a docstring is the default message.

TocsinError
├── ConfigError            the operator must fix it; names the setting
├── RequestError           the client must fix it
│   ├── InvalidInput       a field is wrong: names fields and reasons
│   ├── Malformed          the body cannot be read at all
│   ├── NotAuthenticated   no token, or one that is not valid
│   ├── NotAllowed         known, but may not do this
│   ├── NotFound           names the kind of resource
│   ├── Conflict           clashes with what is there
│   ├── TooLarge           over a size limit
│   └── TooMany            over a limit on how often; says when to come again
├── StoreError             the database is unavailable; trying again is sensible
│   └── NoRoom             its disk is full, or so nearly that the rest is kept for delivering
├── Overloaded             the server is short of memory, or is to be kept from it; trying again is sensible
└── PlatformError          sending failed; carries a Reason
    ├── TemporaryFailure   try again
    └── PermanentFailure   do not try again
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tocsin.model import Reason, Response


class TocsinError(Exception):
    """Something went wrong in Tocsin."""

    def __init__(self, message: str = "") -> None:
        self.message = message or type(self).__doc__ or ""
        super().__init__(self.message)


class ConfigError(TocsinError):
    """A setting is missing or wrong."""


class RequestError(TocsinError):
    """The request cannot be carried out as it stands."""


class InvalidInput(RequestError):
    """Some fields are not valid."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self.fields = {name: list(reasons) for name, reasons in fields.items()}
        super().__init__("; ".join(f"{name} {', '.join(reasons)}" for name, reasons in self.fields.items()))


class Malformed(RequestError):
    """The body is not valid JSON."""


class NotAuthenticated(RequestError):
    """A valid token is needed: send Authorization: Bearer TOKEN."""


class NotAllowed(RequestError):
    """You may not do this."""


class NotFound(RequestError):
    """There is no such resource."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        super().__init__(f"{resource} not found")


class Conflict(RequestError):
    """The request clashes with what is there."""


class TooLarge(RequestError):
    """The request is too large."""


class TooMany(RequestError):
    """Too many requests."""

    def __init__(self, message: str, wait_seconds: float) -> None:
        self.wait_seconds = math.ceil(wait_seconds)
        super().__init__(f"{message or type(self).__doc__}: try again in {self.wait_seconds} s")


class StoreError(TocsinError):
    """The database cannot answer now; try again in a moment."""


class NoRoom(StoreError):
    """The disk of the database is full, or nearly: nothing is accepted until there is room; try again later."""


class Overloaded(TocsinError):
    """The server is short of memory; try again in a moment."""


class PlatformError(TocsinError):
    """The platform did not take the message."""

    def __init__(self, reason: "Reason", message: str = "", *, response: "Response | None" = None) -> None:
        self.reason = reason
        self.response = response
        super().__init__(message)


class TemporaryFailure(PlatformError):
    """The platform did not take the message now; it is tried again."""


class PermanentFailure(PlatformError):
    """The platform will not take the message, however often it is tried."""
