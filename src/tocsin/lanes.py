"""Which claims may be attempted now, and which wait in line. In memory alone: a claim that waits is still leased.

A process leases a little more than it sends at once, so that the next message is at hand when an attempt ends and
needs no claim query of its own.
"""

from collections import deque
from collections.abc import Callable

from tocsin.store.port import Claim


class Lanes:
    """At most so many attempts at once, in all and for each notifier; the others wait in the order they came."""

    def __init__(self, *, limit: int, limit_per_notifier: int) -> None:
        self._limit = limit
        self._free = limit
        self._limit_per_notifier = limit_per_notifier
        self._under_way: dict[str, int] = {}
        self._lines: dict[str, deque[Claim]] = {}
        # Notifiers whose line stands still only because the whole process is busy, the longest waiting first.
        self._held_up: dict[str, None] = {}

    def enter(self, claim: Claim) -> bool:
        """Whether this claim may be attempted now; otherwise it waits in line."""
        notifier_id = claim.notifier.id
        if notifier_id not in self._lines and self._may_start(notifier_id):
            self._start(notifier_id)
            return True
        self._lines.setdefault(notifier_id, deque()).append(claim)
        if self._under_way.get(notifier_id, 0) < self._limit_per_notifier:
            self._held_up[notifier_id] = None
        return False

    def leave(self, notifier_id: str) -> Claim | None:
        """An attempt of this notifier ended: the claim that may be attempted in its place, if one waits."""
        self._free += 1
        left = self._under_way[notifier_id] - 1
        if left:
            self._under_way[notifier_id] = left
        else:
            del self._under_way[notifier_id]
        if notifier_id in self._lines:
            self._held_up[notifier_id] = None
        while self._held_up:
            next_id = next(iter(self._held_up))
            del self._held_up[next_id]
            if next_id in self._lines and self._may_start(next_id):
                return self._next_of(next_id)
        return None

    @property
    def under_way(self) -> int:
        """Attempts being made now."""
        return self._limit - self._free

    def waiting_notifiers(self) -> list[str]:
        return list(self._lines)

    def withdraw(self, is_unwanted: Callable[[Claim], bool]) -> list[Claim]:
        """Take the claims of which this holds out of their lines."""
        withdrawn: list[Claim] = []
        for notifier_id, line in list(self._lines.items()):
            withdrawn.extend(claim for claim in line if is_unwanted(claim))
            kept = deque(claim for claim in line if not is_unwanted(claim))
            if kept:
                self._lines[notifier_id] = kept
            else:
                del self._lines[notifier_id]
        return withdrawn

    def _may_start(self, notifier_id: str) -> bool:
        return self._free > 0 and self._under_way.get(notifier_id, 0) < self._limit_per_notifier

    def _start(self, notifier_id: str) -> None:
        self._free -= 1
        self._under_way[notifier_id] = self._under_way.get(notifier_id, 0) + 1

    def _next_of(self, notifier_id: str) -> Claim:
        line = self._lines[notifier_id]
        claim = line.popleft()
        self._start(notifier_id)
        if not line:
            del self._lines[notifier_id]
        elif self._under_way[notifier_id] < self._limit_per_notifier:
            self._held_up[notifier_id] = None
        return claim
