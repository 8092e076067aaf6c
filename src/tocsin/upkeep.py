"""What must happen without a request: lost leases taken back, recorded fan-outs made, old things given up or pruned."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from tocsin.clock import Clock, JumpWatch
from tocsin.dispatch import Dispatcher
from tocsin.errors import StoreError
from tocsin.store.audit import prune_audit
from tocsin.store.chores import find_chores
from tocsin.store.deliveries import new_delivery
from tocsin.store.endings import STEP, cancel_unwanted, expire
from tocsin.store.fanouts import add_fanned_out, find_fanout
from tocsin.store.leases import reap_leases
from tocsin.store.lives import lease_probe, list_probes_due
from tocsin.store.notifiers import list_lifetimes_of
from tocsin.store.port import INLINE_FANOUT, Claim, Store
from tocsin.store.sessions import remove_expired
from tocsin.store.set_clocks import set_back
from tocsin.store.tallies import fold_tallies, prune_tallies

ROUND_SECONDS = 5.0
PACE_SECONDS = 0.1
"""The least time between two rounds: its own writes wake it too, and a row that somebody else has locked is left over
by each of them."""

PRUNE_SECONDS = 600.0
KEY_LIFETIME = timedelta(hours=24)
"""How long an idempotency key is remembered."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long is kept what is over: events with their deliveries, and entries of the audit log."""

    history: timedelta
    audit: timedelta


class Upkeep:
    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        dispatch: Dispatcher,
        retention: Retention,
        lease_seconds: float,
        resume_due: Callable[[], Awaitable[None]],
        probe: Callable[[Claim], Awaitable[None]],
        ready: frozenset[str],
    ) -> None:
        """`probe` makes an attempt that is leased; `ready` names the platforms that are set up."""
        self._store = store
        self._clock = clock
        self._dispatch = dispatch
        self._retention = retention
        self._lease = timedelta(seconds=lease_seconds)
        self._resume_due = resume_due
        self._probe = probe
        self._ready = ready
        self._next_end: datetime | None = None
        self._jumps = JumpWatch(clock)
        self._trusts_clock_at = float("-inf")
        self._set_back_by = timedelta()
        self._pruned = float("-inf")
        self._woken = asyncio.Event()
        self._log = structlog.get_logger("tocsin.upkeep").bind()

    def wake(self, _notifier_ids: frozenset[str] | None = None) -> None:
        """There is something to look after now."""
        self._woken.set()

    async def run(self) -> None:
        """Look after things until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.round()
            except StoreError as error:
                self._log.warning("upkeep.store_unavailable", error=str(error))
                await asyncio.sleep(1)
            await asyncio.sleep(PACE_SECONDS)
            try:
                async with asyncio.timeout(self._wait_seconds()):
                    await self._woken.wait()
            except TimeoutError:
                pass

    def _wait_seconds(self) -> float:
        if self._next_end is None:
            return ROUND_SECONDS
        return min(max((self._next_end - self._clock.now()).total_seconds(), 0), ROUND_SECONDS)

    async def round(self) -> None:
        """Do what is to be done now, once."""
        await self._follow_clock()
        now = self._clock.now()
        is_time_trusted = self._clock.monotonic() >= self._trusts_clock_at
        chores = await self._store.read(find_chores, now)
        if chores.has_fanouts:
            await self._fan_out()
        if chores.has_lost_leases and is_time_trusted:
            count = await self._in_steps(reap_leases, lease_until=now, at=now)
            self._log.warning("upkeep.leases_taken_back", count=count)
        if chores.has_expired and is_time_trusted:
            count = await self._in_steps(expire, at=now)
            self._log.info("upkeep.deliveries_expired", count=count)
        if chores.has_unwanted:
            await self._in_steps(cancel_unwanted, at=now)
        if chores.has_holds_over:
            await self._resume_due()
        if chores.has_probes:
            await self._make_probes(now)
        self._next_end = chores.next_end
        if self._clock.monotonic() - self._pruned >= PRUNE_SECONDS:
            await self._prune()

    async def _make_probes(self, now: datetime) -> None:
        """Try each failing notifier whose time has come with one delivery."""
        for notifier_id in await self._store.read(list_probes_due, self._ready, now):
            lease_until = self._dispatch.lease_until(now)
            claim = await self._store.write(
                lease_probe, notifier_id, token=uuid.uuid4().hex, at=now, lease_until=lease_until
            )
            if claim is not None:
                await self._probe(claim)

    async def _follow_clock(self) -> None:
        """When the clock was set, no attempt under way may seem lost, and nothing may wait for a time long gone.

        Until each lease of before must have ended, none is taken back. Set forward, all is due at once, and is tried
        before anything is found to have expired.
        """
        jump = self._jumps.look()
        if jump:
            self._log.warning("clock.was_set", seconds=jump.total_seconds())
            self._trusts_clock_at = self._clock.monotonic() + self._lease.total_seconds() + ROUND_SECONDS
            self._pruned = max(self._pruned, self._clock.monotonic())
            self._set_back_by = max(timedelta(), self._set_back_by - jump)
        if self._set_back_by:
            await self._store.write(set_back, now=self._clock.now(), by=self._set_back_by, lease=self._lease)
            self._set_back_by = timedelta()

    async def _in_steps(self, verb: Callable[..., int], **given: Any) -> int:
        """Carry out a verb that has a limit, in short transactions, until it finds no more; answers with how many."""
        total = 0
        while True:
            count = await self._store.write(verb, **given, limit=STEP)
            total += count
            if count < STEP:
                return total

    async def _fan_out(self) -> None:
        """Make the deliveries of events with many notifiers, some in each transaction, until none is owed."""
        while (duty := await self._store.read(find_fanout)) is not None:
            done = duty.done_count
            some = duty.notifier_ids[done : done + INLINE_FANOUT]
            lifetimes = await self._store.read(list_lifetimes_of, some)
            rows = [
                new_delivery(
                    app_id=duty.app_id,
                    event_id=duty.event_id,
                    event_type=duty.event_type,
                    notifier_id=notifier_id,
                    at=duty.received_at,
                    expires_at=duty.received_at + self._dispatch.lifetime(*lifetimes[notifier_id]),
                )
                for notifier_id in some
                if notifier_id in lifetimes
            ]
            end = done + len(some)
            is_last = end >= len(duty.notifier_ids)
            await self._store.write(
                add_fanned_out, duty.event_id, rows, seen_count=done, done_count=end, is_last=is_last
            )

    async def _prune(self) -> None:
        """Remove what is older than the retention time, and sessions, links and codes that are over."""
        now = self._clock.now()
        await self._in_steps(remove_expired, at=now)
        await self._store.prune(finished_before=now - self._retention.history, keys_before=now - KEY_LIFETIME)
        await self._in_steps(prune_tallies, before=now - self._retention.history)
        await self._in_steps(fold_tallies, at=now)
        await self._in_steps(prune_audit, before=now - self._retention.audit, at=now)
        self._pruned = self._clock.monotonic()
