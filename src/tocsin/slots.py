"""How many deliveries this process may hold leased: in all, of each app, of each notifier. Safe for several threads."""

import threading

from tocsin.model import Notifier
from tocsin.rates import Rates
from tocsin.standings import Standings


class _Held:
    """What is leased of a notifier."""

    __slots__ = ("app_id", "count")

    def __init__(self, app_id: str) -> None:
        self.app_id = app_id
        self.count = 0


class Slots:
    """Counts leased deliveries. What may be leased of a notifier follows from what it may be sent at once.

    `behind` names the notifiers for which older deliveries wait: nothing new of theirs is to be sent before. Attempts
    in the slow lane have left the counts of all and of their app (`part`), for they are bounded there. `slow_room` is
    how much more may be leased for that lane; lanes set it to what it is whenever that changes.
    """

    def __init__(self, standings: Standings, rates: Rates) -> None:
        limits = standings.limits
        self._standings = standings
        self._rates = rates
        self._free = limits.leases
        self._limit_per_app = max(1, limits.leases // 2)
        self._held: dict[str, _Held] = {}
        self._taken_by_app: dict[str, int] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        self.behind: set[str] = set()
        self.slow_room = limits.slow

    def take(self, notifier: Notifier) -> bool:
        """Take one slot for a new delivery of this notifier, if there is one and nothing older waits."""
        return notifier.id not in self.behind and self.take_up_to(notifier, 1) == 1

    def take_up_to(self, notifier: Notifier, wanted: int) -> int:
        """Take as many of the wanted slots as there are, each with a token where there is a rate; answers how many."""
        app_id = notifier.app_id
        limit = self._limit_of(notifier)
        with self._lock:
            held = self._held.get(notifier.id)
            taken_by_app = self._taken_by_app.get(app_id, 0)
            count = min(wanted, self._free, self._limit_per_app - taken_by_app, limit - (held.count if held else 0))
            is_slow = self._is_slow(notifier.id)
            if is_slow:
                count = min(count, self.slow_room)
            if count <= 0 or self._is_closed:
                return 0
            count = self._rates.take(notifier, count)
            if count:
                if held is None:
                    held = self._held[notifier.id] = _Held(app_id)
                held.count += count
                self._free -= count
                self._taken_by_app[app_id] = taken_by_app + count
                if is_slow:
                    self.slow_room -= count
            return count

    def give_back(self, notifier_id: str, count: int = 1) -> None:
        """So many deliveries are leased no more: their attempts have ended."""
        with self._lock:
            held = self._held[notifier_id]
            held.count -= count
            self._count(held.app_id, -count)
            if not held.count:
                del self._held[notifier_id]

    def undo(self, notifier_id: str, count: int = 1) -> None:
        """As `give_back`, for slots that were not used."""
        self.give_back(notifier_id, count)
        with self._lock:
            self._rates.give_back(notifier_id, count)
            if self._is_slow(notifier_id):
                self.slow_room += count

    def part(self, notifier: Notifier) -> None:
        """A delivery of this notifier is in the slow lane."""
        with self._lock:
            self._count(notifier.app_id, -1)

    def join(self, notifier: Notifier) -> None:
        """It is in the slow lane no more."""
        with self._lock:
            self._count(notifier.app_id, 1)

    def close(self) -> None:
        """Give out no more; what is taken can still be given back."""
        with self._lock:
            self._is_closed = True

    def has_room(self, app_id: str) -> bool:
        """Whether anything of this app may be leased."""
        return self._taken_by_app.get(app_id, 0) < self._limit_per_app

    def taken_of(self, notifier_id: str) -> int:
        held = self._held.get(notifier_id)
        return held.count if held else 0

    def token_after_seconds(self, notifier: Notifier) -> float | None:
        """How long a notifier's rate lets it wait; None when something else is in the way."""
        if not self._limit_of(notifier):
            return None
        with self._lock:
            return self._rates.wait_seconds(notifier) or None

    @property
    def is_slow_full(self) -> bool:
        return self.slow_room <= 0

    @property
    def is_full(self) -> bool:
        return self._is_closed or self._free <= 0

    @property
    def taken(self) -> int:
        with self._lock:
            return sum(held.count for held in self._held.values())

    def _limit_of(self, notifier: Notifier) -> int:
        standing = self._standings.find(notifier.id)
        if standing is None:
            return self._standings.leases_of_unknown(notifier)
        # What waits in line was allowed for a time that is past: more of a rated one would go out all at once.
        if standing.is_rated and standing.line:
            return 0
        return standing.leases

    def _is_slow(self, notifier_id: str) -> bool:
        standing = self._standings.find(notifier_id)
        return standing is not None and standing.is_slow

    def _count(self, app_id: str, change: int) -> None:
        self._free -= change
        count = self._taken_by_app.get(app_id, 0) + change
        if count:
            self._taken_by_app[app_id] = count
        else:
            del self._taken_by_app[app_id]
