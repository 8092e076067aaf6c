"""Which claims may be attempted now, and which wait in line. In memory alone: a claim that waits is still leased.

A process leases a little more than it sends at once, so that the next message is at hand when an attempt ends and
needs no claim query of its own. What hangs leaves the fast slots while it is under way, so that it costs the others a
moment and no slot.
"""

from collections import deque
from collections.abc import Callable
from zlib import crc32

from tocsin.clock import Clock
from tocsin.gates import Gate, Gates, Lane, Wait
from tocsin.model import Attempt
from tocsin.slots import Slots
from tocsin.standings import LATE_SECONDS, YIELD_SECONDS, Standing, Standings
from tocsin.store.port import Claim


class _Attempt:
    """A claim under way, since when, and where it counts."""

    __slots__ = ("begun_seconds", "claim", "gates", "is_late", "lane", "standing")

    def __init__(self, claim: Claim, standing: Standing, lane: Lane, gates: Gates, begun_seconds: float) -> None:
        self.claim = claim
        self.standing = standing
        self.lane = lane
        self.gates = gates
        self.begun_seconds = begun_seconds
        self.is_late = False


class Lanes:
    """At most so many attempts at once: in all, of each notifier, for each host and port, and of each app.

    Notifiers that are slow have a lane of their own for what they start. What is under way for too long moves there,
    beyond its limit if need be. The others of a notifier wait in the order they came, and the notifiers take turns.
    """

    def __init__(self, standings: Standings, slots: Slots, clock: Clock) -> None:
        self._standings = standings
        self._slots = slots
        self._clock = clock
        self._limits = limits = standings.limits
        untried = Gate(limits.untried)
        self._fast = Lane(limit=limits.fast, per_host=self._per_host, untried=untried)
        self._slow = Lane(limit=limits.slow, per_host=lambda _: limits.slow_per_host, untried=untried)
        # In the order they began. By identity: it is the same claim that begins and ends.
        self._attempts: dict[int, _Attempt] = {}
        self._lines: dict[str, Standing] = {}

    def enter(self, claim: Claim) -> bool:
        """Whether this claim may be attempted now; otherwise it waits in line."""
        standing = self._standings.of(claim.notifier)
        if standing.line is not None:
            standing.line.append(claim)
            return False
        if standing.under_way < standing.limit:
            lane = self._lane_of(standing)
            gates = lane.gates_of(standing)
            if lane.may_start(gates):
                self._start(claim, standing, lane, gates)
                return True
        standing.line = deque((claim,))
        self._lines[claim.notifier.id] = standing
        self._line_up(standing)
        return False

    def leave(self, claim: Claim, *, is_made: bool = True) -> Claim | None:
        """An attempt has ended, or is not made after all.

        Answers with the claim that may be attempted in its place at once; `next` tells what else may be.
        """
        attempt = self._attempts.pop(id(claim))
        standing, lane = attempt.standing, attempt.lane
        now_seconds = self._clock.monotonic()
        if is_made:
            standing.note_latency(now_seconds - attempt.begun_seconds)
        if attempt.is_late:
            standing.note_late(-1)
        line = standing.line
        if line is not None and self._may_follow(standing, attempt):
            following: Claim = line.popleft()
            if not line:
                self._end_line(standing)
            self._attempts[id(following)] = _Attempt(following, standing, lane, attempt.gates, now_seconds)
            return following
        standing.under_way -= 1
        lane.give_back(attempt.gates)
        if lane is self._slow:
            self._slots.join(standing.notifier)
            self._note_room()
        if line is not None:
            self._line_up(standing)
        return None

    def _may_follow(self, standing: Standing, attempt: _Attempt) -> bool:
        """Whether the next of a notifier may take the place of its last: it was at its own bound, and nobody waits."""
        return (
            attempt.lane is self._fast
            and standing.waits_in is None
            and not standing.is_slow
            and standing.under_way <= standing.limit
            and len(attempt.gates) == 2  # not as one without a success yet
            and attempt.gates[0].key == standing.host
            and self._fast.may_follow(attempt.gates)
        )

    def judge(self, notifier_id: str, attempt: Attempt) -> None:
        """Learn from how an attempt of this notifier ended."""
        standing = self._standings.find(notifier_id)
        if standing is not None and standing.judge(attempt):
            self._line_up(standing)

    def next(self) -> Claim | None:
        """The claim that may be attempted now, if one waits for nothing."""
        for lane in (self._fast, self._slow):
            while lane.called.lines and (wait := lane.next()) is not None:
                standing = wait.standing
                if self._lane_of(standing) is lane and standing.under_way < standing.limit:
                    return self._next_of(standing, lane)
                lane.pass_on(wait)
                self._line_up(standing)
        return None

    def sweep(self) -> None:
        """Let what takes long leave the fast slots. To be called some times a second while anything is under way."""
        now_seconds = self._clock.monotonic()
        for attempt in self._attempts.values():
            age_seconds = now_seconds - attempt.begun_seconds
            if age_seconds < YIELD_SECONDS:
                break
            standing = attempt.standing
            if not attempt.is_late and age_seconds >= standing.patience_seconds:
                attempt.is_late = True
                standing.note_late(1)
            if attempt.lane is self._fast and not standing.is_bounded:
                is_over = age_seconds >= LATE_SECONDS
                if is_over or self._fast.is_wanted(attempt.gates):
                    self._move(attempt)

    def divide(self, count: int, own: int) -> None:
        """Take this worker's share, of so many workers, of what holds for all of them."""
        if self._standings.divide(count, own):
            self._fast.divide()
            for standing in list(self._lines.values()):
                self._line_up(standing)

    @property
    def under_way(self) -> int:
        """Attempts being made now."""
        return len(self._attempts)

    @property
    def slow_under_way(self) -> int:
        """Those of them that do not count in the fast slots."""
        return self._slow.taken

    @property
    def waiting(self) -> int:
        """Claims that wait in line."""
        return sum(len(standing.line or ()) for standing in list(self._lines.values()))

    def waiting_notifiers(self) -> list[str]:
        return list(self._lines)

    def withdraw(self, is_unwanted: Callable[[Claim], bool]) -> list[Claim]:
        """Take the claims of which this holds out of their lines."""
        withdrawn: list[Claim] = []
        for standing in list(self._lines.values()):
            line = standing.line or deque()
            withdrawn.extend(claim for claim in line if is_unwanted(claim))
            kept = deque(claim for claim in line if not is_unwanted(claim))
            if kept:
                standing.line = kept
            else:
                self._end_line(standing)
        return withdrawn

    def _per_host(self, host: str) -> int:
        bound = self._limits.connections.get(host)
        if bound is not None:
            return bound
        # With more workers than a host may have attempts, each has one: a notifier's own share is exact.
        return max(1, self._standings.share.of(self._limits.per_host, crc32(host.encode())))

    def _lane_of(self, standing: Standing) -> Lane:
        return self._slow if standing.is_slow else self._fast

    def _line_up(self, standing: Standing) -> None:
        """Let a notifier that has a line, and may send more, wait in the lane where it belongs."""
        if standing.line is None:
            return
        lane, wait = self._lane_of(standing), standing.waits_in
        if isinstance(wait, Wait):
            if wait.lane is lane:
                return
            wait.lane.leave(standing)
            self._note_room()
        if standing.under_way < standing.limit:
            lane.wait(standing)
            if lane is self._slow:
                self._note_room()

    def _next_of(self, standing: Standing, lane: Lane) -> Claim:
        line = standing.line
        assert line is not None  # noqa: S101
        claim: Claim = line.popleft()
        self._start(claim, standing, lane, lane.gates_of(standing))
        if line:
            self._line_up(standing)
        else:
            self._end_line(standing)
        return claim

    def _end_line(self, standing: Standing) -> None:
        standing.line = None
        del self._lines[standing.notifier.id]
        if isinstance(standing.waits_in, Wait):
            standing.waits_in.lane.leave(standing)
            self._note_room()

    def _start(self, claim: Claim, standing: Standing, lane: Lane, gates: Gates) -> None:
        lane.take(gates)
        standing.under_way += 1
        self._attempts[id(claim)] = _Attempt(claim, standing, lane, gates, self._clock.monotonic())
        if lane is self._slow:
            self._slots.part(standing.notifier)
            self._note_room()

    def _move(self, attempt: _Attempt) -> None:
        standing = attempt.standing
        gates = self._slow.gates_of(standing)
        if not self._slow.has_room_to_move(gates, self._limits.slow_in_all):
            return
        self._slow.take(gates)
        self._fast.give_back(attempt.gates)
        attempt.lane, attempt.gates = self._slow, gates
        self._slots.part(standing.notifier)
        self._note_room()

    def _note_room(self) -> None:
        self._slots.slow_room = self._slow.limit - self._slow.taken - self._slow.waiting
