"""Leaving an e-mail notifier by the link in a mail, from the mail on the wire to the notifier as the API shows it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.line import PUBLIC_URL, Line, straight_line
from tests.platforms.mail_server import Script, mail_server
from tests.system.waiting import all_finished

ONE_CLICK = {"List-Unsubscribe": "One-Click"}  # RFC 8058 section 3.2


class Mailbox:
    """An e-mail notifier, the mails that it sent, and somebody who reads them without a token."""

    def __init__(self, line: Line, mail: Script, notifier: dict[str, Any], reader: httpx.AsyncClient) -> None:
        self.line = line
        self.mail = mail
        self.path = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        self.reader = reader

    async def link_to(self, address: str) -> str:
        """The link in a mail that has just been sent to this address."""
        await self.send()
        (mail,) = [mail for mail in self.mail.messages if mail["to"] == address]
        header = re.fullmatch("<([^<>]+)>", mail["list-unsubscribe"])
        assert header is not None
        for kind in ("plain", "html"):
            body = mail.get_body(preferencelist=(kind,))
            assert body is not None
            assert header[1] in body.get_content()
        return header[1]

    async def send(self) -> None:
        """Post an event, and keep the mails about it alone."""
        await all_finished(self.line)
        self.mail.mails.clear()
        await self.line.post()
        await all_finished(self.line)

    async def notifier(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.line.client.get(self.path)).json()["notifier"]
        return found


@asynccontextmanager
async def open_mailbox(tmp_path: Path, *addresses: str) -> AsyncIterator[Mailbox]:
    async with (
        mail_server() as (mail, port),
        straight_line(tmp_path, smtp_url=f"smtp://127.0.0.1:{port}") as line,
        httpx.AsyncClient(transport=httpx.ASGITransport(line.running.api), base_url=PUBLIC_URL) as reader,
    ):
        notifier = await line.add_notifier("email", type_data={"emails": list(addresses)})
        yield Mailbox(line, mail, notifier, reader)


async def test_the_link_leads_to_a_page_on_the_public_url_that_changes_nothing(tmp_path: Path) -> None:
    async with open_mailbox(tmp_path, "ada@example.com", "grace@example.com") as mailbox:
        link = await mailbox.link_to("ada@example.com")
        assert link.startswith(f"{PUBLIC_URL}/unsubscribe/")
        before = await mailbox.notifier()
        page = await mailbox.reader.get(link)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "ada@example.com" in page.text
        assert 'method="post"' in page.text
        stylesheet = re.search('rel="stylesheet" href="([^"]+)"', page.text)
        assert stylesheet is not None
        assert (await mailbox.reader.get(stylesheet[1])).status_code == 200
        assert (await mailbox.reader.head(link)).status_code == 200
        assert await mailbox.notifier() == before


async def test_one_click_takes_that_recipient_alone_off(tmp_path: Path) -> None:
    async with open_mailbox(tmp_path, "ada@example.com", "grace@example.com") as mailbox:
        link = await mailbox.link_to("ada@example.com")
        assert (await mailbox.reader.post(link, data=ONE_CLICK)).status_code == 200
        notifier = await mailbox.notifier()
        assert notifier["type_data"]["emails"] == ["grace@example.com"]
        assert notifier["active"] is True
        await mailbox.link_to("grace@example.com")
        assert [mail["to"] for mail in mailbox.mail.messages] == ["grace@example.com"]
        assert (await mailbox.reader.post(link, data=ONE_CLICK)).status_code == 200, "a second click is harmless"
        assert await mailbox.notifier() == notifier


async def test_the_last_recipient_who_leaves_turns_the_notifier_off(tmp_path: Path) -> None:
    async with open_mailbox(tmp_path, "ada@example.com") as mailbox:
        link = await mailbox.link_to("ada@example.com")
        assert (await mailbox.reader.post(link, data=ONE_CLICK)).status_code == 200
        notifier = await mailbox.notifier()
        assert (notifier["active"], notifier["state"]) == (False, "off")
        await mailbox.send()
        assert mailbox.mail.mails == []


async def test_a_member_leaves_by_the_same_link(tmp_path: Path) -> None:
    async with open_mailbox(tmp_path, "ada@example.com") as mailbox:
        type_data = {"emails": ["ada@example.com"], "user_ids": [mailbox.line.user.id]}
        await mailbox.line.client.patch(mailbox.path, json={"notifier": {"type_data": type_data}})
        link = await mailbox.link_to("alice@example.com")
        assert (await mailbox.reader.post(link, data=ONE_CLICK)).status_code == 200
        type_data = (await mailbox.notifier())["type_data"]
        assert type_data.get("user_ids", []) == []
        assert type_data["emails"] == ["ada@example.com"]


@pytest.mark.parametrize(
    "forge",
    [
        lambda code: ("A" if code[0] != "A" else "B") + code[1:],
        lambda code: code[:-6] + ("AAAAAA" if code[-6:] != "AAAAAA" else "BBBBBB"),
        lambda code: code[:20],
        lambda code: "x",
        lambda code: "%00",
        lambda code: "%C3%A9%C3%A9%C3%A9",
        lambda code: code + "AAAA",
    ],
)
async def test_a_forged_link_is_not_found_and_changes_nothing(tmp_path: Path, forge) -> None:
    async with open_mailbox(tmp_path, "ada@example.com") as mailbox:
        link = await mailbox.link_to("ada@example.com")
        address, _, code = link.rpartition("/")
        forged = f"{address}/{forge(code)}"
        assert (await mailbox.reader.get(forged)).status_code == 404
        assert (await mailbox.reader.post(forged, data=ONE_CLICK)).status_code == 404
        assert (await mailbox.notifier())["type_data"]["emails"] == ["ada@example.com"]


async def test_a_link_to_a_notifier_that_was_removed_says_so_without_failing(tmp_path: Path) -> None:
    async with open_mailbox(tmp_path, "ada@example.com") as mailbox:
        link = await mailbox.link_to("ada@example.com")
        await mailbox.line.client.delete(mailbox.path)
        assert (await mailbox.reader.post(link, data=ONE_CLICK)).status_code == 200
