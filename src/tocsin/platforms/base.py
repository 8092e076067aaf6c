"""The platform contract: what one file in this folder declares so that everything else follows.

A platform turns a message and a notifier's settings into a request, and reads the answer. It knows no store, no
clock and no socket: what it needs is in `Outgoing`, and what it gives is sent through egress.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from email.message import EmailMessage
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import msgspec

from tocsin import __version__
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Field, Message, Reason, Request, Response, User

USER_AGENT = f"Tocsin/{__version__}"

_HOST = re.compile(r"[a-z0-9._:-]{1,253}", re.ASCII)


class SettingKind(StrEnum):
    """What a setting holds; validation, masking and forms follow from it."""

    URL = "url"
    EMAILS = "emails"
    MEMBERS = "members"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a notifier's `type_data`. A secret one is masked wherever its owner does not need it whole."""

    name: str
    kind: SettingKind
    label: str
    help: str
    secret: bool = False
    required: bool = False


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One attempt as a platform sees it.

    `body` is the event object's JSON, the same bytes at each attempt, and `render` makes its message; `members` are
    the users that a setting of kind `members` names; `unsubscribe_url` gives the signed one-click link of one
    recipient. `previous_secret` is there as long as this is to be signed with both.
    """

    delivery_id: str
    attempt: int
    event_id: str
    app_id: str
    body: bytes
    render: Callable[[bytes], Message]
    notifier_id: str
    notifier_name: str
    type_data: Mapping[str, Any]
    secret: str
    previous_secret: str | None = None
    members: tuple[User, ...] = ()
    sent_at: datetime
    unsubscribe_url: Callable[[str], str]

    @cached_property
    def message(self) -> Message:
        """The event in words, made when it is first asked for: a platform that passes the event on never does."""
        return self.render(self.body)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """How a message looks where it arrives, read back from what is sent: plain text, cut as it is cut there.

    `colour` is that of a bar beside it (`#rrggbb`), `link` a web address, and `context` what stands below in small.
    """

    title: str
    colour: str | None = None
    text: str = ""
    rows: tuple[Field, ...] = ()
    context: tuple[str, ...] = ()
    link: str | None = None


class MailNetwork(Protocol):
    """The part of egress that mail goes through."""

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        """Hand one mail to the operator's SMTP server; the response has the server's reply code and text.

        Raises TemporaryFailure or PermanentFailure by the reply (RFC 5321 4.2.1: 4yz try again, 5yz never).
        """
        ...


class Platform(ABC):
    """A kind of destination: an `HttpPlatform` or a `MailPlatform`.

    `id` never changes once released. `any_of` names settings of which at least one must be given; `requires` names
    the operator's setting without which deliveries wait; `logo` is an SVG document. `rate_per_second` bounds the
    attempts of each notifier that has no rate of its own.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    display_name: ClassVar[str]
    description: ClassVar[str]
    logo: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    any_of: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[str | None] = None
    signs: ClassVar[bool] = False
    expires_after: ClassVar[timedelta] = timedelta(hours=24)
    rate_per_second: ClassVar[float | None] = None


class HttpPlatform(Platform):
    """A platform that takes one HTTP request a message: what is sent is known at once, and one answer decides."""

    @abstractmethod
    def request(self, outgoing: Outgoing) -> Request:
        """Build the request: pure, the same for the same `outgoing`."""

    def check(self, response: Response) -> None:
        """Raise TemporaryFailure or PermanentFailure unless the answer means that the message was taken."""
        if not 200 <= response.status < 300:
            check_status(response)

    def look(self, request: Request) -> Card | None:  # noqa: ARG002 - for those that show messages
        """How people will see what this request sends; None where programs read it."""
        return None


class MailPlatform(Platform):
    """A platform that takes as many mails a message as it likes; it alone can have settings of kind `members`."""

    @abstractmethod
    async def send(self, outgoing: Outgoing, network: MailNetwork) -> Response:
        """Make one attempt. Returns what the mail server answered when it took the message, and raises otherwise."""


def url_setting(outgoing: Outgoing, name: str = "webhook_url") -> str:
    """The URL that a notifier is set to. Raises PermanentFailure when it has none."""
    url = outgoing.type_data.get(name)
    if isinstance(url, str) and url:
        return url
    raise PermanentFailure(Reason.MISCONFIGURED, f"the notifier has no {name}")


def post_json(url: str, payload: Mapping[str, Any]) -> Request:
    """A request with this JSON; the same bytes for the same payload."""
    return Request(
        url=url,
        headers=(("content-type", "application/json"), ("user-agent", USER_AGENT)),
        body=msgspec.json.encode(payload),
    )


def check_status(response: Response) -> None:
    """Read an HTTP status as a generic receiver means it.

    2xx delivered; 410 gone for good; everything else is tried again, for a receiver that answers 401 or 404 today is
    often redeployed tomorrow (Standard Webhooks, "Failures").
    """
    status = response.status
    if 200 <= status < 300:
        return
    message = f"answered {status}"
    if status == 410:
        raise PermanentFailure(Reason.GONE, message, response=response)
    if 300 <= status < 400:
        # Of where it leads to the host alone is kept: the rest may be a secret, and the body tends to repeat it.
        host = _host_of(response.header("location") or "")
        message += f" to {host}" if host else ""
        told = msgspec.structs.replace(response, body=b"")
        raise TemporaryFailure(Reason.REDIRECTED, f"{message}; redirects are not followed", response=told)
    raise TemporaryFailure(reason_of_status(status), message, response=response)


def _host_of(location: str) -> str:
    """The host that a Location header names; empty for one that names none, or nothing that could be a host."""
    try:
        host = urlsplit(location).hostname or ""
    except ValueError:
        return ""
    return host if _HOST.fullmatch(host) else ""


def reason_of_status(status: int) -> Reason:
    """The word for an unsuccessful HTTP status that is no redirect."""
    if status == 429:
        return Reason.RATE_LIMITED
    if status in {401, 403, 407}:
        return Reason.AUTH
    if status == 413:
        return Reason.TOO_LARGE
    if status == 408:
        return Reason.TIMEOUT
    return Reason.SERVER_ERROR if status >= 500 else Reason.REJECTED
