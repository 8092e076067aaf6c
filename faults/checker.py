"""Joins what was posted, what arrived and what the database holds: each invariant is a function that names violations.

None of them trusts Tocsin: what arrived is the receiver's word, what was accepted the producer's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from faults.database import AttemptRow, DeliveryRow, Holdings
from faults.producer import Replay
from faults.records import NOT_OURS, Accepted, Arrival
from faults.scenario import Figure
from tocsin.retry import JITTER

GRACE_SECONDS = 60.0
"""A lease that is over must have been taken back after so long."""

CLOCK_SECONDS = 0.05
"""How far an attempt's recorded start and its arrival may differ."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A notifier that wants every event of an app, and where it leads."""

    app: str
    notifier_id: str
    path: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a process and its database take, or may take at most."""

    memory_mb: float = 0
    open_files: int = 0
    live_rows: int = 0
    wal_mb: float = 0


class Evidence(msgspec.Struct, kw_only=True):
    """Everything that is known after a run."""

    accepted: Sequence[Accepted] = ()
    sent: Iterable[int] = ()
    """The numbers that were posted, whatever was answered."""

    arrivals: Sequence[Arrival] = ()
    routes: Sequence[Route] = ()
    holdings: Holdings = Holdings()
    replays: Sequence[Replay] = ()
    schedule_seconds: Sequence[float] = ()
    usage: Sequence[Usage] = ()
    limits: Usage | None = None
    unsettled: int = 0
    """Attempts that were under way when a process was ended, if that is known better than by the database."""


def no_loss(evidence: Evidence) -> list[str]:
    """I1: each accepted event reached each notifier, or is still to be sent with a time, or ended with a reason."""
    taken = {(one.message_id, one.path) for one in evidence.arrivals if _is_taken(one)}
    rows: dict[tuple[str, str], list[DeliveryRow]] = defaultdict(list)
    for row in evidence.holdings.deliveries:
        rows[row.event_id, row.notifier_id].append(row)
    stored = {event.id for event in evidence.holdings.events}
    found = [f"event {one.number} is not stored" for one in evidence.accepted if one.event_id not in stored]
    for event, route in _wanted(evidence):
        if (event.event_id, route.path) in taken:
            continue
        fates = rows[event.event_id, route.notifier_id]
        if not any(_is_accounted_for(row) for row in fates):
            states = ", ".join(row.state for row in fates) or "no delivery"
            found.append(f"event {event.number} never came to {route.path}: {states}")
    return found


def no_phantom(evidence: Evidence) -> list[str]:
    """I2: whatever arrived was posted, and is byte for byte what was answered."""
    accepted = {one.number: one for one in evidence.accepted}
    sent = set(evidence.sent) | accepted.keys()
    found = []
    for one in _ours(evidence.arrivals):
        event = accepted.get(one.number)
        if one.number not in sent:
            found.append(f"{one.message_id} arrived on {one.path} and was never posted")
        elif event is not None and event.event_id != one.message_id:
            found.append(f"event {one.number} arrived as {one.message_id}, and was accepted as {event.event_id}")
        elif event is not None and event.body_sha != one.body_sha:
            found.append(f"event {one.number} arrived changed on {one.path}")
    return found


def duplicates(evidence: Evidence) -> list[Arrival]:
    """Messages that were taken again after the same path had taken them."""
    seen: set[tuple[str, str]] = set()
    found = []
    for one in sorted(_ours(evidence.arrivals), key=lambda arrival: arrival.at_ns):
        if _is_taken(one):
            if (one.message_id, one.path) in seen:
                found.append(one)
            seen.add((one.message_id, one.path))
    return found


def duplicates_explained(evidence: Evidence) -> list[str]:
    """I3: a message that was taken again had an earlier attempt whose outcome nobody learned."""
    doubts = Counter(row.delivery_id for row in evidence.holdings.attempts if row.outcome != "delivered")
    again = Counter(one.delivery_id for one in duplicates(evidence))
    return [
        f"delivery {delivery_id} was taken {count} times too often, and {doubts[delivery_id]} attempts were in doubt"
        for delivery_id, count in again.items()
        if count > doubts[delivery_id]
    ]


def one_event_a_key(evidence: Evidence) -> list[str]:
    """I4: exactly one event for each key; used again it gives the same id, and with another body 409."""
    accepted = {one.number: one for one in evidence.accepted}
    stored = Counter(event.number for event in evidence.holdings.events if event.number != NOT_OURS)
    found = [f"event {number} is stored {count} times" for number, count in stored.items() if count > 1]
    for event in evidence.accepted:
        kept = evidence.holdings.keys.get(event.key)
        if kept is not None and kept != event.event_id:
            found.append(f"the key of event {event.number} stands for {kept}, and {event.event_id} was answered")
    for replay in evidence.replays:
        event_id = accepted[replay.number].event_id
        if replay.is_same_body and (replay.status, replay.event_id) != (201, event_id):
            found.append(f"event {replay.number} posted again: {replay.status} {replay.event_id}, not 201 {event_id}")
        if not replay.is_same_body and replay.status != 409:
            found.append(f"another event with the key of {replay.number}: {replay.status}, not 409")
    return found


def nothing_stuck(evidence: Evidence) -> list[str]:
    """I5: no lease is over for longer than it may take to take it back."""
    latest_us = evidence.holdings.looked_us - int(GRACE_SECONDS * 1e6)
    return [
        f"delivery {row.id} is {row.state} under a lease that ended long ago"
        for row in evidence.holdings.deliveries
        if row.is_live and row.lease_until_us is not None and row.lease_until_us < latest_us
    ]


def attempts_in_order(evidence: Evidence) -> list[str]:
    """I6: attempts are numbered from 1 without gap, none begins after the end, and none is made twice."""
    found = []
    attempts = _by_delivery(evidence.holdings.attempts)
    for row in evidence.holdings.deliveries:
        own = attempts.get(row.id, [])
        numbers = [attempt.number for attempt in own]
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"delivery {row.id} has attempts {numbers}")
        if not row.is_live and row.attempt_count != len(numbers):
            found.append(f"delivery {row.id} ended after {row.attempt_count} attempts, and {len(numbers)} are recorded")
        if row.finished_us is not None and any(attempt.started_us > row.finished_us for attempt in own):
            found.append(f"delivery {row.id} was attempted after it had ended")
    made = Counter((one.delivery_id, one.attempt) for one in _ours(evidence.arrivals))
    found += [
        f"attempt {number} of {delivery_id} arrived {count} times"
        for (delivery_id, number), count in made.items()
        if count > 1
    ]
    return found


def on_schedule(evidence: Evidence) -> list[str]:
    """I7: no attempt is made earlier than the schedule, less its jitter, or than the receiver asked for."""
    found = []
    for delivery_id, own in _by_delivery(evidence.holdings.attempts).items():
        for before, after in pairwise(own):
            if before.outcome != "retry" or before.number >= len(evidence.schedule_seconds):
                continue
            gap_seconds = (after.started_us - before.started_us) / 1e6 - (before.duration_ms or 0) / 1000
            if gap_seconds < evidence.schedule_seconds[before.number] * (1 - JITTER) - CLOCK_SECONDS:
                found.append(
                    f"delivery {delivery_id}: attempt {after.number} came {gap_seconds:.3f} s after {before.number}"
                )
    held: dict[str, tuple[int, float]] = {}
    for one in sorted(_ours(evidence.arrivals), key=lambda arrival: arrival.at_ns):
        since_ns, seconds = held.get(one.delivery_id, (0, 0.0))
        gap_seconds = (one.at_ns - since_ns) / 1e9
        if seconds and gap_seconds < seconds - CLOCK_SECONDS:
            found.append(
                f"delivery {one.delivery_id} came again after {gap_seconds:.3f} s, and was to wait {seconds} s"
            )
        held[one.delivery_id] = (one.at_ns, one.retry_after_seconds)
    return found


def bounded(evidence: Evidence) -> list[str]:
    """I8: memory, open files, rows under way and the write-ahead log stay within their limits."""
    if evidence.limits is None:
        return []
    found = []
    for name in msgspec.structs.asdict(evidence.limits):
        limit = getattr(evidence.limits, name)
        most = max((getattr(usage, name) for usage in evidence.usage), default=0)
        if limit and most > limit:
            found.append(f"{name} came to {most:g}, and {limit:g} is the limit")
    return found


def whole(evidence: Evidence) -> list[str]:
    """I9: the database is not damaged, and every message was signed."""
    unsigned = [f"{one.message_id} arrived with a wrong signature" for one in evidence.arrivals if not one.is_signed]
    return [*evidence.holdings.damage, *unsigned]


INVARIANTS: Mapping[str, tuple[str, Callable[[Evidence], list[str]]]] = {
    "I1": ("accepted events lost", no_loss),
    "I2": ("phantoms", no_phantom),
    "I3": ("duplicates without a doubtful attempt", duplicates_explained),
    "I4": ("keys with another than one event", one_event_a_key),
    "I5": ("stuck leases", nothing_stuck),
    "I6": ("attempts out of order", attempts_in_order),
    "I7": ("attempts too early", on_schedule),
    "I8": ("limits exceeded", bounded),
    "I9": ("damage and wrong signatures", whole),
}


def check(evidence: Evidence) -> dict[str, list[str]]:
    """The violations of each invariant. Without limits nothing is said of I8."""
    is_limited = evidence.limits is not None
    return {name: violated(evidence) for name, (_, violated) in INVARIANTS.items() if name != "I8" or is_limited}


def figures(violations: Iterable[Mapping[str, Sequence[str]]]) -> list[Figure]:
    """What was violated in all parts of a scenario together, of what was looked at: each is to be 0."""
    parts = list(violations)
    return [
        Figure(name=f"{title} ({name})", value=sum(len(part.get(name, ())) for part in parts), target="= 0")
        for name, (title, _) in INVARIANTS.items()
        if any(name in part for part in parts)
    ]


def _ours(arrivals: Iterable[Arrival]) -> Iterable[Arrival]:
    return (one for one in arrivals if one.number != NOT_OURS)


def _is_taken(arrival: Arrival) -> bool:
    return 200 <= arrival.status < 300


def _is_accounted_for(row: DeliveryRow) -> bool:
    """Whether what has not arrived is still to be sent, at a time, or ended for a reason."""
    if row.is_live:
        return row.next_attempt_us is not None or row.lease_until_us is not None
    return row.state != "delivered" and row.reason is not None


def _wanted(evidence: Evidence) -> Iterable[tuple[Accepted, Route]]:
    routes: dict[str, list[Route]] = defaultdict(list)
    for route in evidence.routes:
        routes[route.app].append(route)
    return ((event, route) for event in evidence.accepted for route in routes[event.app])


def _by_delivery(attempts: Iterable[AttemptRow]) -> dict[str, list[AttemptRow]]:
    found: dict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda one: one.number):
        found[attempt.delivery_id].append(attempt)
    return found
