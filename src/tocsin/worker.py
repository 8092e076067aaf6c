"""Who makes attempts when: claims what is due, bounds what is under way, drains on a stop.

Stop before: the store, which holds what is due. Stop after: `deliver`, which says when an attempt has ended.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from tocsin.clock import Clock
from tocsin.deliver import Deliver
from tocsin.errors import StoreError
from tocsin.health import Health
from tocsin.lanes import Lanes
from tocsin.slots import Slots
from tocsin.store.leases import list_due_notifiers, release
from tocsin.store.notifiers import find_sendables
from tocsin.store.port import Accepted, Claim, Settlement, Store

POLL_SECONDS = 1.0
"""How long at most the worker trusts its agenda: a lost wake-up costs a second, never a delivery."""

CLAIM_SIZE = 64
"""Deliveries of one notifier that are claimed at once, at most."""

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
        slots: Slots,
        lanes: Lanes,
        health: Health,
        ready: frozenset[str],
    ) -> None:
        """`slots` bound what is leased and `lanes` what of it is attempted at once.

        `ready` names the platforms that are set up; nothing is claimed for another.
        """
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._slots = slots
        self._lanes = lanes
        self._health = health
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._agenda: dict[str, datetime] = {}
        self._unsettled = 0
        self._giving_back: set[asyncio.Task[None]] = set()
        self._all_settled = asyncio.Event()
        self._in_round = asyncio.Lock()
        self._woken = asyncio.Event()
        self._is_stale = True
        self._is_behind = False
        self._is_stopping = False
        self._refreshed = float("-inf")
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
                self._plan(notifier_id, now)
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
        if self._slots.take_up_to(claim.notifier.id, 1):
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
        if self._is_stale or self._clock.monotonic() - self._refreshed >= POLL_SECONDS:
            await self._refresh()
        asked = self._take_slots()
        if not asked:
            return
        try:
            claimed = await self._store.claim(asked)
        except BaseException:
            for notifier_id, count in asked.items():
                self._slots.give_back(notifier_id, count)
            raise
        for claim in claimed.claims:
            asked[claim.notifier.id] -= 1
            self._launch(claim)
        for notifier_id, unused in asked.items():
            if unused:
                self._slots.give_back(notifier_id, unused)
        self._note(claimed.next_due)

    async def _refresh(self) -> None:
        self._is_stale = False
        line, self._agenda = self._agenda, {}
        found = dict(await self._store.read(list_due_notifiers, self._ready))
        # Whoever stood in line keeps the place, and what was planned meanwhile may be newer than what was read.
        meanwhile, self._agenda = self._agenda, {each: found[each] for each in line if each in found} | found
        for notifier_id, due in meanwhile.items():
            self._plan(notifier_id, due)
        self._refreshed = self._clock.monotonic()
        await self._recheck()
        now = self._clock.now()
        self._slots.behind.clear()
        self._slots.behind.update(notifier_id for notifier_id, due in self._agenda.items() if due <= now)

    async def _recheck(self) -> None:
        """Give back what waits in line for a notifier that was changed, paused or turned off meanwhile."""
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
            self._slots.give_back(claim.notifier.id)
            self._plan(claim.notifier.id, now)

    def _take_slots(self) -> dict[str, int]:
        now = self._clock.now()
        asked: dict[str, int] = {}
        overdue = [notifier_id for notifier_id, due in self._agenda.items() if due <= now]
        # More may wait than was asked for: until a round finds nothing due, each attempt that ends calls for another.
        self._is_behind = bool(overdue)
        for notifier_id in overdue:
            if self._health.is_stopped(notifier_id):
                continue  # what is stored will say so in a moment, and wake this worker
            count = self._slots.take_up_to(notifier_id, CLAIM_SIZE)
            if count:
                asked[notifier_id] = count
                # To the end of the line: whoever was just served waits for the others.
                self._agenda[notifier_id] = self._agenda.pop(notifier_id)
        return asked

    def _note(self, next_due: Mapping[str, datetime | None]) -> None:
        for notifier_id, due in next_due.items():
            self._slots.behind.discard(notifier_id)
            if due is None:
                self._agenda.pop(notifier_id, None)
            else:
                self._agenda[notifier_id] = due

    def _plan(self, notifier_id: str, due: datetime) -> None:
        planned = self._agenda.get(notifier_id)
        if planned is None or due < planned:
            self._agenda[notifier_id] = due

    async def _rest(self) -> None:
        """Wait for a wake-up, the next due time, or the poll, whichever is first."""
        if self._is_stopping:
            return
        now = self._clock.now()
        waits = [(due - now).total_seconds() for due in self._agenda.values() if due > now]
        try:
            async with asyncio.timeout(min([POLL_SECONDS, *waits])):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def _launch(self, claim: Claim) -> None:
        if self._lanes.enter(claim):
            self._begin(claim)

    def _begin(self, claim: Claim) -> None:
        if self._deliver.is_too_late(claim) or self._health.is_stopped(claim.notifier.id):
            self._loop.call_soon(self._leave, claim)
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

    def _sent(self, claim: Claim) -> None:
        # The receiver is free again, before the outcome is on disk.
        self._slots.give_back(claim.notifier.id)
        if self._health.is_stopped(claim.notifier.id):
            self._send_back(self._lanes.withdraw(lambda waiting: waiting.notifier.id == claim.notifier.id))
        self._leave(claim)

    def _leave(self, claim: Claim) -> None:
        following = self._lanes.leave(claim.notifier.id)
        if following is not None:
            self._begin(following)
        if self._is_behind:
            self._woken.set()

    def _settled(self, claim: Claim, settlement: Settlement) -> None:
        self._count_settled()
        if settlement.next_attempt_at is not None:
            self._plan(claim.notifier.id, settlement.next_attempt_at)
            self._woken.set()

    def _count_settled(self) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._all_settled.set()
