"""The straight line: an event posted is delivered, tried again, given up or handed back, and its record says so."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from tests.line import Line, answer, receiving, straight_line
from tocsin import __version__
from tocsin.clock import ManualClock, SystemClock
from tocsin.dates import format_instant
from tocsin.ingest import Draft
from tocsin.store.leases import list_due_notifiers


async def until_state(line: Line, state: str) -> dict[str, object]:
    """The only delivery, once it is in this state: each look waits for what is under way."""
    async with asyncio.timeout(10):
        while True:
            (delivery,) = await line.deliveries()
            if delivery["state"] == state:
                return delivery


async def test_a_posted_event_arrives_signed_with_the_bytes_that_the_answer_showed(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        told = await receiver.wait_for(1)
        assert told[0].json["type"] == "new_notifier"
        event = await line.post("deployment", {"status": "success", "duration": 40})
        (_, got) = await receiver.wait_for(2)
        assert got.json == event
        assert got.headers["content-type"] == "application/json"
        assert got.headers["user-agent"] == f"Tocsin/{__version__}"
        assert got.headers["webhook-id"] == event["id"]
        assert got.headers["tocsin-attempt"] == "1"
        secret = (await line.client.get(f"/v1/apps/my-app/notifiers/{notifier['id']}/secret")).json()["secret"]
        assert Webhook(secret).verify(got.body, got.headers) == event
        (delivery, _) = await line.deliveries()
        assert delivery["id"] == got.headers["tocsin-delivery-id"]
        assert delivery["state"] == "delivered"
        assert (delivery["reason"], delivery["attempt_count"], delivery["next_attempt_at"]) == (None, 1, None)
        (attempt,) = (await line.delivery(delivery["id"]))["attempts"]
        assert (attempt["outcome"], attempt["response_status"], attempt["error"]) == ("delivered", 204, None)


async def test_what_its_sender_does_not_wait_for_is_delivered_all_the_same(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        draft = Draft(type="restart", type_data=msgspec.Raw(b"{}"))
        impatient = asyncio.create_task(line.running.verbs.ingest.accept(line.app, line.user, [draft]))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await receiver.wait_for(2))[1].json["type"] == "restart"
        assert impatient.cancelled()
        assert [delivery["state"] for delivery in await line.deliveries()] == ["delivered", "delivered"]


async def test_type_data_is_passed_on_as_it_came(tmp_path: Path) -> None:
    text = '{"b":1.0,"a":[1e3,"\\u00e9",{"z":12345678901234567890}],"b2":null}'
    async with straight_line(tmp_path) as line, receiving() as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        body = f'{{"event": {{"type_data": {text}, "type": "deployment"}}}}'
        response = await line.client.post("/v1/apps/my-app/events", content=body)
        assert response.status_code == 201
        assert text.encode() in response.content
        got = (await receiver.wait_for(2))[1]
        assert text.encode() in got.body
        event_id = response.json()["event"]["id"]
        shown = await line.client.get(f"/v1/apps/my-app/events/{event_id}")
        assert shown.content == b'{"event":' + got.body + b"}"


async def test_a_failed_attempt_is_made_again_with_the_same_bytes_and_id(tmp_path: Path) -> None:
    answers = [lambda _: answer(204), lambda _: answer(503, b"down"), lambda _: answer(200, b"ok")]
    async with straight_line(tmp_path, retry_schedule=(0, 0, 0)) as line, receiving(*answers) as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.post()
        first, second = (await receiver.wait_for(3))[1:]
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert (first.headers["tocsin-attempt"], second.headers["tocsin-attempt"]) == ("1", "2")
        await line.running.worker.settled()
        delivery = (await line.deliveries())[0]
        assert (delivery["state"], delivery["attempt_count"]) == ("delivered", 2)
        failed, delivered = (await line.delivery(delivery["id"]))["attempts"]
        assert (failed["outcome"], failed["reason"]) == ("retry", "server_error")
        assert (failed["response_status"], failed["response_body"]) == (503, "down")
        assert (delivered["outcome"], delivered["response_body"]) == ("delivered", "ok")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(410, "gone"), (500, "exhausted"), (302, "exhausted"), (404, "exhausted"), (429, "exhausted")],
)
async def test_a_delivery_that_ends_undelivered_says_why(tmp_path: Path, status: int, reason: str) -> None:
    refuse = [lambda _: answer(204), lambda _: answer(status, location="http://127.0.0.1:1/")]
    async with straight_line(tmp_path, retry_schedule=(0, 0)) as line, receiving(*refuse) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.post()
        await receiver.wait_for(2 if reason == "gone" else 3)
        delivery = (await line.deliveries(notifier_id=notifier["id"]))[0]
        assert (delivery["state"], delivery["reason"]) == ("failed", reason)
        assert delivery["finished_at"] is not None


async def test_what_is_recovered_arrives_one_by_one_and_a_fresh_event_at_once(tmp_path: Path) -> None:
    clock = ManualClock(datetime.now(UTC))
    async with straight_line(tmp_path, clock=clock) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url}, selected_events=["app_restarted"])
        path = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        await line.client.patch(path, json={"send_all_events": False})
        told = len(await receiver.wait_for(1))
        await line.client.post(f"{path}/pause")
        missed = [(await line.post())["id"] for _ in range(3)]
        for active in (False, True):
            await line.client.patch(path, json={"active": active})
        wish = {"since": format_instant(clock.now() - timedelta(hours=1)), "types": ["restart"], "rate_per_second": 1}
        answer = (await line.client.post(f"{path}/recover", json={"recover": wish})).json()["recover"]
        assert (answer["count"], answer["last_attempt_at"]) == (3, format_instant(clock.now() + timedelta(seconds=2)))
        await receiver.wait_for(told + 1)
        fresh = (await line.post())["id"]
        await receiver.wait_for(told + 2)
        for count in (3, 4):
            await line.deliveries()
            assert len(receiver.got) == told + count - 1
            clock.advance(1)
            line.running.worker.wake()
            await receiver.wait_for(told + count)
        order = [got.headers["webhook-id"] for got in receiver.got[told:]]
        assert order == [missed[0], fresh, missed[1], missed[2]]


async def test_the_first_4_kib_of_an_answer_are_kept_as_text(tmp_path: Path) -> None:
    body = b"\x00\xff" + b"a" * 9000
    async with straight_line(tmp_path) as line, receiving(lambda _: answer(200, body)) as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        (delivery,) = await line.deliveries()
        (attempt,) = (await line.delivery(delivery["id"]))["attempts"]
        assert attempt["response_body"] == "\ufffd\ufffd" + "a" * 4094


async def test_a_private_address_that_nobody_allowed_is_never_reached(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
    async with straight_line_again(tmp_path, egress_allow="") as line:
        await line.post()
        delivery = (await line.deliveries())[0]
        assert (delivery["state"], delivery["reason"]) == ("failed", "egress_blocked")
        assert len(receiver.got) == 1


async def test_an_event_is_delivered_after_a_restart(tmp_path: Path) -> None:
    async with receiving() as receiver:
        async with straight_line(tmp_path) as line:
            notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
            await receiver.wait_for(1)
            await line.client.post(f"/v1/apps/my-app/notifiers/{notifier['id']}/pause")
            event = await line.post()
            assert (await line.deliveries())[0]["reason"] == "held"
        async with straight_line_again(tmp_path) as line:
            assert len(receiver.got) == 1
            await line.client.post(f"/v1/apps/my-app/notifiers/{notifier['id']}/resume")
            got = await receiver.wait_for(2)
            assert got[1].headers["webhook-id"] == event["id"]


async def test_a_stop_lets_what_is_under_way_end(tmp_path: Path) -> None:
    is_sent, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        is_sent.set()
        await may_answer.wait()
        writer.write(answer(204))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with straight_line(tmp_path) as line:
        response = await line.client.post(
            "/v1/apps/my-app/notifiers",
            json={"notifier": {"platform_id": "5982f145d48c3600273ef08a", "name": "slow", "send_all_events": True,
                               "type_data": {"webhook_url": url}}},
        )  # fmt: skip
        assert response.status_code == 201
        await is_sent.wait()
        drain = asyncio.create_task(line.running.drain())
        await asyncio.sleep(0)
        may_answer.set()
        await drain
        assert (await line.deliveries())[0]["state"] == "delivered"
    server.close()


async def test_a_stop_hands_back_what_does_not_end_in_time(tmp_path: Path) -> None:
    is_sent = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        is_sent.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with straight_line(tmp_path) as line:
        await line.client.post(
            "/v1/apps/my-app/notifiers",
            json={"notifier": {"platform_id": "5982f145d48c3600273ef08a", "name": "silent", "send_all_events": True,
                               "type_data": {"webhook_url": url}}},
        )  # fmt: skip
        await is_sent.wait()
        await line.running.worker.drain(patience_seconds=0.01)
        (delivery,) = await line.deliveries()
        assert (delivery["state"], delivery["attempt_count"]) == ("pending", 1)
        (attempt,) = (await line.delivery(delivery["id"]))["attempts"]
        assert (attempt["outcome"], attempt["reason"]) == ("unknown", "lease_lost")
    server.close()


async def test_more_events_than_slots_all_arrive_once(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        events = [{"type": "restart", "type_data": {"n": n}} for n in range(300)]
        response = await line.client.post("/v1/apps/my-app/events", json={"events": events})
        ids = [event["id"] for event in response.json()["events"]]
        got = await receiver.wait_for(301)
        assert sorted(one.headers["webhook-id"] for one in got[1:]) == sorted(ids)
        await line.running.worker.settled()
        page = await line.client.get("/v1/apps/my-app/deliveries", params={"state": "delivered", "per_page": 1})
        assert page.json()["meta"]["pagination"]["total_count"] >= 300


async def test_an_event_for_more_notifiers_than_fit_one_transaction_reaches_each(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        await asyncio.gather(
            *(
                line.add_notifier(
                    type_data={"webhook_url": receiver.url},
                    send_all_events=False,
                    selected_events=["app_deployed"],
                    name=f"number {number}",
                )
                for number in range(205)
            )
        )
        event = await line.post("deployment")
        got = await receiver.wait_for(205)
        assert {one.headers["webhook-id"] for one in got} == {event["id"]}
        assert len({one.headers["tocsin-delivery-id"] for one in got}) == 205


async def test_mail_waits_for_its_server_until_it_expires(tmp_path: Path) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line:
        notifier = await line.add_notifier("email", type_data={"emails": ["ops@example.com"]})
        assert (notifier["state"], notifier["state_reason"]) == (
            "active",
            "waiting for set-up: TOCSIN_SMTP_URL is not set",
        )
        await line.post()
        delivery = (await line.deliveries())[0]
        assert (delivery["state"], delivery["reason"]) == ("pending", "waiting_for_setup")
        assert delivery["attempt_count"] == 0
        clock.advance(timedelta(hours=25))
        await line.running.upkeep.round()
        delivery = (await line.deliveries())[0]
        assert (delivery["state"], delivery["reason"]) == ("failed", "expired")


async def test_nothing_is_due_when_everything_is_delivered(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.running.worker.settled()
        assert await line.running.store.read(list_due_notifiers, {"webhook"}) == []


@pytest.mark.parametrize("clock", [SystemClock()])
async def test_turning_a_notifier_off_ends_what_waits_and_recover_brings_it_back(
    tmp_path: Path, clock: SystemClock
) -> None:
    answers = [lambda _: answer(204), lambda _: answer(503), lambda _: answer(204)]
    since = (clock.now() - timedelta(minutes=1)).isoformat()
    async with straight_line(tmp_path) as line, receiving(*answers) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        event = await line.post()
        await receiver.wait_for(2)
        await line.running.worker.settled()
        path = f"/v1/apps/my-app/notifiers/{notifier['id']}"
        await line.client.patch(path, json={"notifier": {"active": False}})
        (cancelled,) = [one for one in await line.deliveries() if one["event_id"] == event["id"]]
        assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "notifier_off")
        await line.client.patch(path, json={"notifier": {"active": "true"}})
        wish = {"recover": {"since": since}}
        counted = await line.client.post(f"{path}/recover", json={"recover": {**wish["recover"], "dry_run": True}})
        assert counted.json()["recover"]["count"] == 1, json.dumps(await line.deliveries())
        recovered = await line.client.post(f"{path}/recover", json=wish)
        assert recovered.json()["recover"]["count"] == 1
        await receiver.wait_for(4)
        assert [one.headers["webhook-id"] for one in receiver.got].count(event["id"]) == 2
        assert (await line.client.post(f"{path}/recover", json=wish)).json()["recover"]["count"] == 0


def straight_line_again(tmp_path: Path, **settings: object):
    return straight_line(tmp_path, is_new=False, **settings)
