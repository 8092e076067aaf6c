"""What receivers answer, or do not, and what becomes of the attempt: on record, in time, and no way to elsewhere."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.egress.drips import accept_and_read_nothing, drips
from tests.egress.odd_responses import random_answers
from tests.egress.receiver import OK, Peer, Receiver, Script, answering
from tests.line import Line, straight_line

ONLY = {"send_all_events": False, "selected_events": ["app_restarted"]}
SECRET_PATH = "/secret-path?token=secret"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


async def deliver(
    line: Line, stack: AsyncExitStack, scripts: Mapping[str, Script], **fields: Any
) -> tuple[dict[str, Any], dict[str, Receiver]]:
    """One event to a notifier for each of these receivers; answers with their deliveries, and with the receivers."""
    receivers = {name: await stack.enter_async_context(Receiver(script)) for name, script in scripts.items()}
    healthy = await stack.enter_async_context(Receiver(answering(OK)))
    like = await line.add_notifier(type_data={"webhook_url": healthy.url}, **ONLY)
    urls = {receiver.url: name for name, receiver in receivers.items()}
    stored = await line.store_notifiers(list(urls), like=like)
    event = await line.post(**fields)
    await line.until_over(event["id"], len(stored) + 1)
    found = {}
    for listed in await line.deliveries(event_id=event["id"], per_page=100):
        if listed["notifier_id"] in stored:
            found[urls[stored[listed["notifier_id"]]]] = await line.delivery(listed["id"])
    return found, receivers


async def test_a_redirect_is_not_followed_and_of_its_target_the_host_alone_is_on_record(tmp_path: Path) -> None:
    statuses = ("301", "302", "303", "307", "308")
    async with AsyncExitStack() as stack, straight_line(tmp_path, retry_schedule=(0,)) as line:
        canary = await stack.enter_async_context(Receiver(answering(OK)))
        target = f"http://someone:secret@127.0.0.1:{canary.port}{SECRET_PATH}"
        head = f"Location: {target}\r\nContent-Length: {len(target)}\r\n\r\n{target}"
        scripts = {status: answering(f"HTTP/1.1 {status} Moved\r\n{head}".encode()) for status in statuses}
        deliveries, _ = await deliver(line, stack, scripts)
        assert canary.accepted == 0
    assert set(deliveries) == set(statuses)
    for status, delivery in deliveries.items():
        (attempt,) = delivery["attempts"]
        assert (delivery["state"], attempt["reason"], attempt["response_status"]) == (
            "failed",
            "redirected",
            int(status),
        )
        assert attempt["error"] == f"answered {status} to 127.0.0.1; redirects are not followed"
        assert "secret" not in str(delivery)


@pytest.mark.parametrize(
    ("timeout_seconds", "pace_seconds"), [(1, 0.05), pytest.param(15, 1, marks=pytest.mark.long)], ids=["short", "full"]
)
async def test_a_receiver_that_hangs_or_drips_costs_one_attempt_its_time_and_no_more(
    tmp_path: Path, timeout_seconds: float, pace_seconds: float
) -> None:
    scripts = drips(pace_seconds)
    async with (
        AsyncExitStack() as stack,
        straight_line(tmp_path, retry_schedule=(0,), delivery_timeout=timeout_seconds) as line,
    ):
        deliveries, receivers = await deliver(line, stack, scripts)
        assert set(deliveries) == set(scripts)
        for name, delivery in deliveries.items():
            (attempt,) = delivery["attempts"]
            assert (delivery["state"], attempt["outcome"], attempt["reason"]) == ("failed", "retry", "timeout"), name
            assert timeout_seconds * 1000 <= attempt["duration_ms"] + 50 <= (timeout_seconds + 1) * 1000 + 50, name
        for receiver in receivers.values():
            await receiver.all_closed.wait()
        # Each has its slot back: the next event is sent to all of them.
        again = await line.post()
        await line.until_over(again["id"], len(scripts) + 1)
        assert {name: receiver.accepted for name, receiver in receivers.items()} == dict.fromkeys(scripts, 2)


async def test_a_receiver_that_reads_nothing_costs_one_attempt_its_time_and_no_more(tmp_path: Path) -> None:
    large = {"text": "x" * 200_000}
    async with (
        AsyncExitStack() as stack,
        straight_line(tmp_path, retry_schedule=(0,), delivery_timeout=1) as line,
    ):
        deliveries, receivers = await deliver(
            line, stack, {"unread": accept_and_read_nothing}, event_type="restart", type_data=large
        )
        (attempt,) = deliveries["unread"]["attempts"]
        assert attempt["reason"] == "timeout"
        assert receivers["unread"].accepted == 1


async def test_each_of_500_answers_of_garbage_is_an_attempt_on_record_and_tocsin_goes_on(tmp_path: Path) -> None:
    answers = random_answers(500)
    waiting = iter(answers)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(next(waiting, OK))
        peer.writer.write_eof()
        await peer.wait_closed_by_client()

    async with straight_line(tmp_path, retry_schedule=(0,)) as line, Receiver(script) as receiver:
        like = await line.add_notifier(type_data={"webhook_url": receiver.url}, **ONLY)
        # Ten failures within a minute would stop a notifier: so each of a hundred gets five.
        stored = await line.store_notifiers([receiver.url] * 99, like=like)
        attempts = []
        for _ in range(5):
            event = await line.post()
            await line.until_over(event["id"], 100)
            deliveries = await line.deliveries(event_id=event["id"], per_page=100)
            assert {each["notifier_id"] for each in deliveries} == {*stored, like["id"]}
            attempts += await attempts_of(line, [each["id"] for each in deliveries])
        async with Receiver(answering(OK)) as healthy:
            await line.add_notifier(type_data={"webhook_url": healthy.url}, **ONLY)
            event = await line.post()
            await line.until_over(event["id"], 101)
            assert healthy.accepted == 1
    assert len(attempts) == 500
    outcomes = Counter(attempt["outcome"] for attempt in attempts)
    assert set(outcomes) == {"delivered", "retry"}
    assert outcomes["retry"] > 200
    assert not any(CONTROL.search(attempt["response_body"] or "") for attempt in attempts)


async def attempts_of(line: Line, delivery_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The one attempt of each of these deliveries."""
    found = []
    for delivery_id in delivery_ids:
        (attempt,) = (await line.delivery(delivery_id))["attempts"]
        found.append(attempt)
    return found
