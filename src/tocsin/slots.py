"""How many deliveries this process may hold leased, in all and for each notifier. Safe to use from several threads."""

import threading


class Slots:
    """Counts leased deliveries against a limit in all and one for each notifier.

    `behind` names the notifiers for which older deliveries wait: nothing new of theirs is to be sent before.
    """

    def __init__(self, *, limit: int, limit_per_notifier: int) -> None:
        self._free = limit
        self._limit_per_notifier = limit_per_notifier
        self._taken: dict[str, int] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        self.behind: set[str] = set()

    def take(self, notifier_id: str) -> bool:
        """Take one slot for a new delivery of this notifier, if there is one and nothing older waits."""
        return notifier_id not in self.behind and self.take_up_to(notifier_id, 1) == 1

    def take_up_to(self, notifier_id: str, wanted: int) -> int:
        """Take as many of the wanted slots as there are; answers with their number."""
        with self._lock:
            taken = self._taken.get(notifier_id, 0)
            count = min(wanted, self._free, self._limit_per_notifier - taken)
            if self._is_closed or count <= 0:
                return 0
            self._free -= count
            self._taken[notifier_id] = taken + count
            return count

    def give_back(self, notifier_id: str, count: int = 1) -> None:
        with self._lock:
            left = self._taken[notifier_id] - count
            self._free += count
            if left:
                self._taken[notifier_id] = left
            else:
                del self._taken[notifier_id]

    def close(self) -> None:
        """Give out no more; what is taken can still be given back."""
        with self._lock:
            self._is_closed = True

    @property
    def taken(self) -> int:
        with self._lock:
            return sum(self._taken.values())
