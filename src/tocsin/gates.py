"""Bounds on attempts, and who waits at them: for a host, for an app, and for all."""

from collections.abc import Callable

from tocsin.standings import Standing
from tocsin.turns import Turns


class Gate:
    """A bound on attempts, and the notifiers that wait for it. `called` are on their way from here to the start."""

    __slots__ = ("_home", "called", "key", "limit", "taken", "waiting")

    def __init__(self, limit: int, home: "dict[str, Gate] | None" = None, key: str = "") -> None:
        self.limit = limit
        self.taken = 0
        self.called = 0
        self.waiting: Turns[Wait] = Turns()
        self._home = home
        self.key = key

    @property
    def is_open(self) -> bool:
        """Whether there is room, and nobody who came before."""
        return self.taken + self.called < self.limit and not self.waiting.lines

    def tidy(self) -> None:
        """Be gone when nobody needs it."""
        if self._home is not None and not (self.taken or self.called or self.waiting.lines):
            self._home.pop(self.key, None)


class Wait:
    """A notifier that waits in a lane. It is over as soon as the notifier waits by another, or by none."""

    __slots__ = ("called_by", "lane", "standing")

    def __init__(self, lane: "Lane", standing: Standing) -> None:
        self.lane = lane
        self.standing = standing
        self.called_by: Gate | None = None


Gates = tuple[Gate, ...]


class Lane:
    """Attempts of one kind: so many in all, for each host and each app. Who waits is called in turn.

    A notifier waits at one gate at a time. When that has room it is called to the last one, the lane's own, so that no
    end of an attempt has to look through all that wait.
    """

    def __init__(self, *, limit: int, per_host: Callable[[str], int], untried: Gate) -> None:
        """`untried` is the gate of those without a success yet, which both lanes share."""
        self.limit = limit
        self.taken = 0
        self.waiting = 0
        self._per_host = per_host
        self._hosts: dict[str, Gate] = {}
        self._apps: dict[str, Gate] = {}
        self._untried = untried
        self.called: Turns[Wait] = Turns()

    def gates_of(self, standing: Standing) -> Gates:
        """The gates that an attempt goes through before the lane's own."""
        host, app_id = standing.host, standing.notifier.app_id
        at_host = self._hosts.get(host)
        if at_host is None:
            at_host = self._hosts[host] = Gate(self._per_host(host), self._hosts, host)
        at_app = self._apps.get(app_id)
        if at_app is None:
            at_app = self._apps[app_id] = Gate(max(1, self.limit // 2), self._apps, app_id)
        return (at_host, at_app) if standing.is_tried else (at_host, at_app, self._untried)

    def may_start(self, gates: Gates) -> bool:
        """Whether nothing of this lane is in the way of an attempt through these gates, and nobody who came before."""
        if self.taken >= self.limit or self.called.lines:
            return False
        for gate in gates:  # noqa: SIM110 - for every attempt, and `all` costs twice as much
            if not gate.is_open:
                return False
        return True

    def may_follow(self, gates: Gates) -> bool:
        """Whether nobody waits for the place of an attempt through these gates, so that its notifier may keep it."""
        if self.taken > self.limit or self.called.lines:
            return False
        for gate in gates:  # noqa: SIM110 - as above
            if gate.taken > gate.limit or gate.waiting.lines:
                return False
        return True

    def wait(self, standing: Standing) -> None:
        """Let a notifier wait until it is called."""
        wait = standing.waits_in = Wait(self, standing)
        self.waiting += 1
        self._line_up(wait)

    def leave(self, standing: Standing) -> None:
        """It waits here no more; whoever calls it finds that out."""
        standing.waits_in = None
        self.waiting -= 1

    def next(self) -> Wait | None:
        """The wait of the notifier whose turn it is, which is over: it starts an attempt, or passes its turn on."""
        while self.taken < self.limit and (wait := self.called.pop()) is not None:
            gate = wait.called_by
            if gate is not None:
                gate.called -= 1
            if wait.standing.waits_in is wait and self._line_up(wait, is_called=True):
                self.leave(wait.standing)
                return wait
            self.pass_on(wait)
        return None

    def pass_on(self, wait: Wait) -> None:
        """Let another have the turn to which a gate had called this one."""
        gate = wait.called_by
        if gate is not None:
            self._call(gate)
            gate.tidy()

    def is_wanted(self, gates: Gates) -> bool:
        """Whether somebody waits for the place of an attempt that went through these gates."""
        return bool(self.taken >= self.limit and self.called.lines) or any(gate.waiting.lines for gate in gates)

    def take(self, gates: Gates) -> None:
        self.taken += 1
        for gate in gates:
            gate.taken += 1

    def give_back(self, gates: Gates) -> None:
        """An attempt has ended, or left for the other lane."""
        self.taken -= 1
        for gate in gates:
            gate.taken -= 1
            if gate.waiting.lines:
                self._call(gate)
            elif not gate.taken:
                gate.tidy()

    def divide(self) -> None:
        """The workers' shares are others now."""
        for host, gate in self._hosts.items():
            gate.limit = self._per_host(host)
            self._call(gate)

    def has_room_to_move(self, gates: Gates, in_all: int) -> bool:
        """Whether an attempt may come here from the other lane: a host and an app have at most half of such places."""
        return self.taken < in_all and all(gate.taken < in_all // 2 for gate in gates[:2])

    def _line_up(self, wait: Wait, *, is_called: bool = False) -> bool:
        """Put a wait where it has to wait: at the first gate that is closed, or at the lane's own.

        One that is called and finds every gate open is through: then the answer is True.
        """
        app_id = wait.standing.notifier.app_id
        for gate in self.gates_of(wait.standing):
            if not gate.is_open and not (gate is wait.called_by and is_called):
                gate.waiting.add(app_id, wait)
                return False
        if not is_called:
            self.called.add(app_id, wait)
        return True

    def _call(self, gate: Gate) -> None:
        while gate.waiting.lines and gate.taken + gate.called < gate.limit:
            wait = gate.waiting.pop()
            if wait is not None and wait.standing.waits_in is wait:
                wait.called_by = gate
                gate.called += 1
                wait.lane.called.add(wait.standing.notifier.app_id, wait)
