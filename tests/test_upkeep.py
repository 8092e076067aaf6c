"""Upkeep: what is much is ended in short transactions, until none is left."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.line import straight_line
from tests.store.cast import count_rows, insert
from tocsin import upkeep
from tocsin.clock import ManualClock
from tocsin.store.endings import expire
from tocsin.store.schema import sessions, sign_in_links, tallies
from tocsin.store.tallies import sum_by_hour
from tocsin.tallies import hour_of


async def test_much_that_expired_is_given_up_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "STEP", 2)
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line:
        await line.add_notifier("email", type_data={"emails": ["ops@example.com"]})  # waits: no mail server is set
        for _ in range(4):
            await line.post()
        store, steps = line.running.store, []
        write = store.write

        async def note(verb: Callable[..., Any], *given: Any, **named: Any) -> Any:
            answer = await write(verb, *given, **named)
            if verb is expire:
                steps.append(answer)
            return answer

        store.write = note  # type: ignore[method-assign]  # counted, not changed
        clock.advance(timedelta(hours=25))
        await line.running.upkeep.round()
        assert sum(steps) == len(await line.deliveries(state="failed")) == 5  # with the notifier's own
        assert max(steps) <= 2


async def test_sessions_that_are_over_leave_the_database(tmp_path: Path) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line:
        await line.running.verbs.sessions.begin(line.user, address="192.0.2.1", device="")
        await line.running.verbs.accounts.add_link(line.user)
        counts = []
        for wait in (timedelta(days=6), timedelta(days=1)):
            clock.advance(wait)
            await line.running.upkeep._prune()
            counts.append([await line.running.store.read(count_rows, table) for table in (sessions, sign_in_links)])
        assert counts == [[1, 0], [0, 0]]


async def test_tallies_go_with_the_history_and_are_folded_before(tmp_path: Path) -> None:
    clock = ManualClock()
    async with straight_line(tmp_path, clock=clock) as line:
        store, now = line.running.store, hour_of(clock.now())
        midnight = now - now % 24 - 10 * 24
        for hour in (now - 31 * 24, midnight + 5, midnight + 6, now):
            counted = {"app_id": line.app.id, "notifier_id": "no-1", "state": "delivered", "latency": 1}
            await store.write(insert, tallies, counted | {"hour": hour, "part": 0, "count": 2})
        await line.running.upkeep._prune()
        found = await store.read(sum_by_hour, line.app.id, 0)
        assert [(tally.hour, tally.count) for tally in found] == [(midnight, 4), (now, 2)]
