"""Every event of the catalogue, posted through the API, arrives on every platform in a shape that it documents."""

import json
from contextlib import AsyncExitStack
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.line import Line, Receiver, answer, receiving, straight_line
from tests.platforms.limits import check_rocket_chat, check_slack
from tests.platforms.mail_server import Script, mail_server
from tests.system.waiting import all_finished, count
from tocsin.catalogue import Catalogue, EventKind
from tocsin.model import Event, Message
from tocsin.rendering import render

KINDS = tuple(Catalogue.load().events.values())
WEBHOOK_PLATFORMS = {
    "webhook": answer(204),
    "slack": answer(200, b"ok"),
    "rocket_chat": answer(200, b'{"success":true}'),
}
RECIPIENT = "ada@example.com"


class World:
    """An app whose four notifiers send all events, and what reached each of the four."""

    def __init__(self, line: Line, receivers: dict[str, Receiver], mail: Script) -> None:
        self.line = line
        self.receivers = receivers
        self.mail = mail

    def payloads(self, platform: str) -> list[Any]:
        return [got.json for got in self.receivers[platform].got]

    def mails(self) -> list[EmailMessage]:
        parsed = [message_from_bytes(octets, policy=SMTP) for _, _, octets in self.mail.mails]
        return [mail for mail in parsed if isinstance(mail, EmailMessage)]

    def forget(self) -> None:
        for receiver in self.receivers.values():
            receiver.got.clear()
        self.mail.mails.clear()

    async def post(self, kinds: tuple[EventKind, ...]) -> list[dict[str, Any]]:
        events = [{"type": kind.type, "type_data": kind.sample} for kind in kinds]
        response = await self.line.client.post("/v1/apps/my-app/events", json={"events": events})
        assert response.status_code == 201, response.text
        posted: list[dict[str, Any]] = response.json()["events"]
        return posted


async def open_world(stack: AsyncExitStack, tmp_path: Path) -> World:
    mail, port = await stack.enter_async_context(mail_server())
    line = await stack.enter_async_context(straight_line(tmp_path, smtp_url=f"smtp://127.0.0.1:{port}"))
    receivers = {}
    for platform, reply in WEBHOOK_PLATFORMS.items():
        receiver = await stack.enter_async_context(receiving(lambda _, reply=reply: reply))
        # Slack's own rate would have it take minutes.
        await line.add_notifier(platform, type_data={"webhook_url": receiver.url}, rate_per_second=1000)
        receivers[platform] = receiver
    await line.add_notifier("email", type_data={"emails": [RECIPIENT]})
    return World(line, receivers, mail)


def message_of(event: dict[str, Any]) -> Message:
    return render(msgspec.convert(event, Event))


@pytest.mark.slow
async def test_every_event_reaches_every_platform(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await open_world(stack, tmp_path)
        before = await all_finished(world.line)
        world.forget()
        events = []
        for start in range(0, len(KINDS), 25):
            events += await world.post(KINDS[start : start + 25])
        assert await all_finished(world.line) == before + 4 * len(KINDS)
        assert await count(world.line, "failed") == 0
        titles = sorted(message_of(event).title for event in events)
        check_webhooks(world, events)
        check_slack_messages(world, titles)
        check_rocket_chat_messages(world, titles)
        check_mails(world, titles)


def check_webhooks(world: World, events: list[dict[str, Any]]) -> None:
    got = world.receivers["webhook"].got
    assert {one.headers["webhook-id"]: one.json for one in got} == {event["id"]: event for event in events}
    assert len(got) == len(events)
    for one in got:
        assert one.headers["content-type"] == "application/json"
        datetime.fromisoformat(one.json["created_at"])
        assert json.loads(one.body)["type_data"] == next(kind.sample for kind in KINDS if kind.type == one.json["type"])


def check_slack_messages(world: World, titles: list[str]) -> None:
    payloads = world.payloads("slack")
    for payload in payloads:
        check_slack(payload)
    check_told(titles, [unescape(payload["text"]) for payload in payloads])


def check_rocket_chat_messages(world: World, titles: list[str]) -> None:
    payloads = world.payloads("rocket_chat")
    for payload in payloads:
        check_rocket_chat(payload)
    check_told(titles, [payload["text"] for payload in payloads])


def check_mails(world: World, titles: list[str]) -> None:
    mails = world.mails()
    check_told(titles, [str(mail["subject"]) for mail in mails])
    assert len({mail["message-id"] for mail in mails}) == len(mails)
    for mail in mails:
        check_mail(mail)


def check_mail(mail: EmailMessage) -> None:
    assert mail["to"] == RECIPIENT
    assert mail["from"]
    assert mail["date"].datetime.tzinfo is not None
    assert mail["auto-submitted"] == "auto-generated"
    assert "/unsubscribe/" in mail["list-unsubscribe"]
    assert mail.get_content_type() == "multipart/alternative"
    text, html = (mail.get_body(preferencelist=(kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    # Unfolding may leave two spaces where a line was broken.
    sentence = " ".join(str(mail["subject"]).split()).removeprefix("[my-app] ")
    assert sentence in text.get_content()
    assert sentence in unescape(html.get_content())
    assert all(len(line) <= 998 for line in mail.as_bytes().splitlines())  # RFC 5322 2.1.1


def check_told(titles: list[str], texts: list[str]) -> None:
    """Each sentence stands in a text of its own."""
    left = [comparable(text) for text in texts]
    for title in sorted(titles, key=len, reverse=True):
        told = next((text for text in left if comparable(title) in text), None)
        assert told is not None, title
        left.remove(told)
    assert left == []


def comparable(text: str) -> str:
    """Letters and digits alone: platforms put marks between them so that nothing is read as markup."""
    return "".join(character for character in text if character.isalnum())
