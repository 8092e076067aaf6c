"""Notifiers of several apps at several hosts, and what decides who of them is sent to; all in memory."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin.clock import ManualClock
from tocsin.lanes import Lanes
from tocsin.model import Attempt, AttemptOutcome, Notifier, Reason
from tocsin.rates import Rates
from tocsin.slots import Slots
from tocsin.standings import Limits, Standings
from tocsin.store.port import Claim

AT = datetime(2026, 1, 2, tzinfo=UTC)
LOOSE = Limits(fast=1000, slow=1000, slow_in_all=1000, per_notifier=16, per_host=1000, slow_per_host=1000, untried=1000)


def a_notifier(name: str = "a1", host: str = "h", **changes: Any) -> Notifier:
    """A notifier of the app that its name begins with, at a host."""
    values: dict[str, Any] = {
        "id": name,
        "app_id": name[0],
        "name": name,
        "platform": "webhook",
        "secret": "s",
        "type_data": {"host": host},
        "created_at": AT,
        "updated_at": AT,
    }
    return Notifier(**values | changes)


def a_claim(notifier: Notifier, number: int = 1) -> Claim:
    return Claim(
        delivery_id=f"{notifier.id}-{number}",
        app_id=notifier.app_id,
        event_id="e",
        event_type="t",
        attempt=1,
        lease_token="l",
        claimed_at=AT,
        expires_at=AT,
        notifier=notifier,
        body=b"{}",
    )


DELIVERED = Attempt(number=1, started_at=AT, outcome=AttemptOutcome.DELIVERED)
TIMED_OUT = Attempt(number=1, started_at=AT, outcome=AttemptOutcome.RETRY, reason=Reason.TIMEOUT)
REFUSED = Attempt(number=1, started_at=AT, outcome=AttemptOutcome.RETRY, reason=Reason.SERVER_ERROR)


@dataclass
class Crowd:
    """Who is known, leased and sent to."""

    limits: Limits = LOOSE

    def __post_init__(self) -> None:
        self.clock = ManualClock(AT)
        self.rates = Rates(self.clock, {"slack": 1.0})
        self.standings = Standings(
            clock=self.clock,
            limits=self.limits,
            host_of=lambda notifier: str(notifier.type_data["host"]),
            is_rated=lambda notifier: self.rates.rate_of(notifier) is not None,
        )
        self.slots = Slots(self.standings, self.rates)
        self.lanes = Lanes(self.standings, self.slots, self.clock)

    def prove(self, *notifiers: Notifier, times: int = 4) -> None:
        """Let notifiers have so many successes: 4 raise what may be sent at once from 1 to 16."""
        for notifier in notifiers:
            standing = self.standings.of(notifier)
            for _ in range(times):
                standing.judge(DELIVERED)

    def following(self) -> list[Claim]:
        """All that may begin now, which has begun by this."""
        found = []
        while (claim := self.lanes.next()) is not None:
            found.append(claim)
        return found

    def end(self, claim: Claim, attempt: Attempt = DELIVERED) -> list[Claim]:
        """An attempt has ended so; what may begin in its place."""
        self.lanes.judge(claim.notifier.id, attempt)
        following = self.lanes.leave(claim)
        return [*([following] if following else []), *self.following()]
