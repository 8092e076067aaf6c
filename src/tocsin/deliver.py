"""One delivery's attempt: send, decide what follows, settle.

Stop before: `worker`, which holds the claim. Stops on the way: `sending`, `retry`, and the store.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

import msgspec
import structlog

from tocsin.clock import Clock
from tocsin.errors import StoreError
from tocsin.health import Health
from tocsin.life import Finding
from tocsin.metrics import Metrics
from tocsin.model import Asked, Attempt, AttemptOutcome, DeliveryReason, DeliveryState, Notifier, Reason
from tocsin.retry import GiveUp, TryAgain, next_step
from tocsin.sending import Sender, event_id_of
from tocsin.store.port import Claim, Settlement, Store

SETTLE_PAUSE_SECONDS = 0.5

OnSent = Callable[[Claim, Attempt], None]
"""The attempt has ended, and its outcome is not on disk yet."""

OnSettled = Callable[[Claim, Settlement], None]
"""The outcome is on disk, or cannot be put there any more."""

OnFinding = Callable[[str, Finding], None]
"""Gets a notifier's id and what was found out about it."""

_FINAL = {
    Reason.GONE: DeliveryReason.GONE,
    Reason.MISCONFIGURED: DeliveryReason.MISCONFIGURED,
    Reason.EGRESS_BLOCKED: DeliveryReason.EGRESS_BLOCKED,
}


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long one attempt and one lease may last, and the delays before each attempt."""

    schedule_seconds: Sequence[float]
    timeout_seconds: float
    lease_seconds: float


class Deliver:
    """Makes attempts and settles them."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        sender: Sender,
        pace: Pace,
        metrics: Metrics,
        health: Health,
        on_finding: OnFinding,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sender = sender
        self._schedule_seconds = pace.schedule_seconds
        self._lease = timedelta(seconds=pace.lease_seconds)
        self._latest_start = timedelta(seconds=pace.lease_seconds - pace.timeout_seconds - 5)
        self._metrics = metrics
        self._health = health
        self._on_finding = on_finding
        self._is_stopping = False
        self._loop = asyncio.get_running_loop()
        self._log = structlog.get_logger("tocsin.deliver").bind()

    def is_too_late(self, claim: Claim) -> bool:
        """Whether so much of the lease has gone that the attempt could outlive it and be made twice."""
        return self._clock.now() - claim.claimed_at > self._latest_start

    def begin(self, claim: Claim, on_sent: OnSent, on_settled: OnSettled) -> None:
        """Make the claimed attempt and record how it ended; neither is told before this returns."""
        self._sender.begin(
            claim.notifier,
            claim.event_id,
            claim.body,
            claim.delivery_id,
            claim.attempt,
            partial(self._end, claim, on_sent, on_settled),
        )

    def cut_short(self) -> None:
        """End what is under way. An outcome that cannot be recorded from now on is left to its lease."""
        self._is_stopping = True
        self._sender.cut_short()

    async def probe(self, notifier: Notifier, body: bytes, delivery_id: str) -> Attempt:
        """Make one attempt that is not stored anywhere: for trying out a notifier. `body` is the event's."""
        waiter: asyncio.Future[Attempt] = self._loop.create_future()

        def on_end(attempt: Attempt, _: Asked | None) -> None:
            if not waiter.done():
                waiter.set_result(attempt)

        sending = self._sender.begin(notifier, event_id_of(body), body, delivery_id, 1, on_end)
        try:
            attempt = await waiter
        finally:
            sending.cut_short()
        if attempt.outcome is AttemptOutcome.RETRY:
            return msgspec.structs.replace(attempt, outcome=AttemptOutcome.FAILED)
        return attempt

    def _end(
        self,
        claim: Claim,
        on_sent: OnSent,
        on_settled: OnSettled,
        attempt: Attempt,
        asked: Asked | None,
    ) -> None:
        settlement = self._decide(claim, attempt, asked)
        finding = self._health.note(claim.notifier, attempt, asked)
        if finding is not None:
            self._on_finding(claim.notifier.id, finding)
        self._metrics.attempts.count(claim.notifier.platform, attempt)
        self._report(claim, settlement)
        on_sent(claim, attempt)
        self._settle(claim, settlement, on_settled)

    def _decide(self, claim: Claim, attempt: Attempt, asked: Asked | None) -> Settlement:
        now = self._clock.now()
        state, reason, next_at = DeliveryState.DELIVERED, None, None
        if attempt.outcome is AttemptOutcome.UNKNOWN:
            state, next_at = DeliveryState.PENDING, now
        elif attempt.outcome is AttemptOutcome.FAILED:
            state = DeliveryState.FAILED
            reason = _FINAL.get(attempt.reason or Reason.REJECTED, DeliveryReason.REJECTED)
        elif attempt.outcome is AttemptOutcome.RETRY:
            step = next_step(
                attempt=claim.attempt,
                schedule_seconds=claim.notifier.retry_schedule or self._schedule_seconds,
                now=now,
                expires_at=claim.expires_at,
                chance=random.random(),  # noqa: S311 - spreads load, keeps no secret
                wait_seconds=None if asked is None else asked.wait_seconds,
            )
            match step:
                case TryAgain(at=next_at):
                    state = DeliveryState.PENDING
                case GiveUp(reason=reason):
                    state = DeliveryState.FAILED
        return Settlement(
            delivery_id=claim.delivery_id,
            lease_token=claim.lease_token,
            attempt=attempt,
            state=state,
            reason=reason,
            next_attempt_at=next_at,
            finished_at=None if state is DeliveryState.PENDING else now,
        )

    def _settle(self, claim: Claim, settlement: Settlement, on_settled: OnSettled) -> None:
        self._store.settle(settlement, partial(self._settled, claim, settlement, on_settled))

    def _settled(self, claim: Claim, settlement: Settlement, on_settled: OnSettled, answer: bool | Exception) -> None:
        if answer is True:
            on_settled(claim, settlement)
            return
        if isinstance(answer, StoreError) and self._may_settle_later(claim):
            self._loop.call_later(SETTLE_PAUSE_SECONDS, self._settle, claim, settlement, on_settled)
            return
        if isinstance(answer, Exception):
            self._log.error("delivery.not_settled", delivery_id=claim.delivery_id, error=str(answer))
        else:
            self._metrics.lost_leases.inc()
            self._log.warning("delivery.lease_lost", delivery_id=claim.delivery_id, attempt=claim.attempt)
        on_settled(claim, settlement)

    def _may_settle_later(self, claim: Claim) -> bool:
        return not self._is_stopping and self._clock.now() - claim.claimed_at <= self._lease

    def _report(self, claim: Claim, settlement: Settlement) -> None:
        attempt = settlement.attempt
        if attempt.outcome is AttemptOutcome.DELIVERED:
            self._log.debug("delivery.attempted", delivery_id=claim.delivery_id, event_id=claim.event_id)
            return
        self._log.info(
            "delivery.attempted",
            delivery_id=claim.delivery_id,
            event_id=claim.event_id,
            event_type=claim.event_type,
            app_id=claim.app_id,
            notifier_id=claim.notifier.id,
            platform=claim.notifier.platform,
            attempt=attempt.number,
            outcome=attempt.outcome.value,
            reason=attempt.reason and attempt.reason.value,
            status=attempt.response_status,
            duration_ms=attempt.duration_ms,
            state=settlement.state.value,
            next_attempt_at=settlement.next_attempt_at and settlement.next_attempt_at.isoformat(),
        )
