"""Signing secrets: which are good when, and receivers with the old and with the new one while it is changed."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.line import PLATFORM_IDS, Got, Line, Receiver, answer, receiving, straight_line
from tests.processes import Installation
from tests.test_workers_together import look_again, two_workers
from tocsin.clock import ManualClock, SystemClock
from tocsin.model import Notifier
from tocsin.platforms.signing import Algorithm, algorithm_of, new_secret, verifying_key
from tocsin.platforms.verification import verify
from tocsin.rotation import OVERLAP, rotated, secrets_of, without_previous

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NOTIFIER = Notifier(
    id="no-1", app_id="a", name="n", platform="webhook", secret=new_secret(), created_at=NOW, updated_at=NOW
)


class TestWhatIsGood:
    """The pure part."""

    @given(
        steps=st.lists(
            st.tuples(
                st.timedeltas(timedelta(), 2 * OVERLAP), st.sampled_from([*Algorithm, None, "revoke"]), st.booleans()
            ),
            max_size=6,
        )
    )
    def test_the_newest_is_good_and_the_one_before_it_for_a_day_unless_revoked(self, steps: list[Any]) -> None:
        notifier, now = NOTIFIER, NOW
        before: tuple[str, datetime] | None = None
        for wait, step, revoke_now in steps:
            now += wait
            if step == "revoke":
                notifier, before = without_previous(notifier, now), None
            else:
                present = notifier.secret
                notifier = rotated(notifier, algorithm=step, revoke_now=revoke_now, at=now)
                assert notifier.secret != present
                assert algorithm_of(notifier.secret) is (step or algorithm_of(present))
                before = None if revoke_now else (present, now + timedelta(hours=24))
            assert notifier.updated_at == now
            for at in (now, now + OVERLAP - MICROSECOND, now + OVERLAP):
                expected = before[0] if before is not None and at < before[1] else None
                assert notifier.previous_secret_at(at) == expected
                told = secrets_of(notifier, at)
                assert told.secret == verifying_key(notifier.secret)
                assert told.previous_secret == (None if expected is None else verifying_key(expected))
                assert told.previous_until == (before[1] if before is not None and expected is not None else None)

    def test_no_secret_is_shown_by_accident(self) -> None:
        told = secrets_of(rotated(NOTIFIER, algorithm=None, revoke_now=False, at=NOW), NOW)
        assert "whsec_" not in repr(told)


PATH = "/v1/apps/my-app/notifiers"


async def secrets(line: Line, notifier: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await line.client.get(f"{PATH}/{notifier['id']}/secret")).json()
    return found


async def rotate(line: Line, notifier: dict[str, Any], **how: Any) -> str:
    """Rotate; answers with what to verify with from then on."""
    response = await line.client.post(f"{PATH}/{notifier['id']}/secret/rotate", json={"rotate": how})
    assert response.status_code == 200, response.text
    return str(response.json()["secret"])


def fits(key: str, got: Got) -> bool:
    headers = got.headers
    content = (headers["webhook-id"], headers["webhook-timestamp"], got.body)
    assert "." not in headers["webhook-id"]
    if key.startswith("whsec_") and abs(int(headers["webhook-timestamp"]) - SystemClock().now().timestamp()) < 200:
        official = True
        try:
            Webhook(key).verify(got.body, headers)
        except WebhookVerificationError:
            official = False
        assert official is verify(key, *content, headers["webhook-signature"])
    return verify(key, *content, headers["webhook-signature"])


@pytest.mark.slow
@pytest.mark.xdist_group("a running server")
async def test_a_secret_is_rotated_under_delivery_and_old_and_new_receivers_both_verify(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    headers = {"authorization": f"Bearer {await asyncio.to_thread(installation.add_user)}"}
    try:
        await asyncio.to_thread(installation.serve)
        async with receiving() as receiver, httpx.AsyncClient(base_url=installation.url, headers=headers) as client:
            await rotate_under_delivery(client, receiver)
    finally:
        installation.end()


async def rotate_under_delivery(client: httpx.AsyncClient, receiver: Receiver) -> None:
    (await client.post("/v1/apps", json={"app": {"name": "my-app"}})).raise_for_status()
    notifier = {
        "platform_id": PLATFORM_IDS["webhook"],
        "name": "hook",
        "send_all_events": True,
        "type_data": {"webhook_url": receiver.url},
    }
    path = f"{PATH}/{(await client.post(PATH, json={'notifier': notifier})).json()['notifier']['id']}/secret"
    old = (await client.get(path)).json()["secret"]

    async def report() -> str:
        event = {"event": {"type": "deployment", "type_data": {"n": 1.50}}}
        answered = await client.post("/v1/apps/my-app/events", json=event)
        return str(answered.json()["event"]["id"])

    async def report_on() -> None:
        while True:
            await report()

    reporting = [asyncio.create_task(report_on()) for _ in range(4)]
    await receiver.wait_for(20)
    new = (await client.post(f"{path}/rotate")).json()["secret"]
    late = {await report() for _ in range(10)}
    for each in reporting:
        each.cancel()
    await asyncio.gather(*reporting, return_exceptions=True)

    def of_late() -> list[Got]:
        return [got for got in receiver.got if got.headers["webhook-id"] in late]

    async with asyncio.timeout(20), receiver.arrived:
        await receiver.arrived.wait_for(lambda: len(of_late()) == len(late))
    assert all(fits(old, got) for got in receiver.got)
    assert all(fits(new, got) for got in of_late())
    assert not fits(new, receiver.got[0])


async def test_the_one_before_is_good_for_a_day_and_a_third_ends_it(tmp_path: Path) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})

        async def who_verifies(*keys: str) -> list[bool]:
            event = await line.post()
            await line.deliveries()
            assert receiver.got[-1].headers["webhook-id"] == event["id"]
            return [fits(key, receiver.got[-1]) for key in keys]

        first = (await secrets(line, notifier))["secret"]
        second = await rotate(line, notifier)
        clock.advance(OVERLAP - timedelta(seconds=1))
        assert await who_verifies(first, second) == [True, True]
        assert (await secrets(line, notifier))["previous_secret"] == first
        clock.advance(1)
        assert await who_verifies(first, second) == [False, True]
        assert (await secrets(line, notifier))["previous_secret"] is None
        third = await rotate(line, notifier, algorithm="ed25519")
        assert third.startswith("whpk_")
        assert await who_verifies(first, second, third) == [False, True, True]
        fourth = await rotate(line, notifier)
        assert fourth.startswith("whpk_")
        assert await who_verifies(second, third, fourth) == [False, True, True]
        assert (await line.client.delete(f"{PATH}/{notifier['id']}/secret/previous")).status_code == 204
        assert await who_verifies(third, fourth) == [False, True]
        fifth = await rotate(line, notifier, algorithm="hmac-sha256", revoke_now=True)
        assert await who_verifies(fourth, fifth) == [False, True]
        assert receiver.got[-1].headers["webhook-signature"].startswith("v1,")


async def test_each_attempt_has_its_own_time_and_the_same_bytes(tmp_path: Path) -> None:
    clock = ManualClock()
    failing = [lambda _: answer(204), lambda _: answer(500), lambda _: answer(204)]
    async with straight_line(tmp_path, clock=clock) as line, receiving(*failing) as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url}, retry_schedule=[0, 60])
        await receiver.wait_for(1)
        old = (await secrets(line, notifier))["secret"]
        await line.post("deployment", {"n": 1.50})
        await receiver.wait_for(2)
        await line.settled()
        new = await rotate(line, notifier)
        while len(receiver.got) < 3:
            clock.advance(30)
            line.running.worker.wake()
            await line.deliveries()
        _, one, two = receiver.got
        assert one.body == two.body
        assert one.headers["webhook-id"] == two.headers["webhook-id"]
        assert int(two.headers["webhook-timestamp"]) - int(one.headers["webhook-timestamp"]) >= 30
        assert [fits(key, got) for got in (one, two) for key in (old, new)] == [True, False, True, True]


async def test_on_postgresql_every_worker_signs_with_both_and_with_none_that_is_revoked(
    tmp_path: Path, postgres_url: str
) -> None:
    clock = ManualClock()
    async with receiving() as receiver, two_workers(tmp_path, postgres_url, clock) as (line, other):
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})

        async def deliver(count: int) -> list[Got]:
            """Report so many events; what arrived of them, sent by whichever worker."""
            already = len(receiver.got)
            events = [{"type": "deployment", "type_data": {}}] * count
            assert (await line.client.post("/v1/apps/my-app/events", json={"events": events})).status_code == 201
            async with asyncio.timeout(20):
                while len(receiver.got) < already + count:
                    await look_again(line, other, clock)
            return receiver.got[already:]

        await receiver.wait_for(1)
        old = (await secrets(line, notifier))["secret"]
        assert all(fits(old, got) for got in await deliver(40))
        new = await rotate(line, notifier, algorithm="ed25519")
        assert all(fits(old, got) and fits(new, got) for got in await deliver(40))
        await line.client.delete(f"{PATH}/{notifier['id']}/secret/previous")
        assert all(fits(new, got) and not fits(old, got) for got in await deliver(40))


@pytest.mark.parametrize("given_id", ["a.b", "evil.1614265330."])
async def test_no_sender_chooses_the_id_that_is_signed(tmp_path: Path, given_id: str) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        key = (await secrets(line, notifier))["secret"]
        await line.post("deployment", id=given_id)
        headers = {"ce-specversion": "1.0", "ce-id": given_id, "ce-source": "/x", "ce-type": "deployment"}
        response = await line.client.post("/v1/apps/my-app/events", headers=headers, json={})
        assert response.status_code == 201, response.text
        got = await receiver.wait_for(3)
        assert all(fits(key, each) for each in got)
