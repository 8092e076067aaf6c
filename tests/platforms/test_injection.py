"""Whoever has a say in an event gets no say in what carries it: no header, no recipient, no markup, no call."""

import asyncio
import re
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.egress.receiver import OK, Peer, make_egress
from tests.egress.receiver import Receiver as RawReceiver
from tests.platforms.cast import make_message, make_outgoing
from tests.platforms.hostile import BENIGN, CALLS, HEADERS, MARKUP, events_saying
from tests.platforms.limits import check_request
from tests.platforms.mail_server import mail_server
from tests.platforms.receiver import PlainNetwork, receiving, send
from tests.platforms.test_email import HEADERS as MAIL_HEADERS
from tests.platforms.test_email import Mail
from tocsin.egress.mail import Mailer
from tocsin.errors import PermanentFailure
from tocsin.model import Event, Field, Message, Request
from tocsin.platforms.email import _POLICY, EmailPlatform, subject_of
from tocsin.platforms.rocket_chat import RocketChatPlatform
from tocsin.platforms.slack import SlackPlatform
from tocsin.platforms.webhook import WebhookPlatform
from tocsin.rendering import render

EMAIL, SLACK, ROCKET_CHAT, WEBHOOK = EmailPlatform(), SlackPlatform(), RocketChatPlatform(), WebhookPlatform()
RECIPIENTS = ["ada@example.com", "bob@example.com"]
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

ANYTHING = st.one_of(
    st.sampled_from([*HEADERS, *MARKUP, *CALLS]),
    st.text(st.characters(codec=None, categories=None), max_size=200),
    st.text(st.sampled_from("\r\n\t .:=?<>@_\x00\x1b\u2028\u0085\u00fcBccToq"), max_size=120),
)


def messages() -> st.SearchStrategy[Message]:
    fields = st.lists(st.builds(Field, ANYTHING, ANYTHING), max_size=3).map(tuple)
    return st.builds(
        make_message, title=ANYTHING, text=ANYTHING, fields=fields, app_name=ANYTHING | st.none(), link=ANYTHING
    )


async def mailed(told: Sequence[Message], notifier_name: str) -> list[tuple[str, str, bytes]]:
    """What an SMTP server gets: the sender, the recipients and the octets of each mail."""
    async with mail_server() as (script, port):
        mailer = Mailer(f"smtp://127.0.0.1:{port}", "Tocsin <tocsin@example.com>")
        for message in told:
            outgoing = make_outgoing({"emails": RECIPIENTS}, message, notifier_name=notifier_name)
            await EMAIL.send(outgoing, Mail(mailer))
        await mailer.aclose()
        return script.mails


def check_mails(told: Sequence[Message], notifier_name: str = "Team") -> None:
    mails = asyncio.run(mailed(told, notifier_name))
    assert sorted(recipient for _, recipient, _ in mails) == sorted(RECIPIENTS * len(told))
    subjects = set()
    for sender, recipient, octets in mails:
        assert sender == "tocsin@example.com"
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets)
        assert max(map(len, octets.split(b"\r\n"))) <= 998
        mail = message_from_bytes(octets, policy=default)
        assert sorted(mail.keys()) == sorted([*MAIL_HEADERS, "From"])
        assert (mail["To"], mail["From"]) == (recipient, "Tocsin <tocsin@example.com>")
        assert not any(CONTROL.search(str(value)) for value in mail.values())
        assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
        subjects.add("".join(mail["Subject"].split()))  # folding adds spaces
    assert subjects == {"".join(subject_of(message).split()) for message in told}


@given(st.lists(messages(), min_size=1, max_size=4), ANYTHING)
@settings(max_examples=20, deadline=None)
def test_no_text_adds_a_header_a_recipient_or_a_part_to_a_mail(told: list[Message], notifier_name: str) -> None:
    check_mails(told, notifier_name)


@pytest.mark.parametrize("text", HEADERS)
def test_no_event_adds_a_header_to_its_mail(text: str) -> None:
    check_mails([render(event) for event in events_saying(text, every=9)], text)


def test_a_header_that_would_end_early_is_not_sent() -> None:
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = "=?utf-8?q?a=0D=0ABcc:_eve@evil.test?="
    with pytest.raises(PermanentFailure, match="the header Subject would end in the middle"):
        mail.as_bytes()


class Structure(HTMLParser):
    """All that is not text: elements with all of their attributes, comments, declarations."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.found: list[Any] = []
        mail = EMAIL.compose(make_outgoing({"emails": RECIPIENTS}, render(event)), RECIPIENTS[0])
        page = mail.get_body(("html",))
        assert page is not None
        self.feed(page.get_content())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.found.append(("declaration", decl))

    def handle_pi(self, data: str) -> None:
        self.found.append(("instruction", data))

    def unknown_decl(self, data: str) -> None:
        self.found.append(("unknown", data))


def structures(text: str, every: int) -> list[list[Any]]:
    return [Structure(event).found for event in events_saying(text, every=every)]


def test_the_payloads_are_many() -> None:
    assert len(set(MARKUP)) >= 30


# The first is quick, and has kinds of events from everywhere.
how_many = pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])


@how_many
@pytest.mark.parametrize("text", MARKUP)
def test_no_text_adds_an_element_or_an_attribute_to_a_mail(text: str, every: int) -> None:
    """Every kind of event, with the payload in each of its texts, gives the elements that harmless ones give."""
    if text.startswith("https:"):  # may be the link, and is only a link
        for found in structures(text, every):
            links = [dict(attrs)["href"] for tag, attrs in filter(is_element, found) if tag == "a"]
            assert all(re.fullmatch(r"https?://[^\s\"'<>]+", link or "") for link in links)
            assert {tag for tag, _ in filter(is_element, found)} <= {"a", *ELEMENTS}
    else:
        assert structures(text, every) == structures(BENIGN, every)


ELEMENTS = {"html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td", "span", "h1", "bdi"}


def is_element(found: Any) -> bool:
    return isinstance(found, tuple) and isinstance(found[1], list)


@pytest.mark.parametrize("platform", [SLACK, ROCKET_CHAT], ids=lambda platform: platform.name)
@how_many
@pytest.mark.parametrize("text", [*CALLS, *MARKUP, *HEADERS])
def test_no_text_calls_anyone_or_forges_a_link_in_a_chat(platform: SlackPlatform, text: str, every: int) -> None:
    settings = {"webhook_url": "https://chat.test/hook"}
    for event in events_saying(text, every=every):
        check_request(platform.name, platform.request(make_outgoing(settings, render(event))))


async def test_slack_gets_every_call_escaped() -> None:
    got = await chat(SLACK)
    for call in CALLS[:9]:
        escaped = call.replace("<@", "<@\u200b").replace("<", "&lt;").replace(">", "&gt;")
        assert escaped in got["text"]
        assert call not in got["text"]
    marked_up = [text["text"] for text in texts_of(got["blocks"]) if text["type"] == "mrkdwn"]
    assert marked_up
    assert not any(call in text for text in marked_up for call in CALLS[:9])
    assert (got["link_names"], got["unfurl_links"], got["unfurl_media"]) == (False, False, False)


async def test_rocket_chat_gets_every_call_unmade() -> None:
    got = await chat(ROCKET_CHAT)
    sent = msgspec.json.encode(got).decode()
    assert not re.search(r"(?<![A-Za-z0-9])@[A-Za-z]", sent)
    fields = got["attachments"][0]["fields"]
    assert len(fields) == 1 + len(CALLS[9:])
    for field in fields:
        assert re.fullmatch(r"`[^`]+`|[^`\[\]*]+", field["value"]), field


async def chat(platform: SlackPlatform | RocketChatPlatform) -> Any:
    """The JSON that a chat's webhook gets over the wire."""
    calls = CALLS[:9] if platform is SLACK else CALLS[9:]
    message = make_message(title="@all @here", text=" ".join(calls), fields=tuple(Field(call, call) for call in calls))
    async with receiving() as receiver:
        await send(platform, make_outgoing({"webhook_url": receiver.url}, message), PlainNetwork())
    return msgspec.json.decode(receiver.received[0][2])


def texts_of(value: Any) -> list[dict[str, Any]]:
    """All of Slack's text objects."""
    if isinstance(value, list):
        return [text for inner in value for text in texts_of(inner)]
    if not isinstance(value, dict):
        return []
    if value.get("type") in {"mrkdwn", "plain_text"}:
        return [value]
    return [text for inner in value.values() for text in texts_of(inner)]


async def captured(request: Request) -> bytes:
    """The request as it stands on the wire."""
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        got.append(await peer.read_request())
        await peer.write(OK)

    egress = make_egress()
    async with RawReceiver(script) as receiver:
        try:
            await egress.request(msgspec.structs.replace(request, url=receiver.url))
        finally:
            await egress.aclose()
    return got[0]


@given(messages(), st.binary(max_size=200), ANYTHING)
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("platform", [WEBHOOK, SLACK, ROCKET_CHAT], ids=lambda platform: platform.name)
def test_no_text_adds_a_header_to_a_request(platform: SlackPlatform, message: Message, body: bytes, name: str) -> None:
    """The header lines are those that any event gets, and none holds anything that a user has written."""
    settings = {"webhook_url": "http://receiver.test/"}
    harmless = asyncio.run(captured(platform.request(make_outgoing(settings))))
    hostile = platform.request(make_outgoing(settings, message, body=body, notifier_name=name))
    assert head_lines(asyncio.run(captured(hostile))) == head_lines(harmless)


def head_lines(octets: bytes) -> list[str]:
    """Without what differs between any two requests."""
    head = octets.partition(b"\r\n\r\n")[0].decode("ascii")
    return [re.sub(r"^(host|content-length|webhook-signature): .*", r"\1", line) for line in head.split("\r\n")]
