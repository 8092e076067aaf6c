"""The Slack platform: blocks for Slack, a complete text for Mattermost."""

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort

from tests.platforms.cast import EXTREMES, NASTY, make_message, make_outgoing, messages_of_any_kind
from tests.platforms.receiver import PlainNetwork, receiving, send
from tocsin.errors import PermanentFailure, PlatformError, TemporaryFailure
from tocsin.model import Field, Message, Reason, Response, Severity
from tocsin.platforms.base import Card
from tocsin.platforms.slack import SlackPlatform, payload
from tocsin.platforms.text import one_line, plain, web_link

SLACK = SlackPlatform()


def look(message: Message) -> Card:
    card = SLACK.look(SLACK.request(make_outgoing({"webhook_url": "https://hooks.test/"}, message)))
    assert card is not None
    return card


def test_a_message_becomes_a_header_its_text_its_fields_and_where_it_comes_from() -> None:
    blocks = payload(make_message())["blocks"]
    assert [block["type"] for block in blocks] == ["header", "section", "section", "context"]
    assert blocks[0]["text"]["text"] == "🔴 my-shop crashed"
    assert blocks[1]["text"] == {"type": "plain_text", "text": "web-1 exited with status 137.", "emoji": False}
    assert [cell["text"] for cell in blocks[2]["fields"]] == ["*Container*", "web-1", "*Exit status*", "137"]
    assert [element["text"] for element in blocks[3]["elements"]] == [
        "my-shop",
        "app_crashed",
        "<!date^1767323045^{date_short_pretty} {time}|2026-01-02 03:04 UTC>",
        "<https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0|Details>",
    ]


def test_the_text_alone_says_everything_for_those_who_show_no_blocks() -> None:
    assert payload(make_message())["text"].split("\n") == [
        "🔴 my-shop crashed",
        "web-1 exited with status 137.",
        "Container: web-1",
        "Exit status: 137",
        "my-shop · app_crashed · 2026-01-02 03:04 UTC",
        "<https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0|Details>",
    ]


def test_a_long_text_is_cut_but_keeps_its_link() -> None:
    message = make_message(text="x" * 99_999, fields=tuple(Field(f"Field {n}", "v" * 1999) for n in range(30)))
    lines = payload(message)["text"].split("\n")
    assert lines[-1].endswith("|Details>")
    assert "…" in lines


def test_many_fields_are_spread_over_sections() -> None:
    message = make_message(fields=tuple(Field(f"Field {n}", str(n)) for n in range(12)))
    sections = [block["fields"] for block in payload(message)["blocks"] if "fields" in block]
    assert [len(cells) for cells in sections] == [10, 10, 4]


@pytest.mark.parametrize("severity", list(Severity))
def test_each_severity_shows_its_sign(severity: Severity) -> None:
    signs = {Severity.INFO: "🔵", Severity.SUCCESS: "✅", Severity.WARNING: "⚠️", Severity.ERROR: "🔴"}
    assert payload(make_message(severity=severity))["text"].startswith(signs[severity])


def test_nobody_is_called_and_no_link_is_forged() -> None:
    sent = json.dumps(payload(make_message(title=NASTY, text=NASTY, fields=(Field(NASTY, NASTY),))), ensure_ascii=False)
    text: str = json.loads(sent)["text"]
    assert "&lt;!channel&gt;" in text
    assert "&lt;@\u200bU1&gt;" in text
    assert "@here" not in text
    assert "[bank](" not in text


def test_a_mail_address_stays_as_it_is() -> None:
    assert "grace@example.com joined" in payload(make_message(text="grace@example.com joined"))["text"]


async def test_slack_gets_json_and_its_ok_is_a_delivery() -> None:
    async with receiving((200, b"ok")) as receiver:
        response = await send(SLACK, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())
    [(_, headers, body)] = receiver.received
    assert response.body == b"ok"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == payload(make_message())


@pytest.mark.parametrize(
    ("status", "body", "failure", "reason"),
    [
        (400, b"invalid_payload", PermanentFailure, Reason.REJECTED),
        (400, b"user_not_found", PermanentFailure, Reason.GONE),
        (400, b'{"id":"web.incoming_webhook.invalid.app_error"}', PermanentFailure, Reason.REJECTED),
        (403, b"action_prohibited", PermanentFailure, Reason.AUTH),
        (403, b"invalid_token", PermanentFailure, Reason.AUTH),
        (403, b"<html>blocked by a proxy</html>", TemporaryFailure, Reason.AUTH),
        (404, b"channel_not_found", PermanentFailure, Reason.GONE),
        (404, b"no_service", PermanentFailure, Reason.GONE),
        (404, b"no_team\n", PermanentFailure, Reason.GONE),
        (404, b"<html>not found</html>", TemporaryFailure, Reason.REJECTED),
        (410, b"channel_is_archived", PermanentFailure, Reason.GONE),
        (429, b"rate_limited", TemporaryFailure, Reason.RATE_LIMITED),
        (500, b"rollup_error", TemporaryFailure, Reason.SERVER_ERROR),
        (503, b"no_service", TemporaryFailure, Reason.SERVER_ERROR),
    ],
)
async def test_answers_are_read_as_slack_means_them(
    status: int, body: bytes, failure: type[PlatformError], reason: Reason
) -> None:
    async with receiving((status, body)) as receiver:
        with pytest.raises(failure) as failed:
            await send(SLACK, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())
    assert failed.value.reason is reason


def test_a_strange_answer_is_no_accident() -> None:
    with pytest.raises(PermanentFailure):
        SLACK.check(Response(status=400, body=b"\xff" * 5000))


def test_a_message_looks_as_its_blocks_say() -> None:
    assert look(make_message()) == Card(
        title="🔴 my-shop crashed",
        text="web-1 exited with status 137.",
        rows=(Field("Container", "web-1"), Field("Exit status", "137")),
        context=("my-shop", "app_crashed", "2026-01-02 03:04 UTC"),
        link="https://tocsin.test/apps/my-shop/events/6593a1b2c3d4e5f6a7b8c9d0",
    )


def check_look(message: Message) -> None:
    card = look(message)
    title = one_line(message.title, 150) or message.event_type
    assert card.title.endswith("…") or card.title.endswith(title)
    assert card.text == plain(message.text, 3000)
    assert card.rows == tuple(
        Field(one_line(field.label, 80) or "…", plain(field.value, 2000) or "-") for field in message.fields[:20]
    )
    assert card.context[-1] == "2026-01-02 03:04 UTC"
    assert card.link == web_link(message.link)


@pytest.mark.parametrize("message", EXTREMES.values(), ids=EXTREMES)
def test_a_look_is_cut_as_the_blocks_are(message: Message) -> None:
    check_look(message)


@given(message=messages_of_any_kind())
@effort(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_message_looks_as_it_is_read(message: Message) -> None:
    check_look(message)
