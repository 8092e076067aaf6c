"""Slack, and whatever takes Slack-shaped incoming webhooks, such as Mattermost.

Slack shows the blocks and uses `text` in notifications; Mattermost knows no blocks and shows `text`, which therefore
says everything once more. Limits: https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any, ClassVar

import msgspec

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
from tocsin.platforms.text import ELLIPSIS, one_line, plain, quiet, sign_of, web_link, width

_HEADER_LIMIT = 150
_TEXT_LIMIT = 3000
_FIELD_LIMIT = 2000
_LABEL_LIMIT = 80
_NAME_LIMIT = 100
_ROWS_PER_SECTION = 5  # two text objects a row, ten a section
_MAX_ROWS = 20
# Slack cuts `text` at 40,000 characters; Mattermost makes a second post after 16,383.
_FALLBACK_LIMIT = 12_000

# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, "Handling errors"
_ANSWERS = {
    "invalid_payload": Reason.REJECTED,
    "invalid_blocks": Reason.REJECTED,
    "invalid_blocks_format": Reason.REJECTED,
    "no_text": Reason.REJECTED,
    "too_many_attachments": Reason.REJECTED,
    "action_prohibited": Reason.AUTH,
    "posting_to_general_channel_denied": Reason.AUTH,
    "invalid_token": Reason.AUTH,
    "no_active_hooks": Reason.GONE,
    "no_service": Reason.GONE,
    "no_service_id": Reason.GONE,
    "no_team": Reason.GONE,
    "team_disabled": Reason.GONE,
    "user_not_found": Reason.GONE,
    "channel_not_found": Reason.GONE,
    "channel_is_archived": Reason.GONE,
}
_DATE = re.compile(r"<!date\^\d+\^[^|>]*\|([^>]*)>")
_LINK = re.compile(r"<(https?://[^|>]+)\|[^>]*>")
# Where Mattermost would read a Markdown link, which shows one address and opens another.
_MARKDOWN_LINK = re.compile(r"\](?=[(\[:])")


class SlackPlatform(HttpPlatform):
    id: ClassVar[str] = "5982f145d48c3600273ef089"
    name: ClassVar[str] = "slack"
    display_name: ClassVar[str] = "Slack"
    description: ClassVar[str] = "Post events to Slack or Mattermost through an incoming webhook."
    logo: ClassVar[str] = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" fill="none" stroke="#7c3aed" stroke-width="5"'
        ' stroke-linecap="round"><path d="M19 9 15 39M33 9l-4 30M10 18h29M9 30h29"/></svg>'
    )
    settings: ClassVar[tuple[Setting, ...]] = (
        Setting(
            name="webhook_url",
            kind=SettingKind.URL,
            label="Webhook URL",
            help="The address that Slack or Mattermost shows for an incoming webhook.",
            secret=True,
            required=True,
        ),
    )

    # One a second for an incoming webhook: https://docs.slack.dev/apis/web-api/rate-limits
    rate_per_second: ClassVar[float | None] = 1.0

    def request(self, outgoing: Outgoing) -> Request:
        return post_json(url_setting(outgoing), payload(outgoing.message))

    def check(self, response: Response) -> None:
        if 200 <= response.status < 300:
            return
        answer = response.body[:200].decode("utf-8", "replace").strip()
        message = f"answered {response.status}"
        if 400 <= response.status < 500 and answer in _ANSWERS:
            raise PermanentFailure(_ANSWERS[answer], f"{message} {answer}", response=response)
        if response.status == 400:
            raise PermanentFailure(Reason.REJECTED, message, response=response)
        check_status(response)

    def look(self, request: Request) -> Card | None:
        return card(msgspec.json.decode(request.body)["blocks"])


def payload(message: Message) -> dict[str, Any]:
    """The JSON that Slack takes: blocks, and the same in one text."""
    return {
        "text": _fallback(message),
        "blocks": _blocks(message),
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _blocks(message: Message) -> list[dict[str, Any]]:
    title = one_line(message.title, _HEADER_LIMIT) or message.event_type
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(f"{sign_of(message.severity)} {title}", _HEADER_LIMIT)}
    ]
    text = plain(message.text, _TEXT_LIMIT)
    if text:
        blocks.append({"type": "section", "text": _plain(text, _TEXT_LIMIT)})
    rows = message.fields[:_MAX_ROWS]
    for start in range(0, len(rows), _ROWS_PER_SECTION):
        cells = [cell for field in rows[start : start + _ROWS_PER_SECTION] for cell in _cells(field)]
        blocks.append({"type": "section", "fields": cells})
    blocks.append({"type": "context", "elements": _context(message)})
    return blocks


def _cells(field: Field) -> tuple[dict[str, Any], dict[str, Any]]:
    label = escape(one_line(field.label, _LABEL_LIMIT)) or ELLIPSIS
    # The value is no mrkdwn, so that asterisks and underscores in it stay what they are.
    return _markup(f"*{label}*"), _plain(plain(field.value, _FIELD_LIMIT) or "-", _FIELD_LIMIT)


def _context(message: Message) -> list[dict[str, Any]]:
    moment = f"<!date^{int(message.created_at.timestamp())}^{{date_short_pretty}} {{time}}|{_utc(message)}>"
    elements = [_plain(name, _NAME_LIMIT) for name in _names(message)]
    elements.append(_markup(moment))
    link = web_link(message.link)
    if link:
        elements.append(_markup(f"<{escape(link)}|Details>"))
    return elements


def _names(message: Message) -> list[str]:
    names = (one_line(name or "", _NAME_LIMIT) for name in (message.app_name, message.event_type))
    return [name for name in names if name]


def _utc(message: Message) -> str:
    return f"{message.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _fallback(message: Message) -> str:
    title = one_line(message.title, _HEADER_LIMIT) or message.event_type
    context = " · ".join([*_names(message), _utc(message)])
    link = web_link(message.link)
    head = f"{sign_of(message.severity)} {_safe(title)}"
    tail = [_safe(context), *([f"<{escape(link)}|Details>"] if link else [])]
    body = [_safe(plain(message.text, _TEXT_LIMIT)) if message.text else ""]
    body += [
        _safe(f"{one_line(field.label, _LABEL_LIMIT)}: {plain(field.value, _FIELD_LIMIT)}")
        for field in message.fields[:_MAX_ROWS]
    ]
    room = _FALLBACK_LIMIT - sum(width(part) + 1 for part in (head, *tail))
    lines = [head]
    for part in filter(None, body):
        room -= width(part) + 1
        if room < 2:
            lines.append(ELLIPSIS)
            break
        lines.append(part)
    return "\n".join([*lines, *tail])


def escape(text: str) -> str:
    """The three characters that mean something in mrkdwn, as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _safe(text: str) -> str:
    return _MARKDOWN_LINK.sub("]\u200b", quiet(escape(text)))


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": plain(text, limit), "emoji": False}


def _markup(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def card(blocks: Iterable[Mapping[str, Any]]) -> Card:
    """What Slack shows of our blocks; a date as those see it whose Slack cannot reckon with it."""
    title, text, link = "", "", None
    cells: list[str] = []
    context: list[str] = []
    for block in blocks:
        match block:
            case {"type": "header", "text": {"text": shown}}:
                title = shown
            case {"type": "section", "text": {"text": shown}}:
                text = shown
            case {"type": "section", "fields": fields}:
                cells += [_seen(cell) for cell in fields]
            case {"type": "context", "elements": elements}:
                link = next(
                    (_unescape(element["text"][1:].partition("|")[0]) for element in elements if _is_link(element)),
                    None,
                )
                context = [_seen(element) for element in elements if not _is_link(element)]
    rows = tuple(Field(label, value) for label, value in zip(cells[::2], cells[1::2], strict=True))
    return Card(title=title, text=text, rows=rows, context=tuple(context), link=link)


def _is_link(text_object: Mapping[str, Any]) -> bool:
    return text_object["type"] == "mrkdwn" and _LINK.fullmatch(text_object["text"]) is not None


def _seen(text_object: Mapping[str, Any]) -> str:
    """A text as it is read: of markup there is a label between asterisks, and a date."""
    text: str = text_object["text"]
    if text_object["type"] != "mrkdwn":
        return text
    bold = text.startswith("*") and text.endswith("*")
    return _unescape(_DATE.sub(r"\1", text[1:-1] if bold else text))


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
