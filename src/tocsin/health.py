"""What this process saw of each notifier lately: when attempts fail so much that they are better stopped.

Stop before: `deliver`, which knows how an attempt ended. Stop after: `life`, which says what follows from a finding.
"""

from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from tocsin.clock import Clock
from tocsin.life import Arrived, Ended, Failed, Finding, Held, ProbeFailed
from tocsin.model import Asked, Attempt, AttemptOutcome, Notifier, NotifierState, Reason

SILENT_IN_A_ROW = 5
"""So many attempts in a row without any answer stop a notifier."""

WINDOW_SECONDS = 60.0
WINDOW_ATTEMPTS = 10
WINDOW_FAILURES = 0.8
"""So many attempts within a minute of which this share failed stop it too."""

SAVE_AFTER = timedelta(minutes=5)
"""A row of failures that goes on for so long is stored, so that it outlives this process; and then as often."""

HELD_STATUSES = frozenset({429, 503})
"""With a time to wait, these are meant for every message of the notifier (RFC 6585 section 4, RFC 9110 15.6.4)."""

MAX_REMEMBERED = 10_000

_NEVER = datetime.min.replace(tzinfo=UTC)
_SILENT = frozenset({Reason.TIMEOUT, Reason.UNREACHABLE})
_RECEIVERS = _SILENT | {Reason.RATE_LIMITED, Reason.SERVER_ERROR, Reason.BAD_RESPONSE}
"""What says something of the receiver. Other refusals may be the message's own fault, and must not stop others."""
_NOT_THEIRS = frozenset({Reason.CRASHED, Reason.LEASE_LOST})


class _Row:
    """Failures since the last success."""

    __slots__ = ("recent", "saved_at", "silent", "since", "unsaved")

    def __init__(self) -> None:
        self.since: datetime | None = None
        self.saved_at = _NEVER
        self.unsaved = 0
        self.silent = 0
        self.recent: deque[tuple[float, bool]] = deque(maxlen=200)


class Health:
    """Judges attempts. Everything but `is_stopped` is for the event loop alone."""

    def __init__(self, *, clock: Clock, of_operator: Collection[str] = ()) -> None:
        """`of_operator` names platforms whose server is the operator's: that it fails is no notifier's fault."""
        self._clock = clock
        self._of_operator = frozenset(of_operator)
        self._rows: dict[str, _Row] = {}
        self._holds: dict[str, datetime] = {}
        self._stopped: dict[str, int] = {}

    def is_stopped(self, notifier_id: str) -> bool:
        """Whether nothing may be sent, though what is stored does not say so yet. From any thread."""
        return notifier_id in self._stopped

    def stop(self, notifier_id: str) -> None:
        self._stopped[notifier_id] = self._stopped.get(notifier_id, 0) + 1

    def release(self, notifier_id: str) -> None:
        """Undo one `stop`: what is stored says it now."""
        left = self._stopped[notifier_id] - 1
        if left:
            self._stopped[notifier_id] = left
        else:
            del self._stopped[notifier_id]

    def note(self, notifier: Notifier, attempt: Attempt, asked: Asked | None) -> Finding | None:
        """What follows from how an attempt ended, if anything is to be stored."""
        if asked is not None and asked.disable:
            return Ended(why="the receiver asked for it (webhook-delivery: disable)")
        match attempt.outcome:
            case AttemptOutcome.DELIVERED:
                return self._arrived(notifier)
            case AttemptOutcome.UNKNOWN:
                return None
        if attempt.reason is Reason.GONE:
            return Ended(why=f"the receiver is gone: {attempt.error or 'it answered 410'}")
        if attempt.reason in _NOT_THEIRS:
            return None
        if notifier.platform in self._of_operator and attempt.reason is not Reason.REJECTED:
            return None
        return self._failed(notifier, attempt, asked)

    def _arrived(self, notifier: Notifier) -> Finding | None:
        row = self._rows.get(notifier.id)
        if row is not None:
            self._note_recent(row, is_bad=False)
            row.since, row.silent, row.unsaved = None, 0, 0
            if not any(is_bad for _, is_bad in row.recent):
                del self._rows[notifier.id]
        if notifier.failing_since is None:
            return None
        return Arrived(is_probe=notifier.state is NotifierState.FAILING)

    def _failed(self, notifier: Notifier, attempt: Attempt, asked: Asked | None) -> Finding | None:
        reason = attempt.reason or Reason.REJECTED
        now = self._clock.now()
        is_for_all = attempt.response_status in HELD_STATUSES
        wait_seconds = asked.wait_seconds if asked is not None and is_for_all else None
        if notifier.state is NotifierState.FAILING:
            return ProbeFailed(reason, None if wait_seconds is None else now + timedelta(seconds=wait_seconds))
        row = self._row(notifier.id)
        if row.since is None:
            row.since = row.saved_at = now
        row.unsaved += 1
        if wait_seconds is not None:
            return self._hold(notifier.id, now, wait_seconds)
        row.silent = row.silent + 1 if reason in _SILENT and attempt.response_status is None else 0
        if reason in _RECEIVERS:
            self._note_recent(row, is_bad=True)
        is_stop = self._is_too_much(row)
        if not is_stop and now - row.saved_at < SAVE_AFTER:
            return None
        finding = Failed(since=row.since, count=row.unsaved, reason=reason, is_stop=is_stop)
        row.saved_at, row.unsaved = now, 0
        if is_stop:
            row.silent = 0
            row.recent.clear()
        return finding

    def _hold(self, notifier_id: str, now: datetime, wait_seconds: float) -> Finding | None:
        """Hold a little longer than was asked, so that the answers to what is under way need no holds of their own."""
        asked_until = now + timedelta(seconds=wait_seconds)
        known = self._holds.get(notifier_id)
        if wait_seconds <= 0 or (known is not None and known >= asked_until):
            return None
        until = asked_until + timedelta(seconds=min(1.0, wait_seconds / 10))
        if len(self._holds) >= MAX_REMEMBERED:
            del self._holds[next(iter(self._holds))]
        self._holds[notifier_id] = until
        return Held(until=until)

    def _row(self, notifier_id: str) -> _Row:
        row = self._rows.get(notifier_id)
        if row is None:
            if len(self._rows) >= MAX_REMEMBERED:
                del self._rows[next(iter(self._rows))]
            row = self._rows[notifier_id] = _Row()
        return row

    def _note_recent(self, row: _Row, *, is_bad: bool) -> None:
        now = self._clock.monotonic()
        while row.recent and now - row.recent[0][0] > WINDOW_SECONDS:
            row.recent.popleft()
        row.recent.append((now, is_bad))

    def _is_too_much(self, row: _Row) -> bool:
        if row.silent >= SILENT_IN_A_ROW:
            return True
        bad = sum(is_bad for _, is_bad in row.recent)
        return len(row.recent) >= WINDOW_ATTEMPTS and bad >= WINDOW_FAILURES * len(row.recent)
