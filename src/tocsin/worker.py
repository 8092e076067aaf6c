"""Who makes attempts when: claims what is due, bounds what is under way, drains on a stop.

Stop before: the store, which holds what is due. Stop after: `deliver`, which says when an attempt has ended.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog

from tocsin.agenda import Agenda
from tocsin.clock import Clock, JumpWatch
from tocsin.deliver import Deliver
from tocsin.errors import StoreError
from tocsin.health import Health
from tocsin.lanes import Lanes
from tocsin.model import Attempt, Notifier
from tocsin.slots import Slots
from tocsin.standings import Standings
from tocsin.store.leases import list_due_notifiers, release
from tocsin.store.notifiers import find_sendables
from tocsin.store.port import Accepted, Claim, Claimed, Settlement, Store

POLL_SECONDS = 1.0
"""How long at most the worker trusts its agenda: a lost wake-up costs a second, never a delivery."""

CLAIM_SIZE = 64
"""Deliveries of one notifier that are claimed at once, at most."""

UNKNOWN_AT_ONCE = 500
"""Notifiers that are read in one round because nothing is known of them yet, at most."""

SWEEP_SECONDS = 0.05
"""How often attempts that take long are looked for."""

STORE_PAUSE_SECONDS = 0.5
LAST_SECONDS = 5.0
"""How long a stop waits for the outcomes of what it cut short to be on disk."""


class Worker:
    """The agenda (which notifier has something due, and when) is a hint, made anew from the store now and then."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        deliver: Deliver,
        standings: Standings,
        slots: Slots,
        lanes: Lanes,
        health: Health,
        ready: frozenset[str],
    ) -> None:
        """`slots` bound what is leased and `lanes` what of it is attempted at once, by the notifiers' `standings`.

        `ready` names the platforms that are set up; nothing is claimed for another.
        """
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._standings = standings
        self._slots = slots
        self._lanes = lanes
        self._health = health
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._agenda = Agenda(standings)
        self._sweeping: asyncio.TimerHandle | None = None
        self._unsettled = 0
        self._giving_back: set[asyncio.Task[None]] = set()
        self._all_settled = asyncio.Event()
        self._in_round = asyncio.Lock()
        self._woken = asyncio.Event()
        self._is_stale = True
        self._is_behind = False
        self._is_stopping = False
        self._refreshed = float("-inf")
        self._jumps = JumpWatch(clock)
        self._log = structlog.get_logger("tocsin.worker").bind()

    def start(self, accepted: Accepted) -> None:
        """Send what was handed over at storing, and claim soon what waits."""
        for claim in accepted.claims:
            self._launch(claim)
        if accepted.waiting:
            self.wake(accepted.waiting)

    def wake(self, notifier_ids: frozenset[str] | None = None) -> None:
        """There may be work that the agenda does not know: for these notifiers, or for any."""
        if notifier_ids is None:
            self._is_stale = True
        else:
            now = self._clock.now()
            for notifier_id in notifier_ids:
                self._slots.behind.add(notifier_id)
                self._agenda.plan(notifier_id, now)
        self._woken.set()

    async def run(self) -> None:
        """Claim and send until `drain`."""
        while not self._is_stopping:
            begun_seconds = self._loop.time()
            try:
                async with self._in_round:
                    await self._round()
            except StoreError as error:
                self._is_stale = True
                self._log.warning("worker.store_unavailable", error=str(error))
                await asyncio.sleep(STORE_PAUSE_SECONDS)
            await self._rest()
            await asyncio.sleep(begun_seconds + self._store.claim_pace_seconds - self._loop.time())

    async def probe(self, claim: Claim) -> None:
        """Make an attempt for a notifier to which nothing else is sent now; without a free slot it is given back."""
        if self._slots.take_up_to(claim.notifier, 1):
            self._launch(claim)
        else:
            await self._store.write(release, [(claim.delivery_id, claim.lease_token)], at=self._clock.now())

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._unsettled:
            self._all_settled.clear()
            await self._all_settled.wait()

    async def drain(self, *, patience_seconds: float) -> None:
        """Claim no more, let what is under way end, and give back what has not begun or does not end in time."""
        self._is_stopping = True
        self._slots.close()
        self._woken.set()
        async with self._in_round:  # a claim that is on its way would be leased and known to nobody
            await self._release(self._lanes.withdraw(lambda _: True))
        await self._wait_for_settled(patience_seconds)
        self._deliver.cut_short()
        await self._wait_for_settled(LAST_SECONDS)

    async def _wait_for_settled(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.settled()

    async def _round(self) -> None:
        self._lanes.divide(*self._store.share())
        if self._is_stale or self._clock.monotonic() - self._refreshed >= POLL_SECONDS:
            await self._refresh()
        await self._introduce(self._agenda.advance(self._clock.now())[:UNKNOWN_AT_ONCE])
        asked = self._take_slots()
        if not asked:
            return
        try:
            claimed = await self._store.claim({notifier.id: count for notifier, count in asked.values()})
        except BaseException:
            for notifier, count in asked.values():
                self._unused(notifier.id, count)
            raise
        await self._release(self._take_over(asked, claimed))

    async def _refresh(self) -> None:
        self._is_stale = False
        self._agenda.begin_reading()
        self._agenda.take_over(dict(await self._store.read(list_due_notifiers, self._ready)))
        self._refreshed = self._clock.monotonic()
        await self._recheck()
        self._slots.behind.clear()
        self._slots.behind.update(self._agenda.due_now(self._clock.now()))

    async def _introduce(self, notifier_ids: Sequence[str]) -> None:
        """Read the notifiers of which nothing is known here yet, such as whose they are."""
        if not notifier_ids:
            return
        found = await self._store.read(find_sendables, notifier_ids)
        for notifier in found.values():
            if notifier is not None:
                self._standings.of(notifier)
        unreadable = [notifier_id for notifier_id, notifier in found.items() if notifier is None]
        if unreadable:
            # What is claimed of them is given up.
            await self._store.claim(dict.fromkeys(unreadable, CLAIM_SIZE))
        for notifier_id in notifier_ids:
            self._agenda.introduce(notifier_id)

    async def _recheck(self) -> None:
        """Give back what waits in line for a notifier that was changed, paused or turned off meanwhile.

        When the clock was set, nobody can tell any more how long a lease in line has been held.
        """
        if self._jumps.look():
            await self._release(self._lanes.withdraw(lambda _: True))
        waiting = self._lanes.waiting_notifiers()
        if not waiting:
            return
        current = dict.fromkeys(waiting) | await self._store.read(find_sendables, waiting)
        # Whoever came to wait during the read was not asked for, and stays.
        await self._release(
            self._lanes.withdraw(lambda claim: current.get(claim.notifier.id, claim.notifier) != claim.notifier)
        )

    async def _release(self, claims: Sequence[Claim]) -> None:
        """Give claims back whose attempt was not begun. If the store cannot take them now, their leases end."""
        if not claims:
            return
        now = self._clock.now()
        leases = [(claim.delivery_id, claim.lease_token) for claim in claims]
        try:
            await self._store.write(release, leases, at=now)
        except StoreError as error:
            self._log.warning("worker.not_released", count=len(leases), error=str(error))
        for claim in claims:
            self._unused(claim.notifier.id)

    def _take_slots(self) -> dict[str, tuple[Notifier, int]]:
        """Slots for whose turn it is, by notifier id. What has more due than it gets is called for again."""
        now = self._clock.now()
        slots = self._slots
        asked: dict[str, tuple[Notifier, int]] = {}
        while not slots.is_full:
            standing = self._agenda.next(slots.has_room, is_slow_full=slots.is_slow_full)
            if standing is None:
                break
            notifier = standing.notifier
            if self._health.is_stopped(notifier.id):
                continue  # what is stored will say so in a moment, and wake this worker
            count = slots.take_up_to(notifier, CLAIM_SIZE)
            if count:
                asked[notifier.id] = notifier, count
            elif slots.taken_of(notifier.id):
                self._agenda.rest(notifier.id, now)
            elif (wait_seconds := slots.token_after_seconds(notifier)) is not None:
                self._agenda.plan(notifier.id, now + timedelta(seconds=wait_seconds))
            # Otherwise it is left to the other workers.
        # More may be due than was asked for: until nothing is, each attempt that ends calls for another round.
        self._is_behind = bool(asked) or self._agenda.is_behind
        return asked

    def _take_over(self, asked: Mapping[str, tuple[Notifier, int]], claimed: Claimed) -> list[Claim]:
        """Launch what was claimed, and plan what follows. Answers with what was asked for by a rate that is changed."""
        unused = {notifier_id: count for notifier_id, (_, count) in asked.items()}
        astray: list[Claim] = []
        for claim in claimed.claims:
            notifier = claim.notifier
            unused[notifier.id] -= 1
            if notifier.rate_per_second == asked[notifier.id][0].rate_per_second:
                self._launch(claim)
            else:
                self._standings.of(notifier)
                astray.append(claim)
        now = self._clock.now()
        for notifier_id, count in unused.items():
            if count:
                self._slots.undo(notifier_id, count)
            if notifier_id not in claimed.next_due:
                self._agenda.plan(notifier_id, now)
                continue
            if not self._agenda.is_planned(notifier_id):
                self._slots.behind.discard(notifier_id)
            due = claimed.next_due[notifier_id]
            if due is not None:
                self._agenda.plan(notifier_id, due)
        return astray

    def _unused(self, notifier_id: str, count: int = 1) -> None:
        """Slots that were taken for nothing; what they were for is still due."""
        self._slots.undo(notifier_id, count)
        self._agenda.plan(notifier_id, self._clock.now())

    async def _rest(self) -> None:
        """Wait for a wake-up, the next due time, or the poll, whichever is first."""
        if self._is_stopping:
            return
        wait_seconds = self._agenda.wait_seconds(self._clock.now())
        try:
            async with asyncio.timeout(POLL_SECONDS if wait_seconds is None else min(POLL_SECONDS, wait_seconds)):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def _launch(self, claim: Claim) -> None:
        if self._lanes.enter(claim):
            self._begin(claim)
        self._watch()

    def _go_on(self) -> None:
        """Begin what waits in line and may begin now."""
        while (claim := self._lanes.next()) is not None:
            self._begin(claim)

    def _watch(self) -> None:
        """Look for attempts that take long, as long as any is under way."""
        if self._sweeping is None:
            due_seconds = self._loop.time() + SWEEP_SECONDS
            self._sweeping = self._loop.call_at(due_seconds, self._sweep, due_seconds)

    def _sweep(self, due_seconds: float) -> None:
        self._sweeping = None
        # When the loop itself was held up, there may be answers that it has not read yet.
        if self._loop.time() - due_seconds < SWEEP_SECONDS:
            self._lanes.sweep()
            self._go_on()
            if self._is_behind:
                self._woken.set()
        if self._lanes.under_way:
            self._watch()

    def _begin(self, claim: Claim) -> None:
        if self._deliver.is_too_late(claim) or self._health.is_stopped(claim.notifier.id):
            self._loop.call_soon(partial(self._leave, claim, is_made=False))
            self._send_back([claim])
            return
        self._unsettled += 1
        self._deliver.begin(claim, self._sent, self._settled)

    def _send_back(self, claims: Sequence[Claim]) -> None:
        if claims:
            self._unsettled += 1
            task = self._loop.create_task(self._give_back(claims))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        try:
            await self._release(claims)
        finally:
            self._count_settled()

    def _sent(self, claim: Claim, attempt: Attempt) -> None:
        # Judged before its place is free: what has timed out must not be followed by all that waits for it.
        self._lanes.judge(claim.notifier.id, attempt)
        # The receiver is free again, before the outcome is on disk.
        self._slots.give_back(claim.notifier.id)
        if self._health.is_stopped(claim.notifier.id):
            self._send_back(self._lanes.withdraw(lambda waiting: waiting.notifier.id == claim.notifier.id))
        self._leave(claim)

    def _leave(self, claim: Claim, *, is_made: bool = True) -> None:
        following = self._lanes.leave(claim, is_made=is_made)
        if following is not None:
            self._begin(following)
        self._go_on()
        if self._agenda.call(claim.notifier.id) or self._is_behind:
            self._woken.set()

    def _settled(self, claim: Claim, settlement: Settlement) -> None:
        self._count_settled()
        if settlement.next_attempt_at is not None:
            self._agenda.plan(claim.notifier.id, settlement.next_attempt_at)
            self._woken.set()

    def _count_settled(self) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._all_settled.set()
