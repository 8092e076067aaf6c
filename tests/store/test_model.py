"""Random lives of deliveries, compared with a model that is small enough to be plainly right."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import EMPTY
from tests.store.cast import LEASE, LIFETIME, FakeDispatch, Stage, add_events, delivered, failed, insert_cast, to_retry
from tocsin.clock import ManualClock
from tocsin.model import AttemptOutcome, DeliveryState, Notifier, NotifierState
from tocsin.store.endings import cancel_unwanted
from tocsin.store.leases import MAX_LOST_LEASES, SUSPECT_LOST_LEASES, reap_leases
from tocsin.store.port import Accepted, Claim, NewEvents, Store
from tocsin.store.postgres import open_postgres
from tocsin.store.replays import replay
from tocsin.store.sqlite import SqliteStore

ENDED = {DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.CANCELLED}


Fresh = Callable[[ManualClock, FakeDispatch], Awaitable[Store]]
"""Opens a database in which nothing is yet."""


class Expected:
    """What the model knows of one delivery."""

    def __init__(self, notifier_id: str, due_at: datetime) -> None:
        self.notifier_id = notifier_id
        self.state = DeliveryState.PENDING
        self.due_at = due_at
        self.outcomes: list[AttemptOutcome] = []
        self.lost_in_a_row = 0
        self.lease: Claim | None = None

    @property
    def is_suspect(self) -> bool:
        return self.lost_in_a_row >= SUSPECT_LOST_LEASES


class StoreMachine(RuleBasedStateMachine):
    fresh: Fresh

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.expected: dict[str, Expected] = {}
        self.lost: list[Claim] = []
        self.notifiers: list[Notifier] = []
        self.accepted: set[tuple[str, str]] = set()

    def run(self, act):
        return self.loop.run_until_complete(act)

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        clock, dispatch = ManualClock(datetime.now(UTC)), FakeDispatch()
        store = await self.fresh(clock, dispatch)
        self.stage = Stage(store, clock, dispatch, partial(self.fresh, clock, dispatch))
        await store.write(insert_cast, clock.now())
        self.notifiers = [await self.stage.add_notifier("one"), await self.stage.add_notifier("two")]

    def teardown(self) -> None:
        self.run(self.stage.store.close())
        self.run(asyncio.sleep(0))
        self.loop.close()

    @rule(count=st.integers(1, 3), slots=st.integers(0, 2))
    def ingest(self, count: int, slots: int) -> None:
        stage = self.stage
        stage.dispatch.free = slots
        events = tuple(stage.event() for _ in range(count))

        async def store() -> Accepted:
            return await add_events(stage.store, NewEvents(app_id=events[0].app_id or "", events=events))

        accepted = self.run(store())
        wanted = {(event.id, notifier.id) for event in events for notifier in self.notifiers if notifier.active}
        self.accepted |= wanted
        for delivery in self.run(stage.deliveries()):
            if delivery.id not in self.expected:
                assert (delivery.event_id, delivery.notifier_id) in wanted
                self.expected[delivery.id] = Expected(delivery.notifier_id, stage.clock.now())
        for claim in accepted.claims:
            self._lease(claim)

    def _lease(self, claim: Claim) -> None:
        known = self.expected[claim.delivery_id]
        assert known.state is DeliveryState.PENDING, "claimed while it was under way, or over"
        assert known.due_at <= self.stage.clock.now()
        assert claim.attempt == len(known.outcomes) + 1
        known.state, known.lease = DeliveryState.SENDING, claim

    @rule(which=st.integers(0, 1), count=st.integers(1, 4))
    def claim(self, which: int, count: int) -> None:
        notifier, now = self.notifiers[which], self.stage.clock.now()
        claims = self.run(self.stage.claim(notifier, count))
        due = [
            known
            for known in self.expected.values()
            if (known.notifier_id, known.state) == (notifier.id, DeliveryState.PENDING) and known.due_at <= now
        ]
        suspects = [known for known in due if known.is_suspect]
        is_alone = not any(known.lease and known.is_suspect for known in self.expected.values())
        claimable = len(due) - len(suspects) + bool(suspects and is_alone)
        assert len(claims) == (min(count, claimable) if notifier.active else 0)
        for claim in claims:
            self._lease(claim)

    @precondition(lambda self: any(known.lease for known in self.expected.values()))
    @rule(pick=st.integers(0, 99), how=st.sampled_from(["delivered", "failed", "retry"]))
    def settle(self, pick: int, how: str) -> None:
        under_way = [known for known in self.expected.values() if known.lease]
        known = under_way[pick % len(under_way)]
        claim, now = known.lease, self.stage.clock.now()
        assert claim is not None
        settlement = {
            "delivered": delivered(claim, now),
            "failed": failed(claim, now),
            "retry": to_retry(claim, now, after=timedelta(seconds=30)),
        }[how]
        assert self.run(self.stage.settle(settlement))
        known.state, known.lease, known.lost_in_a_row = settlement.state, None, 0
        known.outcomes.append(settlement.attempt.outcome)
        known.due_at = settlement.next_attempt_at or known.due_at

    @precondition(lambda self: self.lost)
    @rule(pick=st.integers(0, 99))
    def settle_late(self, pick: int) -> None:
        claim = self.lost[pick % len(self.lost)]
        assert not self.run(self.stage.settle(delivered(claim, self.stage.clock.now())))

    @rule(seconds=st.sampled_from([1, 20, 30, 50]))
    def advance(self, seconds: int) -> None:
        self.stage.clock.advance(seconds)

    @rule()
    def reap(self) -> None:
        now = self.stage.clock.now()
        count = self.run(self.stage.store.write(reap_leases, lease_until=now, at=now))
        over = [known for known in self.expected.values() if known.lease and known.lease.claimed_at + LEASE < now]
        assert count == len(over)
        for known in over:
            assert known.lease is not None
            self.lost.append(known.lease)
            known.lease, known.due_at = None, now
            known.outcomes.append(AttemptOutcome.UNKNOWN)
            known.lost_in_a_row += 1
            poison = known.lost_in_a_row >= MAX_LOST_LEASES
            known.state = DeliveryState.FAILED if poison else DeliveryState.PENDING

    @rule(which=st.integers(0, 1))
    def turn_off_or_on(self, which: int) -> None:
        notifier = self.notifiers[which]
        state = NotifierState.OFF if notifier.active else NotifierState.ACTIVE
        self.notifiers[which] = self.run(self.stage.edit_notifier(notifier, active=not notifier.active, state=state))
        if state is NotifierState.OFF:
            self._cancel(notifier.id)

    @rule()
    def cancel_unwanted(self) -> None:
        self.run(self.stage.store.write(cancel_unwanted, at=self.stage.clock.now()))
        for notifier in self.notifiers:
            if not notifier.active:
                self._cancel(notifier.id)

    def _cancel(self, notifier_id: str) -> None:
        for known in self.expected.values():
            if (known.notifier_id, known.state) == (notifier_id, DeliveryState.PENDING):
                known.state = DeliveryState.CANCELLED

    @precondition(lambda self: any(known.state in ENDED for known in self.expected.values()))
    @rule(pick=st.integers(0, 99))
    def replay(self, pick: int) -> None:
        ended = [delivery for delivery in self.run(self.stage.deliveries()) if delivery.state in ENDED]
        delivery, now = ended[pick % len(ended)], self.stage.clock.now()
        new_id = self.run(self.stage.store.write(replay, delivery, at=now, expires_at=now + LIFETIME))
        self.expected[new_id] = Expected(delivery.notifier_id, now)

    @invariant()
    def the_store_is_as_expected(self) -> None:
        if not hasattr(self, "stage"):
            return
        found = {delivery.id: delivery for delivery in self.run(self.stage.deliveries())}
        assert {id_: delivery.state for id_, delivery in found.items()} == {
            id_: known.state for id_, known in self.expected.items()
        }
        firsts = {(delivery.event_id, delivery.notifier_id) for delivery in found.values() if not delivery.replay_of}
        assert firsts == self.accepted
        for delivery in found.values():
            assert (delivery.next_attempt_at is not None) == (delivery.state is DeliveryState.PENDING)
            assert (delivery.finished_at is not None) == (delivery.state in ENDED)

    @invariant()
    def attempts_are_numbered_without_a_gap(self) -> None:
        for id_, known in self.expected.items():
            attempts = self.run(self.stage.attempts(id_))
            assert [attempt.number for attempt in attempts] == list(range(1, len(known.outcomes) + 1))
            assert [attempt.outcome for attempt in attempts] == known.outcomes


def fresh_sqlite(template: Path, folder: Path) -> Fresh:
    async def fresh(clock: ManualClock, dispatch: FakeDispatch) -> Store:
        path = Path(tempfile.mkdtemp(dir=folder)) / "tocsin.db"
        shutil.copy(template, path)
        return SqliteStore(f"sqlite:///{path}", clock=clock, dispatch=dispatch)

    return fresh


def fresh_postgres(url: str) -> Fresh:
    async def fresh(clock: ManualClock, dispatch: FakeDispatch) -> Store:
        connection = await asyncpg.connect(url)
        await connection.execute(EMPTY)
        await connection.close()
        return await open_postgres(url, clock=clock, dispatch=dispatch, pool_size=2)

    return fresh


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_deliveries_live_as_the_model_says(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "sqlite":
        fresh = fresh_sqlite(request.getfixturevalue("migrated_sqlite"), tmp_path)
    else:
        fresh = fresh_postgres(request.getfixturevalue("migrated_postgres_url"))
    machine = type("Machine", (StoreMachine,), {"fresh": staticmethod(fresh)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
