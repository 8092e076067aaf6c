"""The worker beside its straight line: what waits in numbers, what comes at the wrong moment, and its stop."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

from tests.line import Got, Line, Receiver, answer, receiving, straight_line
from tocsin.model import DeliveryState
from tocsin.standings import MAX_LEASES
from tocsin.store.deliveries import DeliveryFilter, list_deliveries
from tocsin.worker import POLL_SECONDS

EVENTS = MAX_LEASES * 5


async def hold_back(line: Line, receiver: Receiver) -> str:
    """A paused notifier with more events than may be leased at once; answers with its path."""
    notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
    await receiver.wait_for(1)
    path = f"/v1/apps/my-app/notifiers/{notifier['id']}"
    await line.client.post(f"{path}/pause")
    events = [{"type": "restart", "type_data": {}}] * EVENTS
    assert (await line.client.post("/v1/apps/my-app/events", json={"events": events})).status_code == 201
    return path


async def count(line: Line, state: DeliveryState) -> int:
    _, total = await line.running.store.read(
        list_deliveries, line.app.id, DeliveryFilter(state=state), limit=1, offset=0
    )
    return total


async def test_what_was_held_back_is_sent_without_a_pause_between_claims(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        path = await hold_back(line, receiver)
        await line.client.post(f"{path}/resume")
        async with asyncio.timeout(POLL_SECONDS * 3.5):  # a poll for each claim would take 4
            await receiver.wait_for(EVENTS + 1)


async def test_a_stop_leaves_nothing_leased_that_was_being_claimed(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        path = await hold_back(line, receiver)
        store, is_claimed, may_answer = line.running.store, asyncio.Event(), asyncio.Event()
        claim = store.claim

        async def claim_slowly(slots: Any) -> Any:
            claimed = await claim(slots)
            if claimed.claims:
                is_claimed.set()
                await may_answer.wait()
            return claimed

        store.claim = claim_slowly  # type: ignore[method-assign]  # to stop at that very moment
        await line.client.post(f"{path}/resume")
        await is_claimed.wait()
        drain = asyncio.create_task(line.running.worker.drain(patience_seconds=10))
        await asyncio.sleep(0)
        may_answer.set()
        await drain
        assert await count(line, DeliveryState.SENDING) == 0


async def test_what_comes_while_the_agenda_is_read_is_not_forgotten(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        worker, store = line.running.worker, line.running.store
        read, is_read, may_answer = store.read, asyncio.Event(), asyncio.Event()

        async def read_slowly(*given: Any, **named: Any) -> Any:
            found = await read(*given, **named)
            is_read.set()
            await may_answer.wait()
            return found

        # Nothing is handed over, so that the event waits for the agenda.
        line.running.worker._slots.behind.add(notifier["id"])
        store.read = read_slowly  # type: ignore[method-assign]  # to come at that very moment
        worker.wake()
        await is_read.wait()
        store.read = read  # type: ignore[method-assign]
        line.running.worker._slots.behind.add(notifier["id"])
        await line.post()
        may_answer.set()
        async with asyncio.timeout(POLL_SECONDS * 3):  # the next reading comes after 5 s
            await receiver.wait_for(2)


async def test_a_wake_up_that_names_a_notifier_claims_for_it(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        await receiver.wait_for(1)
        await line.running.worker.settled()
        store, asked = line.running.store, asyncio.Queue[Any]()
        claim = store.claim

        async def note(slots: Any) -> Any:
            await asked.put(list(slots))
            return await claim(slots)

        store.claim = note  # type: ignore[method-assign]  # noted, not changed
        line.running.worker.wake(frozenset({notifier["id"]}))  # nothing is due: the agenda alone would not ask
        async with asyncio.timeout(POLL_SECONDS * 3):
            assert await asked.get() == [notifier["id"]]


async def test_claims_are_as_far_apart_as_the_store_would_have_them(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line, receiving() as receiver:
        path = await hold_back(line, receiver)
        store, begun_seconds = line.running.store, list[float]()
        claim = store.claim

        async def note(slots: Any) -> Any:
            begun_seconds.append(asyncio.get_running_loop().time())
            return await claim(slots)

        store.claim = note  # type: ignore[method-assign]  # noted, not changed
        await line.client.post(f"{path}/resume")
        await receiver.wait_for(EVENTS + 1)
    apart_seconds = [later - earlier for earlier, later in itertools.pairwise(begun_seconds)]
    assert len(apart_seconds) >= EVENTS // MAX_LEASES - 1
    # A round reads before it claims, now and then, so that single ones may be closer.
    assert sum(apart_seconds) >= store.claim_pace_seconds * (len(apart_seconds) - 1)


async def test_attempts_under_way_are_counted(tmp_path: Path) -> None:
    async with straight_line(tmp_path) as line:
        registry = line.running.metrics.registry
        seen: list[float | None] = []

        def look(_: Got) -> bytes:
            seen.append(registry.get_sample_value("tocsin_attempts_under_way"))
            return answer(204)

        async with receiving(look) as receiver:
            await line.add_notifier(type_data={"webhook_url": receiver.url})
            await receiver.wait_for(1)
            await line.running.worker.settled()
        assert seen == [1]
        assert registry.get_sample_value("tocsin_attempts_under_way") == 0
