"""A notifier's life: what becomes of its state by what was found out about it. Pure: time and chance are given.

Stop before: `health`, which finds it out. Stop after: `care`, which stores it and tells the owner.
"""

from datetime import datetime, timedelta

import msgspec

from tocsin.model import Notifier, NotifierState, Reason

FIRST_STOP_SECONDS = 30.0
LONGEST_STOP_SECONDS = 600.0
"""How long nothing is sent to a notifier that fails: 30 s at first, twice as long after each probe that failed too."""

JITTER = 0.25
PROBES_TO_RECOVER = 2
"""So many messages in a row must arrive, one at a time, before the others follow."""

TELL_AFTER = (timedelta(hours=1), timedelta(hours=24))
"""The owner is told when a notifier has failed for so long, once each."""

DISABLE_AFTER = timedelta(hours=120)
DISABLE_ATTEMPTS = 20
"""Five days and so many attempts without one success disable a notifier."""


LIFE_TYPES = frozenset({"notifier_failing", "notifier_disabled", "notifier_recovered"})
"""The types of events that tell of a notifier's life."""


class Held(msgspec.Struct, frozen=True):
    """The receiver asked to be left alone until then."""

    until: datetime


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts failed, `count` more than was stored, without one success since that time.

    `is_stop`: so much that nothing is to be sent for a while.
    """

    since: datetime
    count: int
    reason: Reason
    is_stop: bool = False


class ProbeFailed(msgspec.Struct, frozen=True):
    """`until` is when the receiver wants to be asked again, if it said so."""

    reason: Reason
    until: datetime | None = None


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """A message arrived, though the notifier was known to fail."""

    is_probe: bool


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver wants no more: it answered 410, or asked for it."""

    why: str
    reason: Reason = Reason.GONE


Finding = Held | Failed | ProbeFailed | Arrived | Ended


def stops(finding: Finding) -> bool:
    """Whether nothing may be sent from now on, even before it is stored."""
    return isinstance(finding, Held | Ended) or (isinstance(finding, Failed) and finding.is_stop)


def after(notifier: Notifier, finding: Finding, *, now: datetime, chance: float) -> Notifier:
    """The notifier as the finding leaves it; `chance` is in [0, 1).

    What its owner decided meanwhile stands: one that was paused or turned off is not brought back by anything here.
    """
    match finding:
        case Held(until=until):
            return _held(notifier, until)
        case Ended(why=why):
            return _disabled(notifier, why)
        case Failed():
            return _failed(notifier, finding, now, chance)
        case ProbeFailed():
            return _probe_failed(notifier, finding, now, chance)
        case Arrived(is_probe=is_probe):
            return _arrived(notifier, now, is_probe=is_probe)


def told(before: Notifier, now_is: Notifier) -> str | None:
    """The type of the event that tells of this change, if it is worth one."""
    if now_is.state is NotifierState.DISABLED and before.state is not NotifierState.DISABLED:
        return "notifier_disabled"
    if now_is.told_count > before.told_count:
        return "notifier_failing"
    if before.told_count and now_is.failing_since is None:
        return "notifier_recovered"
    return None


def renewed(notifier: Notifier, at: datetime | None = None) -> Notifier:
    """The notifier with nothing held against it; `at` when what waited for it is to come slowly at first."""
    return msgspec.structs.replace(
        notifier,
        failing_since=None,
        failed_count=0,
        trip_count=0,
        probe_count=0,
        told_count=0,
        recovered_at=at or notifier.recovered_at,
    )


def freed(notifier: Notifier, at: datetime) -> Notifier:
    """The notifier after its owner said: go on. Nothing for one that is off or disabled."""
    if not notifier.active or notifier.state is NotifierState.ACTIVE:
        return notifier
    if notifier.state is NotifierState.FAILING:
        notifier = renewed(notifier, at)
    return _active(notifier)


def _active(notifier: Notifier) -> Notifier:
    return msgspec.structs.replace(notifier, state=NotifierState.ACTIVE, state_reason=None, held_until=None)


def _held(notifier: Notifier, until: datetime) -> Notifier:
    is_longer = notifier.held_until is None or notifier.held_until < until
    if notifier.state is NotifierState.ACTIVE or (notifier.state is NotifierState.HOLDING and is_longer):
        why = "the receiver asked to wait"
        return msgspec.structs.replace(notifier, state=NotifierState.HOLDING, state_reason=why, held_until=until)
    if notifier.state is NotifierState.FAILING and is_longer:
        return msgspec.structs.replace(notifier, held_until=until)
    return notifier


def _disabled(notifier: Notifier, why: str) -> Notifier:
    if not notifier.active:
        return notifier
    return msgspec.structs.replace(
        notifier, active=False, state=NotifierState.DISABLED, state_reason=why, held_until=None, probe_count=0
    )


def _failed(notifier: Notifier, finding: Failed, now: datetime, chance: float) -> Notifier:
    if not notifier.active:
        return notifier
    counted = _counted(notifier, finding.since, finding.count, now)
    if _is_hopeless(counted, now):
        return _disabled(counted, _nothing_arrives(finding.reason))
    if finding.is_stop and notifier.state in {NotifierState.ACTIVE, NotifierState.HOLDING}:
        stopped = _stopped(counted, finding.reason, now, chance)
        held_until = notifier.held_until if notifier.state is NotifierState.HOLDING else None
        return stopped if held_until is None else _held(stopped, held_until)
    return counted


def _probe_failed(notifier: Notifier, finding: ProbeFailed, now: datetime, chance: float) -> Notifier:
    if not notifier.active:
        return notifier
    counted = _counted(notifier, now, 1, now)
    if _is_hopeless(counted, now):
        return _disabled(counted, _nothing_arrives(finding.reason))
    if notifier.state is not NotifierState.FAILING:
        return counted
    stopped = _stopped(counted, finding.reason, now, chance)
    return stopped if finding.until is None else _held(stopped, finding.until)


def _arrived(notifier: Notifier, now: datetime, *, is_probe: bool) -> Notifier:
    if notifier.state is not NotifierState.FAILING:
        return renewed(notifier) if notifier.active else notifier
    if not is_probe:
        return notifier  # it was under way when the others were stopped
    if notifier.probe_count + 1 >= PROBES_TO_RECOVER:
        return _active(renewed(notifier, now))
    return msgspec.structs.replace(notifier, probe_count=notifier.probe_count + 1, held_until=now)


def _stopped(notifier: Notifier, reason: Reason, now: datetime, chance: float) -> Notifier:
    seconds = min(FIRST_STOP_SECONDS * 2.0 ** min(notifier.trip_count, 10), LONGEST_STOP_SECONDS)
    seconds *= 1 - JITTER + 2 * JITTER * chance
    return msgspec.structs.replace(
        notifier,
        state=NotifierState.FAILING,
        state_reason=f"attempts keep failing ({reason.value}); the next is made when held_until has passed",
        held_until=now + timedelta(seconds=seconds),
        trip_count=notifier.trip_count + 1,
        probe_count=0,
    )


def _counted(notifier: Notifier, since: datetime, count: int, now: datetime) -> Notifier:
    since = min(since, notifier.failing_since or since)
    due = sum(now - since >= age for age in TELL_AFTER)
    return msgspec.structs.replace(
        notifier,
        failing_since=since,
        failed_count=notifier.failed_count + count,
        told_count=max(notifier.told_count, due),
    )


def _is_hopeless(notifier: Notifier, now: datetime) -> bool:
    since = notifier.failing_since
    return since is not None and now - since >= DISABLE_AFTER and notifier.failed_count >= DISABLE_ATTEMPTS


def _nothing_arrives(reason: Reason) -> str:
    hours = DISABLE_AFTER // timedelta(hours=1)
    return f"nothing was delivered for {hours} hours; at last: {reason.value}"
