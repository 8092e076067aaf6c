"""What is said to be sent is what is sent."""

from pathlib import Path
from typing import Any

import pytest

from tests.line import PUBLIC_URL, Got, Line, receiving, straight_line
from tests.platforms.mail_server import mail_server

OF_THE_MOMENT = {"webhook-timestamp", "webhook-signature"}
OF_THE_WIRE = {"host", "content-length", "accept-encoding", "connection", "accept"}


async def explained(line: Line, event: dict[str, Any], notifier: dict[str, Any]) -> dict[str, Any]:
    path = f"/v1/apps/my-app/events/{event['id']}/explain"
    response = await line.client.get(path, params={"notifier_id": notifier["id"]})
    assert response.status_code == 200, response.text
    [told] = response.json()["explain"]["notifiers"]
    found: dict[str, Any] = told
    return found


@pytest.mark.parametrize("platform", ["webhook", "slack", "rocket_chat"])
async def test_the_request_is_the_one_that_arrives(tmp_path: Path, platform: str) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        notifier = await line.add_notifier(platform, type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        event = await line.post("deployment", {"status": "success", "git_ref": "0123456"})
        got: Got = (await receiver.wait_for(2))[1]
        await line.running.worker.settled()
        told = await explained(line, event, notifier)
        shown = told["request"]
        assert shown["body"].encode() == got.body
        steady = {name: value for name, value in got.headers.items() if name not in OF_THE_MOMENT | OF_THE_WIRE}
        assert {name: shown["headers"][name] for name in steady} == steady
        assert shown["headers"].keys() - OF_THE_MOMENT == steady.keys()
        assert receiver.url not in shown["url"]
        assert told["summary"].startswith("delivered at")
        assert [attempt["outcome"] for attempt in told["delivery"]["attempts"]] == ["delivered"]


async def test_the_mails_are_those_that_arrive_but_for_the_link_to_unsubscribe(tmp_path: Path) -> None:
    async with (
        mail_server() as (mail, port),
        straight_line(tmp_path, smtp_url=f"smtp://127.0.0.1:{port}") as line,
    ):
        addresses = ["ada@example.com", "bob@example.com"]
        notifier = await line.add_notifier("email", type_data={"emails": addresses, "user_ids": [line.user.id]})
        event = await line.post("deployment", {"status": "success"})
        [delivery] = await line.deliveries(event_id=event["id"])
        assert delivery["state"] == "delivered"
        [shown] = (await explained(line, event, notifier))["mails"]
        got = [each for each in mail.messages if each["Subject"] == shown["subject"]]
        assert sorted(each["To"] for each in got) == sorted(shown["recipients"])
        assert set(shown["recipients"]) == {*addresses, line.user.email}
        for each in got:
            text = each.get_body(("plain",))
            assert text is not None
            lines = [line for line in text.get_content().splitlines() if "/unsubscribe/" not in line]
            assert [line for line in shown["text"].splitlines() if PUBLIC_URL not in line] == lines
