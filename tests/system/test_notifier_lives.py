"""A notifier's life, on the whole of Tocsin: stopped, probed, recovered, held, disabled, enabled; its owner told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.line import Line, answer, receiving, straight_line
from tests.platforms.mail_server import mail_server
from tests.system.waiting import all_finished
from tocsin.clock import ManualClock
from tocsin.life import TELL_AFTER

HOUR = 3600


async def until_state(line: Line, notifier_id: str, state: str) -> dict[str, Any]:
    """The notifier, once it is in this state: each look waits for what is under way."""
    async with asyncio.timeout(20):
        while True:
            await line.settled()
            notifier = (await line.client.get(f"/v1/apps/my-app/notifiers/{notifier_id}")).json()["notifier"]
            if notifier["state"] == state:
                return notifier


def pass_time(line: Line, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    line.running.upkeep.wake()
    line.running.worker.wake()


async def states(line: Line, **only: Any) -> list[tuple[str, str | None]]:
    return [(one["state"], one["reason"]) for one in await line.deliveries(**only)]


async def test_a_receiver_that_is_down_is_stopped_probed_and_brought_back(tmp_path: Path) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line, receiving(lambda _: answer(500)) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        for _ in range(9):
            await line.post()
        await receiver.wait_for(10)
        stopped = await until_state(line, notifier["id"], "failing")
        assert stopped["active"] is True
        assert "server_error" in stopped["state_reason"]
        assert stopped["failing_since"] == "2026-01-02T03:04:05.000Z"
        # What comes meanwhile waits, and says so; no attempt is made, and none counted.
        await line.post("deployment")
        pass_time(line, clock, 20)
        assert await states(line, state="pending") == [("pending", "held")] * 11
        assert (await line.deliveries())[0]["attempt_count"] == 0
        assert len(receiver.got) == 10
        # One probe at a time.
        pass_time(line, clock, 30)
        await receiver.wait_for(11)
        assert (await until_state(line, notifier["id"], "failing"))["held_until"] > stopped["held_until"]
        assert len(receiver.got) == 11
        receiver.answers = [lambda _: answer(204)]
        pass_time(line, clock, 10 * 60)
        back = await until_state(line, notifier["id"], "active")
        assert (back["state_reason"], back["held_until"], back["failing_since"]) == (None, None, None)
        await receiver.wait_for(22)
        await all_finished(line)
        assert await states(line) == [("delivered", None)] * 11


async def test_one_messages_own_fault_stops_nobody(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving(lambda _: answer(400)) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        for _ in range(20):
            await line.post()
        await receiver.wait_for(21)
        assert (await until_state(line, notifier["id"], "active"))["failing_since"] is None


async def test_a_time_to_wait_holds_all_messages_and_costs_them_no_attempt(tmp_path: Path) -> None:
    clock = ManualClock()
    busy = [lambda _: answer(204), lambda _: answer(429, retry_after="120"), lambda _: answer(204)]
    async with straight_line(tmp_path, clock=clock) as line, receiving(*busy) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.post()
        await receiver.wait_for(2)
        held = await until_state(line, notifier["id"], "holding")
        assert (held["state_reason"], held["held_until"]) == ("the receiver asked to wait", "2026-01-02T03:06:06.000Z")
        for _ in range(3):
            await line.post()
        pass_time(line, clock, 119)
        assert await states(line, state="pending") == [("pending", "held")] * 4
        assert [one["attempt_count"] for one in await line.deliveries(state="pending")] == [0, 0, 0, 1]
        assert len(receiver.got) == 2
        pass_time(line, clock, 2)
        await receiver.wait_for(6)
        await until_state(line, notifier["id"], "active")
        assert sorted(one.headers["tocsin-attempt"] for one in receiver.got[2:]) == ["1", "1", "1", "2"]


async def test_410_disables_at_once_and_the_owner_is_told_by_another_notifier(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as other, receiving(lambda _: answer(410)) as gone:
        await line.add_notifier(type_data={"webhook_url": other.url}, name="other")
        notifier = await line.add_notifier(type_data={"webhook_url": gone.url}, name="ours")
        disabled = await until_state(line, notifier["id"], "disabled")
        assert (disabled["active"], disabled["state_reason"]) == (False, "the receiver is gone: answered 410")
        told = (await other.wait_for(3))[2].json
        assert told["type"] == "notifier_disabled"
        assert told["type_data"]["notifier_id"] == notifier["id"]
        assert told["type_data"]["reason"] == "gone"
        assert gone.url not in str(told)
        # What comes from now on waits, and is sent when it is enabled again.
        await line.post()
        assert await states(line, notifier_id=notifier["id"], state="pending") == [("pending", "held")]
        assert len(gone.got) == 1
        gone.answers = [lambda _: answer(204)]
        url = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        enabled = (await line.client.patch(url, json={"notifier": {"active": True}})).json()["notifier"]
        assert (enabled["active"], enabled["state"], enabled["state_reason"]) == (True, "active", None)
        assert (await gone.wait_for(2))[1].json["type"] == "restart"


async def test_one_call_enables_it_again_and_recovers_what_was_missed(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving(lambda _: answer(410)) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await until_state(line, notifier["id"], "disabled")
        waiting = await line.post()
        receiver.answers = [lambda _: answer(204)]
        url = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        recover: dict[str, Any] = {"since": "2026-01-01T00:00:00Z", "enable": True}
        wrong = await line.client.post(f"{url}/recover", json={"recover": recover | {"rate_per_second": -1}})
        assert wrong.status_code == 422
        dry = await line.client.post(f"{url}/recover", json={"recover": recover | {"dry_run": True}})
        assert dry.json()["recover"]["count"] == 1
        assert (await line.client.get(url)).json()["notifier"]["state"] == "disabled"
        response = await line.client.post(f"{url}/recover", json={"recover": recover})
        assert (response.status_code, response.json()["recover"]["count"]) == (200, 1)
        got = {one.json["type"]: one.json["id"] for one in (await receiver.wait_for(4))[1:]}
        assert got["restart"] == waiting["id"]
        assert got["new_notifier"] == receiver.got[0].json["id"]
        assert "edit_notifier" in got


@pytest.mark.parametrize("status", [204, 500])
async def test_a_receiver_can_ask_for_no_more(tmp_path: Path, status: int) -> None:
    last = [lambda _: answer(204), lambda _: answer(status, webhook_delivery="disable")]
    async with straight_line(tmp_path) as line, receiving(*last) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.post()
        disabled = await until_state(line, notifier["id"], "disabled")
        assert "webhook-delivery: disable" in disabled["state_reason"]
        expected = ("delivered", None) if status == 204 else ("failed", "gone")
        assert expected in await states(line, notifier_id=notifier["id"])


async def test_a_receiver_can_ask_not_to_get_one_message_again(tmp_path: Path) -> None:
    last = [lambda _: answer(204), lambda _: answer(500, webhook_delivery="abort-message"), lambda _: answer(204)]
    async with straight_line(tmp_path, retry_schedule=(0, 0)) as line, receiving(*last) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.post()
        await receiver.wait_for(2)
        assert (await states(line))[0] == ("failed", "rejected")
        await line.post()
        await receiver.wait_for(3)
        assert (await states(line))[0] == ("delivered", None)
        await until_state(line, notifier["id"], "active")


async def test_the_owner_is_told_by_mail_when_no_other_notifier_is_there(tmp_path: Path) -> None:
    clock = ManualClock()
    async with mail_server() as (mail, port), receiving(lambda _: answer(404)) as receiver:
        settings = {"smtp_url": f"smtp://127.0.0.1:{port}", "mail_from": "tocsin@example.com"}
        async with straight_line(tmp_path, clock=clock, **settings) as line:
            notifier = await line.add_notifier(type_data={"webhook_url": receiver.url}, name="ours")
            await receiver.wait_for(1)
            await line.settled()
            pass_time(line, clock, TELL_AFTER[0].total_seconds())
            await receiver.wait_for(2)
            async with asyncio.timeout(20):
                while not (await states(line, state="delivered")):
                    continue
            (message,) = mail.messages
            assert message["to"] == "alice@example.com"
            assert "“ours” of my-app keeps failing" in message["Subject"]
            listed = (await line.client.get("/v1/apps/my-app/notifiers")).json()["notifiers"]
            assert [one["id"] for one in listed] == [notifier["id"]]


async def test_paused_and_off_stay_so_whatever_becomes_of_what_was_under_way(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving(lambda _: answer(500)) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await line.client.post(f"/v1/apps/my-app/notifiers/{notifier['id']}/pause")
        for _ in range(20):
            await line.post()
        assert (await until_state(line, notifier["id"], "paused"))["active"] is True


async def test_a_stop_outlives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with receiving(lambda _: answer(500)) as receiver:
        async with straight_line(tmp_path, clock=clock) as line:
            notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
            for _ in range(9):
                await line.post()
            stopped = await until_state(line, notifier["id"], "failing")
        async with straight_line(tmp_path, clock=clock, is_new=False) as line:
            again = await until_state(line, notifier["id"], "failing")
            assert again["held_until"] == stopped["held_until"]
            assert len(receiver.got) == 10


@pytest.mark.parametrize("action", ["resume", "another address"])
async def test_its_owner_can_bring_it_back_at_once(tmp_path: Path, action: str) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line, receiving(lambda _: answer(500)) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        for _ in range(9):
            await line.post()
        await until_state(line, notifier["id"], "failing")
        receiver.answers = [lambda _: answer(204)]
        url = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        if action == "resume":
            response = await line.client.post(f"{url}/resume")
        else:
            response = await line.client.patch(
                url, json={"notifier": {"type_data": {"webhook_url": f"{receiver.url}2"}}}
            )
        assert response.json()["notifier"]["state"] == "active"
        pass_time(line, clock, 10)
        await receiver.wait_for(20)
        await all_finished(line)
        assert set(await states(line)) == {("delivered", None)}


async def test_a_notifiers_own_schedule_and_lifetime_are_kept_to(tmp_path: Path) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line, receiving(lambda _: answer(404)) as receiver:
        notifier = await line.add_notifier(
            type_data={"webhook_url": receiver.url}, retry_schedule=[0, 3600, 3600], expires_after=5400
        )
        await receiver.wait_for(1)
        first = (await line.deliveries())[0]
        assert "2026-01-02T03:49" <= first["next_attempt_at"] <= "2026-01-02T04:20"
        assert first["expires_at"] == "2026-01-02T04:34:05.000Z"
        pass_time(line, clock, 1.25 * HOUR)
        await receiver.wait_for(2)
        assert await states(line, notifier_id=notifier["id"]) == [("failed", "expired")]
