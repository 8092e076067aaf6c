"""How outcomes are recorded: again while the database cannot, never for ever, and told once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import tocsin.deliver
from tocsin.clock import ManualClock
from tocsin.deliver import Deliver, Pace
from tocsin.errors import StoreError
from tocsin.health import Health
from tocsin.metrics import Metrics
from tocsin.model import Attempt, AttemptOutcome, DeliveryState, Notifier
from tocsin.sending import OnEnd
from tocsin.store.port import Claim, Settlement

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AWAY = StoreError("the database cannot write")


class Sending:
    """Sends nothing, and ends at once."""

    def __init__(self, outcome: AttemptOutcome) -> None:
        self.outcome = outcome
        self.is_cut_short = False

    def begin(self, *given: Any) -> None:
        on_end: OnEnd = given[-1]
        on_end(Attempt(number=1, started_at=AT, duration_ms=1, outcome=self.outcome), None)

    def cut_short(self) -> None:
        self.is_cut_short = True


class Answers:
    """A store that answers what it is told to, the last answer for ever."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.settlements: list[Settlement] = []
        self.before_answer: Callable[[], None] = lambda: None

    def settle(self, settlement: Settlement, answer: Callable[[bool | Exception], None]) -> None:
        self.settlements.append(settlement)
        self.before_answer()
        given = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        asyncio.get_running_loop().call_soon(answer, given)


class Stage:
    def __init__(self, *answers: bool | Exception, outcome: AttemptOutcome = AttemptOutcome.DELIVERED) -> None:
        self.clock = ManualClock(AT)
        self.store = Answers(*answers)
        self.metrics = Metrics()
        self.told: list[str] = []
        self.is_settled = asyncio.Event()
        pace = Pace(schedule_seconds=(0, 5), timeout_seconds=15, lease_seconds=45)
        self.deliver = Deliver(
            store=self.store,  # type: ignore[arg-type]  # as much of a store as this needs
            clock=self.clock,
            sender=Sending(outcome),  # type: ignore[arg-type]  # as much of a sender as this needs
            pace=pace,
            metrics=self.metrics,
            health=Health(clock=self.clock),
            on_finding=lambda _, __: None,
        )

    async def settle(self) -> list[str]:
        notifier = Notifier(id="no", app_id="a", name="n", platform="webhook", secret="s", created_at=AT, updated_at=AT)
        claim = Claim(
            delivery_id="de",
            app_id="a",
            event_id="e",
            event_type="t",
            attempt=1,
            lease_token="l",
            claimed_at=AT,
            expires_at=AT + timedelta(days=1),
            notifier=notifier,
            body=b"{}",
        )
        self.deliver.begin(claim, lambda _, __: self.told.append("sent"), self._settled)
        async with asyncio.timeout(10):
            await self.is_settled.wait()
        return self.told

    def _settled(self, claim: Claim, settlement: Settlement) -> None:
        self.told.append("settled")
        self.is_settled.set()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tocsin.deliver, "SETTLE_PAUSE_SECONDS", 0.0)


async def test_the_receiver_is_free_before_the_outcome_is_on_disk() -> None:
    stage = Stage(True)
    stage.store.before_answer = lambda: stage.told.append("asked")
    assert await stage.settle() == ["sent", "asked", "settled"]
    assert [settlement.state for settlement in stage.store.settlements] == [DeliveryState.DELIVERED]


async def test_an_outcome_is_recorded_again_while_the_database_is_away() -> None:
    stage = Stage(AWAY, AWAY, True)
    assert await stage.settle() == ["sent", "settled"]
    assert stage.store.settlements == stage.store.settlements[:1] * 3


async def test_an_outcome_is_not_recorded_after_its_lease() -> None:
    stage = Stage(AWAY)
    stage.store.before_answer = lambda: stage.clock.advance(20)
    await stage.settle()
    assert len(stage.store.settlements) == 3


async def test_a_stop_does_not_wait_for_a_database_that_is_away() -> None:
    stage = Stage(AWAY)
    stage.store.before_answer = stage.deliver.cut_short
    assert await stage.settle() == ["sent", "settled"]
    assert len(stage.store.settlements) == 1


async def test_a_lost_lease_is_counted() -> None:
    stage = Stage(False)
    assert await stage.settle() == ["sent", "settled"]
    assert stage.metrics.registry.get_sample_value("tocsin_lost_leases_total") == 1


async def test_a_mistake_of_the_store_ends_the_settling_too() -> None:
    assert await Stage(ZeroDivisionError()).settle() == ["sent", "settled"]


async def test_deliveries_that_fail_together_do_not_return_together() -> None:
    stage = Stage(True, outcome=AttemptOutcome.RETRY)
    for _ in range(50):
        await stage.settle()
    due = [settlement.next_attempt_at for settlement in stage.store.settlements]
    assert len(set(due)) > 40, "those that fall on one microsecond are few"
    assert all(at and timedelta(seconds=3.75) <= at - AT <= timedelta(seconds=6.25) for at in due)
