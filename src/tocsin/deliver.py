"""One delivery's attempt: render, send, settle. The one place that catches whatever a platform may raise.

Stop before: `worker`, which holds the claim. Stops on the way: `rendering`, `platforms`, `egress`, `retry`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog

from tocsin.clock import Clock
from tocsin.errors import PermanentFailure, PlatformError, StoreError, TemporaryFailure
from tocsin.metrics import Metrics
from tocsin.model import (
    Attempt,
    AttemptOutcome,
    DeliveryReason,
    DeliveryState,
    Event,
    Message,
    Notifier,
    Reason,
    Response,
    User,
)
from tocsin.platforms.base import Network, Outgoing, Platform, SettingKind
from tocsin.rendering import render
from tocsin.retry import GiveUp, TryAgain, next_step, parse_retry_after
from tocsin.store.port import Claim, Settlement, Store

RECORDED_BODY_BYTES = 4096
SETTLE_PAUSE_SECONDS = 0.5

MembersOf = Callable[[str, Sequence[str]], Awaitable[list[User]]]
"""The users of these ids who still belong to an app."""

UnsubscribeUrl = Callable[[str, str], str]
"""The signed link by which a recipient leaves a notifier: of notifier id and address."""

_EVENT = msgspec.json.Decoder(Event)


def _render(body: bytes) -> Message:
    return render(_EVENT.decode(body))


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


class _Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, before it is decided what follows."""

    outcome: AttemptOutcome
    reason: Reason | None = None
    response: Response | None = None
    error: str | None = None
    retry_after_seconds: float | None = None


class Deliver:
    """Makes attempts and settles them."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        platforms: Mapping[str, Platform],
        network: Network,
        members_of: MembersOf,
        unsubscribe_url: UnsubscribeUrl,
        pace: Pace,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._clock = clock
        self._platforms = platforms
        self._network = network
        self._members_of = members_of
        self._unsubscribe_url = unsubscribe_url
        self._schedule_seconds = pace.schedule_seconds
        self._lease = timedelta(seconds=pace.lease_seconds)
        self._latest_start = timedelta(seconds=pace.lease_seconds - pace.timeout_seconds - 5)
        self._metrics = metrics
        self._log = structlog.get_logger("tocsin.deliver").bind()

    def is_too_late(self, claim: Claim) -> bool:
        """Whether so much of the lease has gone that the attempt could outlive it and be made twice."""
        return self._clock.now() - claim.claimed_at > self._latest_start

    async def attempt(self, claim: Claim) -> Settlement:
        """Make the claimed attempt and decide what follows from how it ended; `settle` records it."""
        started_at = self._clock.now()
        begun = self._clock.monotonic()
        try:
            ended = await self._send(
                claim.notifier, claim.event_id, claim.body, claim.delivery_id, claim.attempt, started_at
            )
        except asyncio.CancelledError:
            # The process stops: whether the message went out is not known, so that it is sent again.
            ended = _Ended(outcome=AttemptOutcome.UNKNOWN, reason=Reason.LEASE_LOST, error="cut short by a stop")
        duration_ms = round((self._clock.monotonic() - begun) * 1000)
        attempt = _attempt(claim.attempt, started_at, duration_ms, ended)
        settlement = self._decide(claim, attempt, ended)
        self._report(claim, settlement)
        return settlement

    async def probe(self, notifier: Notifier, body: bytes, delivery_id: str) -> Attempt:
        """Make one attempt that is not stored anywhere: for trying out a notifier. `body` is the event's."""
        started_at = self._clock.now()
        begun = self._clock.monotonic()
        event_id = _EVENT.decode(body).id
        ended = await self._send(notifier, event_id, body, delivery_id, 1, started_at)
        if ended.outcome is AttemptOutcome.RETRY:
            ended = msgspec.structs.replace(ended, outcome=AttemptOutcome.FAILED)
        return _attempt(1, started_at, round((self._clock.monotonic() - begun) * 1000), ended)

    async def _send(
        self, notifier: Notifier, event_id: str, body: bytes, delivery_id: str, number: int, started_at: datetime
    ) -> _Ended:
        try:
            platform = self._platforms[notifier.platform]
            outgoing = Outgoing(
                delivery_id=delivery_id,
                attempt=number,
                event_id=event_id,
                app_id=notifier.app_id,
                body=body,
                render=_render,
                notifier_id=notifier.id,
                notifier_name=notifier.name,
                type_data=notifier.type_data,
                secret=notifier.secret,
                members=await self._members(platform, notifier),
                sent_at=started_at,
                unsubscribe_url=lambda address: self._unsubscribe_url(notifier.id, address),
            )
            response = await platform.send(outgoing, self._network)
        except TemporaryFailure as failure:
            return _failed(AttemptOutcome.RETRY, failure, retry_after_seconds=self._retry_after_seconds(failure))
        except PermanentFailure as failure:
            return _failed(AttemptOutcome.FAILED, failure)
        except Exception as error:  # noqa: BLE001 - reported with its traceback
            # A defect of ours must cost one message a retry, never the worker.
            self._log.exception("delivery.crashed", delivery_id=delivery_id, platform=notifier.platform)
            return _Ended(
                outcome=AttemptOutcome.RETRY,
                reason=Reason.CRASHED,
                error=f"Tocsin failed to send this: {type(error).__name__}",
            )
        return _Ended(outcome=AttemptOutcome.DELIVERED, response=response)

    def _retry_after_seconds(self, failure: TemporaryFailure) -> float | None:
        response = failure.response
        if failure.retry_after_seconds is not None or response is None:
            return failure.retry_after_seconds
        asked = response.header("retry-after")
        return parse_retry_after(asked, answered_at=response.header("date"), now=self._clock.now())

    async def _members(self, platform: Platform, notifier: Notifier) -> tuple[User, ...]:
        named: list[str] = []
        for setting in platform.settings:
            if setting.kind is SettingKind.MEMBERS:
                named.extend(notifier.type_data.get(setting.name) or ())
        return tuple(await self._members_of(notifier.app_id, named)) if named else ()

    def _decide(self, claim: Claim, attempt: Attempt, ended: _Ended) -> Settlement:
        now = self._clock.now()
        state, reason, next_at = DeliveryState.DELIVERED, None, None
        if ended.outcome is AttemptOutcome.UNKNOWN:
            state, next_at = DeliveryState.PENDING, now
        elif ended.outcome is AttemptOutcome.FAILED:
            state = DeliveryState.FAILED
            reason = _FINAL.get(ended.reason or Reason.REJECTED, DeliveryReason.REJECTED)
        elif ended.outcome is AttemptOutcome.RETRY:
            step = next_step(
                attempt=claim.attempt,
                schedule_seconds=self._schedule_seconds,
                now=now,
                expires_at=claim.expires_at,
                chance=random.random(),  # noqa: S311 - spreads load, keeps no secret
                retry_after_seconds=ended.retry_after_seconds,
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

    async def settle(self, claim: Claim, settlement: Settlement) -> None:
        """Record the outcome; while the database cannot, keep trying as long as the lease is ours."""
        while True:
            try:
                if not await self._store.settle(settlement):
                    self._metrics.lost_leases.inc()
                    self._log.warning("delivery.lease_lost", delivery_id=claim.delivery_id, attempt=claim.attempt)
            except StoreError as error:
                if self._clock.now() - claim.claimed_at > self._lease:
                    self._log.error("delivery.not_settled", delivery_id=claim.delivery_id, error=str(error))
                    return
                await asyncio.sleep(SETTLE_PAUSE_SECONDS)
            else:
                return

    def _report(self, claim: Claim, settlement: Settlement) -> None:
        attempt = settlement.attempt
        self._metrics.attempted(claim.notifier.platform, attempt)
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


def _failed(outcome: AttemptOutcome, failure: PlatformError, *, retry_after_seconds: float | None = None) -> _Ended:
    return _Ended(
        outcome=outcome,
        reason=failure.reason,
        response=failure.response,
        error=failure.message,
        retry_after_seconds=retry_after_seconds,
    )


def _attempt(number: int, started_at: datetime, duration_ms: int, ended: _Ended) -> Attempt:
    response = ended.response
    return Attempt(
        number=number,
        started_at=started_at,
        duration_ms=duration_ms,
        outcome=ended.outcome,
        reason=ended.reason,
        response_status=response.status if response else None,
        response_body=_as_text(response.body) if response and response.body else None,
        error=ended.error,
    )


def _as_text(body: bytes) -> str:
    """The first 4 KiB of an answer as text that is safe to show: no control characters but tabs and line ends."""
    text = body[:RECORDED_BODY_BYTES].decode("utf-8", "replace")
    return "".join(
        letter if letter in "\t\r\n" or not (ord(letter) < 32 or 127 <= ord(letter) < 160) else "\ufffd"
        for letter in text
    )
