"""What Slack and Rocket.Chat accept, checked as strictly as they document it; a violation is an AssertionError."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tocsin.model import Request

# https://docs.slack.dev/reference/block-kit/blocks and .../composition-objects/text-object
SLACK_TEXT = 40_000
SLACK_BLOCKS = 50
SLACK_HEADER = 150
SLACK_TEXT_OBJECT = 3_000
SLACK_FIELDS = 10
SLACK_FIELD = 2_000
SLACK_CONTEXT_ELEMENTS = 10
MATTERMOST_TEXT = 16_383
# Message_MaxAllowedSize as Rocket.Chat is delivered
ROCKET_CHAT_MESSAGE = 5_000

_ENTITY_OR_OURS = re.compile(r"&(?:amp|lt|gt);|<https?://[^<>|\s]+\|Details>|<!date\^\d+\^[^<>|]+\|[^<>|]+>")
_MENTION = re.compile(r"(?<![A-Za-z0-9])@[A-Za-z0-9]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def check_request(platform_name: str, request: Request) -> None:
    """Check a request against the limits of the platform, when it documents any."""
    checks: Mapping[str, Callable[[Any], None]] = {"slack": check_slack, "rocket_chat": check_rocket_chat}
    check = checks.get(platform_name)
    if check is not None:
        check(msgspec.json.decode(request.body))


def check_slack(payload: dict[str, Any]) -> None:
    assert payload.keys() <= {"text", "blocks", "link_names", "unfurl_links", "unfurl_media"}
    assert payload["link_names"] is False
    assert payload["unfurl_links"] is False
    assert payload["unfurl_media"] is False
    assert 1 <= units(payload["text"]) <= min(SLACK_TEXT, MATTERMOST_TEXT)
    check_markup(payload["text"])
    assert not _MENTION.search(payload["text"]), "mentions someone on Mattermost"
    assert "](" not in payload["text"], "is a link in Markdown"
    assert 1 <= len(payload["blocks"]) <= SLACK_BLOCKS
    for block in payload["blocks"]:
        _check_block(block)


def _check_block(block: dict[str, Any]) -> None:
    match block["type"]:
        case "header":
            assert block.keys() == {"type", "text"}
            assert block["text"]["type"] == "plain_text"
            _check_text_object(block["text"], SLACK_HEADER)
        case "section":
            assert block.keys() in ({"type", "text"}, {"type", "fields"})
            if "text" in block:
                _check_text_object(block["text"], SLACK_TEXT_OBJECT)
            fields = block.get("fields", [{"type": "plain_text", "text": "x"}])
            assert 1 <= len(fields) <= SLACK_FIELDS
            for field in fields:
                _check_text_object(field, SLACK_FIELD)
        case "context":
            assert block.keys() == {"type", "elements"}
            assert 1 <= len(block["elements"]) <= SLACK_CONTEXT_ELEMENTS
            for element in block["elements"]:
                _check_text_object(element, SLACK_TEXT_OBJECT)
        case unknown:
            raise AssertionError(f"a block of type {unknown}")


def _check_text_object(text: dict[str, Any], limit: int) -> None:
    assert 1 <= units(text["text"]) <= limit
    assert text["text"].strip(), "is blank"
    assert not _CONTROL.search(text["text"])
    if text["type"] == "mrkdwn":
        assert text.keys() <= {"type", "text", "verbatim"}
        check_markup(text["text"])
    else:
        assert text["type"] == "plain_text"
        assert text.keys() <= {"type", "text", "emoji"}


def check_markup(text: str) -> None:
    """Nothing is left that Slack would read as a mention or a link, but for what we put in."""
    rest = _ENTITY_OR_OURS.sub("", text)
    assert not re.search("[<>&]", rest), f"unescaped in {rest!r}"
    assert not _CONTROL.search(text)


def check_rocket_chat(payload: dict[str, Any]) -> None:
    assert payload.keys() == {"text", "attachments"}
    assert payload["text"].strip()
    assert len(payload["attachments"]) == 1
    attachment = payload["attachments"][0]
    assert attachment.keys() <= {"title", "title_link", "text", "color", "fields", "ts"}
    assert re.fullmatch("#[0-9a-f]{6}", attachment["color"])
    assert attachment["title"].strip()
    assert attachment.get("title_link", "https://").startswith(("http://", "https://"))
    parsed = [payload["text"], attachment.get("text", "")]  # titles are shown as they are
    titles = [attachment["title"]]
    for field in attachment["fields"]:
        assert field.keys() == {"title", "value", "short"}
        assert field["title"].strip()
        assert field["value"].strip()
        titles.append(field["title"])
        parsed.append(field["value"])
    assert sum(map(units, titles + parsed)) <= ROCKET_CHAT_MESSAGE
    for text in titles + parsed:
        assert not _MENTION.search(text), f"mentions someone: {text!r}"
        assert not _CONTROL.search(text)
    for text in parsed:
        outside_code = re.sub(r"```\n[^`]*\n```|`[^`]+`", "", text)
        assert not re.search(r"[*`~]|\]\(", outside_code), f"markup in {text!r}"


def units(text: str) -> int:
    """Length as JavaScript counts it."""
    assert not _LONE_SURROGATE.search(text)
    return len(text.encode("utf-16-le")) // 2
