"""What would be sent: the very request or mails of a platform, with everything masked that lets somebody use them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from email.message import EmailMessage

import msgspec

from tocsin.errors import PlatformError
from tocsin.model import Notifier, Request, Response, User
from tocsin.platforms.base import Card, HttpPlatform, MailPlatform, Outgoing, Platform
from tocsin.platforms.settings import MASK, mask_url
from tocsin.sending import MembersOf, UnsubscribeUrl, named_members, outgoing_of
from tocsin.store.port import NewEvent

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


class ShownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request with the secrets in its URL and headers masked."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str


class ShownMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as it goes to each of these recipients; the link to unsubscribe is masked."""

    recipients: tuple[str, ...]
    subject: str
    text: str


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform makes of an event: a request, or mails, or the sentence that says why it cannot.

    `card` is how people will see the request, on platforms that show messages.
    """

    request: ShownRequest | None = None
    card: Card | None = None
    mails: tuple[ShownMail, ...] | None = None
    problem: str | None = None


class Previews:
    def __init__(
        self, *, platforms: Mapping[str, Platform], members_of: MembersOf, unsubscribe_url: UnsubscribeUrl
    ) -> None:
        self._platforms = platforms
        self._members_of = members_of
        self._unsubscribe_url = unsubscribe_url

    async def show(
        self, notifier: Notifier, event: NewEvent, *, delivery_id: str, attempt: int, at: datetime
    ) -> Preview:
        """What that attempt would send, were it made at this time. Never raises for what a platform does."""
        outgoing = outgoing_of(
            notifier,
            event_id=event.id,
            body=event.body,
            delivery_id=delivery_id,
            attempt=attempt,
            sent_at=at,
            unsubscribe_url=self._masked_link(notifier.id),
        )
        platform = self._platforms[notifier.platform]
        members: tuple[User, ...] = ()
        if isinstance(platform, MailPlatform):
            members = tuple(await self._members_of(notifier.app_id, named_members(platform, notifier.type_data)))
        try:
            return await _make(platform, msgspec.structs.replace(outgoing, members=members))
        except PlatformError as error:
            return Preview(problem=f"{error.reason.value}: {error.message}")
        except Exception as error:  # noqa: BLE001 - what would cost an attempt is told here
            return Preview(problem=f"Tocsin fails to make this: {type(error).__name__}")

    def _masked_link(self, notifier_id: str) -> Callable[[str], str]:
        # Mails escape what is not ASCII in a link.
        return lambda address: mask_url(self._unsubscribe_url(notifier_id, address)).replace(MASK, "...")


async def _make(platform: Platform, outgoing: Outgoing) -> Preview:
    if isinstance(platform, HttpPlatform):
        request = platform.request(outgoing)
        return Preview(request=_shown(request), card=platform.look(request))
    kept = _Kept()
    if isinstance(platform, MailPlatform):
        await platform.send(outgoing, kept)
    return Preview(mails=kept.shown())


class _Kept:
    """Takes mails as the operator's server does, and shows them instead of passing them on."""

    def __init__(self) -> None:
        self._recipients: dict[tuple[str, str], list[str]] = {}

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        text = message.get_body(("plain",))
        content = "" if text is None else str(text.get_content())
        self._recipients.setdefault((str(message["Subject"]), content), []).append(recipient)
        return Response(status=250)

    def shown(self) -> tuple[ShownMail, ...]:
        """The mails, those with the same words as one."""
        return tuple(
            ShownMail(recipients=tuple(recipients), subject=subject, text=text)
            for (subject, text), recipients in self._recipients.items()
        )


def _shown(request: Request) -> ShownRequest:
    return ShownRequest(
        method=request.method,
        url=mask_url(request.url),
        headers={name: _masked(name, value) for name, value in request.headers},
        body=request.body.decode("utf-8", "replace"),
    )


def _masked(name: str, value: str) -> str:
    """A header's value; of signatures, their schemes alone."""
    if "signature" in name:
        each = (signature.partition(",") for signature in value.split(" "))
        return " ".join(f"{scheme},{MASK}" if comma else MASK for scheme, comma, _ in each)
    return MASK if name in _SECRET_HEADERS else value
