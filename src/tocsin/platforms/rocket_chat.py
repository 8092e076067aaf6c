"""Rocket.Chat: one attachment in the colour of the severity, through an incoming webhook.

`Message_MaxAllowedSize` limits a message to 5,000 UTF-16 units unless the administrator changes it; everything is
kept within it together.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from tocsin.dates import format_instant
from tocsin.errors import PermanentFailure
from tocsin.model import Field, Message, Reason, Request, Response
from tocsin.platforms.base import (
    Card,
    HttpPlatform,
    Outgoing,
    Setting,
    SettingKind,
    check_status,
    post_json,
    url_setting,
)
from tocsin.platforms.text import ELLIPSIS, clip, colour_of, one_line, plain, quiet, sign_of, web_link, width

_TITLE_LIMIT = 200
_TEXT_LIMIT = 2500
_LABEL_LIMIT = 60
_VALUE_LIMIT = 400
_SHORT_VALUE = 40
_MAX_FIELDS = 15
_SIZE_LIMIT = 4500  # of 5,000: the rest is for what we add around values

# What Rocket.Chat's message parser would read as emphasis, code, a link, an emoji, an image or a formula.
_MARKUP = re.compile(r"[*~`|$\\\[\]<]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:\w+:|^\s*(?:#|>|-|\d+\.)\s", re.MULTILINE)


class RocketChatPlatform(HttpPlatform):
    id: ClassVar[str] = "d76aa9f9e9e20773bb02363a"
    name: ClassVar[str] = "rocket_chat"
    display_name: ClassVar[str] = "Rocket.Chat"
    description: ClassVar[str] = "Post events to Rocket.Chat through an incoming webhook."
    logo: ClassVar[str] = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" fill="none" stroke="#dc2626" stroke-width="4"'
        ' stroke-linecap="round" stroke-linejoin="round">'
        '<path d="M8 10h32v22H22l-9 8v-8H8z"/><path d="M16 21h.1M24 21h.1M32 21h.1"/></svg>'
    )
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            name="webhook_url",
            kind=SettingKind.URL,
            label="Webhook URL",
            help="The address that Rocket.Chat shows for an incoming webhook.",
            secret=True,
            required=True,
        ),
    )

    def request(self, outgoing: Outgoing) -> Request:
        return post_json(url_setting(outgoing), payload(outgoing.message))

    def check(self, response: Response) -> None:
        error = _refusal(response)
        message = f"answered {response.status}{f' {error}' if error else ''}"
        if response.status == 400 or (error is not None and 200 <= response.status < 300):
            raise PermanentFailure(Reason.REJECTED, message, response=response)
        if response.status == 404 and error is not None:
            raise PermanentFailure(Reason.GONE, message, response=response)
        check_status(response)

    def look(self, request: Request) -> Card | None:
        return card(msgspec.json.decode(request.body))


class _Answer(msgspec.Struct):
    success: bool = True
    error: str = ""


def _refusal(response: Response) -> str | None:
    """What Rocket.Chat says is wrong; None when it says nothing of the kind."""
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except msgspec.DecodeError:
        return None
    return None if answer.success else one_line(answer.error, _TITLE_LIMIT)


def payload(message: Message) -> dict[str, Any]:
    """The JSON that Rocket.Chat takes: a line of text and one attachment."""
    title = one_line(message.title, _TITLE_LIMIT) or message.event_type
    name = one_line(message.app_name or "", _TITLE_LIMIT) or message.event_type
    attachment: dict[str, Any] = {
        "title": quiet(name),
        "color": colour_of(message.severity),
        "ts": format_instant(message.created_at),
    }
    link = web_link(message.link)
    if link:
        attachment["title_link"] = link
    text = plain(message.text, _TEXT_LIMIT)
    if text:
        attachment["text"] = literal_block(text)
    attachment["fields"] = _fields(message, _SIZE_LIMIT - width(title) - width(text) - width(name) - len(link or ""))
    return {"text": f"{sign_of(message.severity)} {literal(title)}", "attachments": [attachment]}


def _fields(message: Message, room: int) -> list[dict[str, Any]]:
    pairs = [(field.label, field.value) for field in message.fields[:_MAX_FIELDS]]
    fields: list[dict[str, Any]] = []
    for label, value in [*pairs, ("Event", message.event_type)]:
        title, line = one_line(label, _LABEL_LIMIT) or ELLIPSIS, one_line(value, _VALUE_LIMIT) or "-"
        room -= width(title) + width(line) + 4  # the signs that make it literal
        if room >= 0:
            fields.append({"short": len(line) <= _SHORT_VALUE, "title": quiet(title), "value": literal(line)})
    return fields


def literal(line: str) -> str:
    """One line as it stands: as code when the message parser would read markup in it."""
    if _MARKUP.search(line):
        return f"`{quiet(line.replace('`', chr(39)))}`"
    return quiet(line)


def literal_block(text: str) -> str:
    """Several lines as they stand: as a code block when the message parser would read markup in them."""
    if _MARKUP.search(text):
        return f"```\n{clip(quiet(text.replace('`', chr(39))), _TEXT_LIMIT + 100)}\n```"
    return quiet(text)


def card(payload: Mapping[str, Any]) -> Card:
    """What Rocket.Chat shows of our payload; there the time stands in the reader's zone."""
    attachment = payload["attachments"][0]
    date, _, time = attachment["ts"].partition("T")
    return Card(
        title=_seen(payload["text"]),
        colour=attachment["color"],
        text=_seen(attachment.get("text", "")),
        rows=tuple(Field(field["title"], _seen(field["value"])) for field in attachment["fields"]),
        context=(attachment["title"], f"{date} {time[:5]} UTC"),
        link=attachment.get("title_link"),
    )


def _seen(text: str) -> str:
    """A text as it is read: without what makes it code."""
    return text.replace("```\n", "").replace("\n```", "").replace("`", "")
