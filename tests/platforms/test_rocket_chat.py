"""The Rocket.Chat platform: a line and one attachment."""

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort

from tests.platforms.cast import EXTREMES, NASTY, make_message, make_outgoing, messages_of_any_kind
from tests.platforms.receiver import PlainNetwork, receiving, send
from tocsin.errors import PermanentFailure, PlatformError, TemporaryFailure
from tocsin.model import Field, Message, Reason, Severity
from tocsin.platforms.base import Card
from tocsin.platforms.rocket_chat import RocketChatPlatform, literal, literal_block, payload
from tocsin.platforms.text import colour_of, one_line, plain, web_link

ROCKET_CHAT = RocketChatPlatform()


def look(message: Message) -> Card:
    card = ROCKET_CHAT.look(ROCKET_CHAT.request(make_outgoing({"webhook_url": "https://chat.test/"}, message)))
    assert card is not None
    return card


def bare(text: str) -> str:
    """A text without what keeps it from calling anybody, and with the quotes that code can hold."""
    return text.replace("@\u200b", "@").replace("`", "'")


def test_a_message_becomes_a_line_and_an_attachment() -> None:
    assert payload(make_message()) == {
        "text": "🔴 my-shop crashed",
        "attachments": [
            {
                "title": "my-shop",
                "title_link": "https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0",
                "color": "#dc2626",
                "ts": "2026-01-02T03:04:05.000Z",
                "text": "web-1 exited with status 137.",
                "fields": [
                    {"short": True, "title": "Container", "value": "web-1"},
                    {"short": True, "title": "Exit status", "value": "137"},
                    {"short": True, "title": "Event", "value": "app_crashed"},
                ],
            }
        ],
    }


def test_a_long_value_gets_a_line_of_its_own() -> None:
    [field, _] = payload(make_message(fields=(Field("Log", "x" * 41),)))["attachments"][0]["fields"]
    assert field["short"] is False


@pytest.mark.parametrize("line", ["MY_APP_NAME", "web:2, worker:1", "http://x.test/a_b", "1.2.3", "grace@example.com"])
def test_everyday_values_stay_as_they_are(line: str) -> None:
    assert literal(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("*/5 * * * *", "`*/5 * * * *`"),
        ("_x_", "`_x_`"),
        ("[bank](https://evil.test)", "`[bank](https://evil.test)`"),
        ("a `b` c", "`a 'b' c`"),
        ("# heading", "`# heading`"),
        ("@all", "@\u200ball"),
        ("*@here*", "`*@\u200bhere*`"),
    ],
)
def test_markup_is_shown_and_not_obeyed(line: str, shown: str) -> None:
    assert literal(line) == shown


def test_a_log_with_markup_is_shown_as_code() -> None:
    assert literal_block("a\n**b**\n```c") == "```\na\n**b**\n'''c\n```"


def test_nobody_is_called() -> None:
    sent = json.dumps(payload(make_message(title=NASTY, text=NASTY, fields=(Field(NASTY, NASTY),), app_name="@all")))
    assert "@here" not in sent
    assert "@all" not in sent


@pytest.mark.parametrize("severity", list(Severity))
def test_each_severity_has_its_colour(severity: Severity) -> None:
    colours = {payload(make_message(severity=each))["attachments"][0]["color"] for each in Severity}
    assert len(colours) == len(Severity)
    assert payload(make_message(severity=severity))["attachments"][0]["color"] in colours


async def test_a_success_is_a_delivery() -> None:
    async with receiving((200, b'{"success":true}')) as receiver:
        await send(ROCKET_CHAT, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())
    [(_, headers, body)] = receiver.received
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == payload(make_message())


@pytest.mark.parametrize(
    ("status", "body", "failure", "reason"),
    [
        (200, b'{"success":false,"error":"error-message-size-exceeded"}', PermanentFailure, Reason.REJECTED),
        (200, b'{"success":false}', PermanentFailure, Reason.REJECTED),
        (400, b'{"success":false,"error":"invalid-channel"}', PermanentFailure, Reason.REJECTED),
        (400, b"<html>", PermanentFailure, Reason.REJECTED),
        (404, b'{"success":false,"error":"Invalid integration id or token provided."}', PermanentFailure, Reason.GONE),
        (404, b"<html>no such site</html>", TemporaryFailure, Reason.REJECTED),
        (429, b'{"success":false}', TemporaryFailure, Reason.RATE_LIMITED),
        (503, b'{"success":false,"error":"\\u001b[31mno"}', TemporaryFailure, Reason.SERVER_ERROR),
    ],
)
async def test_answers_are_read_as_rocket_chat_means_them(
    status: int, body: bytes, failure: type[PlatformError], reason: Reason
) -> None:
    async with receiving((status, body)) as receiver:
        with pytest.raises(failure) as failed:
            await send(ROCKET_CHAT, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())
    assert failed.value.reason is reason
    assert "\x1b" not in str(failed.value)


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"success":"yes"}', b"\xff"])
async def test_an_odd_body_with_a_good_status_is_a_delivery(body: bytes) -> None:
    async with receiving((200, body)) as receiver:
        await send(ROCKET_CHAT, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())


def test_a_message_looks_as_its_attachment_says() -> None:
    assert look(make_message(text="*web-1* exited")) == Card(
        title="🔴 my-shop crashed",
        colour="#dc2626",
        text="*web-1* exited",
        rows=(Field("Container", "web-1"), Field("Exit status", "137"), Field("Event", "app_crashed")),
        context=("my-shop", "2026-01-02 03:04 UTC"),
        link="https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0",
    )


def check_look(message: Message) -> None:
    card = look(message)
    assert card.colour == colour_of(message.severity)
    assert bare(card.title).endswith(bare(one_line(message.title, 200) or message.event_type))
    assert bare(card.text) == bare(plain(message.text, 2500)) or card.text.endswith("…")
    told = (*message.fields[:15], Field("Event", message.event_type))
    rows = {(bare(one_line(each.label, 60) or "…"), bare(one_line(each.value, 400) or "-")) for each in told}
    assert {(bare(row.label), bare(row.value)) for row in card.rows} <= rows
    assert card.context[-1] == "2026-01-02 03:04 UTC"
    assert card.link == web_link(message.link)


@pytest.mark.parametrize("message", EXTREMES.values(), ids=EXTREMES)
def test_a_look_is_cut_as_the_attachment_is(message: Message) -> None:
    check_look(message)


@given(message=messages_of_any_kind())
@effort(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_message_looks_as_it_is_read(message: Message) -> None:
    check_look(message)
