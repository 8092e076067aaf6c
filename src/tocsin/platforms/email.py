"""E-mail: each recipient gets a mail of their own, as text and HTML, with their own link to unsubscribe."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from typing import ClassVar
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tocsin.errors import PermanentFailure, PlatformError, TemporaryFailure
from tocsin.model import Message, Reason, Response, Severity
from tocsin.platforms.base import MailNetwork, MailPlatform, Outgoing, Setting, SettingKind
from tocsin.platforms.settings import mail_address
from tocsin.platforms.text import colour_of, one_line, plain, sign_of, web_link

_SUBJECT_LIMIT = 150
_TITLE_LIMIT = 300
_TEXT_LIMIT = 20_000  # Gmail hides what follows the first 102 KB
_LABEL_LIMIT = 100
_VALUE_LIMIT = 2000
_MAX_FIELDS = 40
_LOG_LINES = 4  # a text of more lines is shown as a log is

_SEVERITY_WORDS = {
    Severity.INFO: "Info",
    Severity.SUCCESS: "Success",
    Severity.WARNING: "Warning",
    Severity.ERROR: "Error",
}


# A line end that is followed by something that is no continuation, and every other control character.
_SECOND_HEADER = re.compile(r"\r\n(?=[^ \t])|\r(?!\n)|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class _MailPolicy(EmailPolicy):
    """SMTP's policy, but ids and links stay on one line: folding would turn long ones into encoded words."""

    _whole = frozenset({"message-id", "in-reply-to", "references", "list-unsubscribe", "list-unsubscribe-post"})

    def fold(self, name: str, value: str) -> str:
        lines = f"{name}: {value}{self.linesep}" if name.lower() in self._whole else super().fold(name, value)
        if _SECOND_HEADER.search(lines):
            raise PermanentFailure(Reason.REJECTED, f"the header {name} would end in the middle")
        return lines

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode("ascii", "surrogateescape")


_POLICY = _MailPolicy(linesep=SMTP.linesep)


class EmailPlatform(MailPlatform):
    id: ClassVar[str] = "59c52ac27651ce002c1d4620"
    name: ClassVar[str] = "email"
    display_name: ClassVar[str] = "E-mail"
    description: ClassVar[str] = "Send events by e-mail to members of the app and to other addresses."
    logo: ClassVar[str] = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" fill="none" stroke="#0891b2" stroke-width="4"'
        ' stroke-linecap="round" stroke-linejoin="round">'
        '<rect x="7" y="11" width="34" height="26" rx="4"/><path d="m9 15 15 12 15-12"/></svg>'
    )
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            name="emails",
            kind=SettingKind.EMAILS,
            label="Addresses",
            help="E-mail addresses, each of which gets a mail of its own.",
        ),
        Setting(
            name="user_ids",
            kind=SettingKind.MEMBERS,
            label="Members",
            help="Members of the app, reached at the address of their account.",
        ),
    )
    any_of: ClassVar[tuple[str, ...]] = ("emails", "user_ids")
    requires: ClassVar[str | None] = "TOCSIN_SMTP_URL"

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("tocsin.platforms"),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def send(self, outgoing: Outgoing, network: MailNetwork) -> Response:
        recipients = recipients_of(outgoing)
        if not recipients:
            raise PermanentFailure(Reason.MISCONFIGURED, "nobody is left to write to")
        async with asyncio.TaskGroup() as group:
            mails = []
            for recipient in recipients:
                mails.append(group.create_task(self._send_one(outgoing, recipient, network)))
                await asyncio.sleep(0)  # a mail takes a millisecond to compose: others may run between two
        return summarise(recipients, [mail.result() for mail in mails])

    async def _send_one(self, outgoing: Outgoing, recipient: str, network: MailNetwork) -> Response | PlatformError:
        try:
            return await network.send_mail(self.compose(outgoing, recipient), recipient=recipient)
        except PlatformError as error:
            return error

    def compose(self, outgoing: Outgoing, recipient: str) -> EmailMessage:
        """The mail for one recipient: pure, the same at each attempt but for its date; without From."""
        unsubscribe_url = outgoing.unsubscribe_url(recipient)
        domain = _id_domain(unsubscribe_url)
        thread = f"<app.{_digest(outgoing.app_id, outgoing.notifier_id)}@{domain}>"
        mail = EmailMessage(policy=_POLICY)
        mail["To"] = Address(addr_spec=recipient)
        mail["Subject"] = subject_of(outgoing.message)
        mail["Date"] = outgoing.sent_at
        # The same at each attempt, so that a mail that was taken and not confirmed is recognised when it comes again.
        mail["Message-ID"] = f"<delivery.{_digest(outgoing.delivery_id, recipient.lower())}@{domain}>"
        mail["In-Reply-To"] = thread
        mail["References"] = thread
        mail["Auto-Submitted"] = "auto-generated"
        mail["List-Unsubscribe"] = f"<{unsubscribe_url}>"
        if unsubscribe_url.startswith("https:"):  # RFC 8058 section 3.1 knows one click over https alone
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        content = _content(outgoing.message, outgoing.notifier_name, unsubscribe_url)
        text = self._templates.get_template("email.txt").render(content)
        html = self._templates.get_template("email.html").render(content)
        mail.set_content(text, cte="quoted-printable")
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
        mail.set_boundary(f"=_{_digest(outgoing.delivery_id, 'boundary')}")
        return mail


def recipients_of(outgoing: Outgoing) -> list[str]:
    """Whom to write to, each once; addresses that no server would take are left out."""
    entries = outgoing.type_data.get("emails") or []
    wanted = [entry for entry in entries if isinstance(entry, str)] + [user.email for user in outgoing.members]
    by_address: dict[str, str] = {}
    for entry in wanted:
        try:
            address = mail_address(entry)
        except ValueError:
            continue
        by_address.setdefault(address.lower(), address)
    return list(by_address.values())


def summarise(recipients: Sequence[str], answers: Sequence[Response | PlatformError]) -> Response:
    """One answer for all: raises when anyone should be tried again, or when nobody was reached."""
    refusals = [answer for answer in answers if isinstance(answer, PlatformError)]
    if len(answers) == 1 and refusals:
        raise refusals[0]
    if len(answers) == 1 and isinstance(answers[0], Response):
        return answers[0]
    lines = [f"{to}: {_words(answer)}" for to, answer in zip(recipients, answers, strict=True)]
    response = Response(status=250, body="\n".join(lines).encode())
    message = f"{len(refusals)} of {len(answers)} recipients were not reached; {refusals[0]}" if refusals else ""
    for refusal in refusals:
        if isinstance(refusal, TemporaryFailure):
            raise TemporaryFailure(refusal.reason, message, response=response) from refusal
    if len(refusals) == len(answers):
        raise PermanentFailure(refusals[0].reason, message, response=response) from refusals[0]
    return response


def _words(answer: Response | PlatformError) -> str:
    if isinstance(answer, Response):
        return f"{answer.status} {one_line(answer.body.decode('utf-8', 'replace'), _TITLE_LIMIT)}"
    return f"not reached, {one_line(str(answer), _TITLE_LIMIT)}"


def subject_of(message: Message) -> str:
    """The title, with the app in front unless the title names it. What looks like an encoded word stays as it is.

    Python's mail package decodes those of a header that is set, line ends and all (RFC 2047).
    """
    title = one_line(message.title, _SUBJECT_LIMIT) or message.event_type
    app_name = one_line(message.app_name or "", _LABEL_LIMIT)
    named = title if not app_name or app_name in title else f"[{app_name}] {title}"
    return one_line(named.replace("=?", "=\u200b?"), _SUBJECT_LIMIT)


def _content(message: Message, notifier_name: str, unsubscribe_url: str) -> dict[str, object]:
    text = plain(message.text, _TEXT_LIMIT)
    return {
        "title": one_line(message.title, _TITLE_LIMIT) or message.event_type,
        "text": text,
        "is_log": text.count("\n") >= _LOG_LINES,
        "fields": [
            (one_line(field.label, _LABEL_LIMIT), plain(field.value, _VALUE_LIMIT) or "-")
            for field in message.fields[:_MAX_FIELDS]
        ],
        "link": web_link(message.link),
        "app_name": one_line(message.app_name or "", _LABEL_LIMIT),
        "event_type": one_line(message.event_type, _LABEL_LIMIT),
        "at": f"{message.created_at.astimezone(UTC):%d %B %Y, %H:%M:%S} UTC",
        "colour": colour_of(message.severity),
        "sign": sign_of(message.severity),
        "severity": _SEVERITY_WORDS[message.severity],
        "notifier_name": one_line(notifier_name, _LABEL_LIMIT),
        "unsubscribe_url": web_link(unsubscribe_url),
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _id_domain(url: str) -> str:
    """The right side of our message ids: this server's public name, when it has one."""
    host = urlsplit(url).hostname or ""
    has_name = host.isascii() and any(character.isalpha() for character in host) and ":" not in host
    return host if has_name else "tocsin.localhost"
