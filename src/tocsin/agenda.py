"""Which notifiers have something due, when, and whose turn it is to be claimed for. In memory alone: a hint."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum, auto
from heapq import heapify, heappop, heappush

from tocsin.standings import Standing, Standings
from tocsin.turns import Turns


class _Place(Enum):
    """Where a notifier is whose time has come."""

    FAST = auto()
    SLOW = auto()
    RESTING = auto()


class Agenda:
    """Due notifiers in turn: apps take turns, and so do the notifiers of each. Slow ones have a line of their own.

    A notifier of which nothing more may be leased rests until one of its leases ends, so that nobody looks at it again
    and again.
    """

    def __init__(self, standings: Standings) -> None:
        self._standings = standings
        self._due: dict[str, datetime] = {}
        self._places: dict[str, _Place] = {}
        self._later: list[tuple[datetime, str]] = []
        self._turns: dict[_Place, Turns[str]] = {_Place.FAST: Turns(), _Place.SLOW: Turns()}
        self._unknown: dict[str, None] = {}
        self._planned_meanwhile: set[str] = set()

    def plan(self, notifier_id: str, due: datetime) -> None:
        """Something of this notifier is due then, if nothing is earlier."""
        self._planned_meanwhile.add(notifier_id)
        planned = self._due.get(notifier_id)
        if planned is None or due < planned:
            self._set(notifier_id, due)

    def drop(self, notifier_id: str) -> None:
        self._due.pop(notifier_id, None)
        self._places.pop(notifier_id, None)
        self._unknown.pop(notifier_id, None)

    def begin_reading(self) -> None:
        """From here on what is planned may be newer than what the store is being asked for."""
        self._planned_meanwhile.clear()

    def take_over(self, found: Mapping[str, datetime]) -> None:
        """Make it as the store has it. Whoever waits for a turn keeps it."""
        for notifier_id in [each for each in self._due if each not in found]:
            if notifier_id not in self._planned_meanwhile:
                self.drop(notifier_id)
        for notifier_id, due in found.items():
            if notifier_id in self._planned_meanwhile:
                self.plan(notifier_id, due)
            elif self._due.get(notifier_id) != due:
                self._set(notifier_id, due)
        for notifier_id in [each for each, place in self._places.items() if place is _Place.RESTING]:
            self._line_up(notifier_id)
        self._later = [(due, each) for each, due in self._due.items() if not self._is_in_turn(each)]
        heapify(self._later)

    def advance(self, now: datetime) -> list[str]:
        """Let those whose time has come wait for their turn. Answers with those of which nothing is known here yet."""
        while self._later and self._later[0][0] <= now:
            due, notifier_id = heappop(self._later)
            if self._due.get(notifier_id) == due and not self._is_in_turn(notifier_id):
                self._line_up(notifier_id)
        return list(self._unknown)

    def introduce(self, notifier_id: str) -> None:
        """What was unknown has a standing now; without one it is dropped."""
        if self._standings.find(notifier_id) is None:
            self.drop(notifier_id)
        elif notifier_id in self._unknown:
            del self._unknown[notifier_id]
            self._line_up(notifier_id)

    def next(self, may: Callable[[str], bool], *, is_slow_full: bool) -> Standing | None:
        """The notifier whose turn it is, of an app that `may`; it is on the agenda no more unless it is planned."""
        for place, turns in self._turns.items():
            while not (is_slow_full and place is _Place.SLOW):
                notifier_id = turns.pop(may)
                if notifier_id is None:
                    break
                if self._places.get(notifier_id) is not place:
                    continue  # it was dropped, or planned anew
                standing = self._standings.find(notifier_id)
                if standing is None or standing.is_slow is (place is _Place.SLOW):
                    self.drop(notifier_id)
                    if standing is not None:
                        return standing
                else:
                    self._line_up(notifier_id)
        return None

    def rest(self, notifier_id: str, since: datetime) -> None:
        """It is due, and nothing more of it may be leased for now."""
        self._due[notifier_id] = since
        self._places[notifier_id] = _Place.RESTING

    def call(self, notifier_id: str) -> bool:
        """A lease of this notifier has ended: whether it had to rest until then."""
        if self._places.get(notifier_id) is not _Place.RESTING:
            return False
        self._line_up(notifier_id)
        return True

    def is_planned(self, notifier_id: str) -> bool:
        return notifier_id in self._due

    def due_now(self, now: datetime) -> set[str]:
        return {notifier_id for notifier_id, due in self._due.items() if due <= now}

    @property
    def is_behind(self) -> bool:
        """Whether somebody waits for a turn that cannot be had now."""
        return any(turns.lines for turns in self._turns.values())

    def wait_seconds(self, now: datetime) -> float | None:
        """How long until the next becomes due."""
        while self._later:
            due, notifier_id = self._later[0]
            if self._due.get(notifier_id) == due and not self._is_in_turn(notifier_id):
                return (due - now).total_seconds()
            heappop(self._later)
        return None

    def _set(self, notifier_id: str, due: datetime) -> None:
        keeps_turn = self._is_in_turn(notifier_id) and due <= self._due[notifier_id]
        self._due[notifier_id] = due
        if not keeps_turn:
            self._places.pop(notifier_id, None)
            self._unknown.pop(notifier_id, None)
            heappush(self._later, (due, notifier_id))

    def _is_in_turn(self, notifier_id: str) -> bool:
        return notifier_id in self._places or notifier_id in self._unknown

    def _line_up(self, notifier_id: str) -> None:
        standing = self._standings.find(notifier_id)
        if standing is None:
            self._unknown[notifier_id] = None
            return
        place = _Place.SLOW if standing.is_slow else _Place.FAST
        self._places[notifier_id] = place
        self._turns[place].add(standing.notifier.app_id, notifier_id)
