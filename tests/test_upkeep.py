"""Upkeep: what is much is ended in short transactions, until none is left."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.line import straight_line
from tests.store.cast import count_rows
from tocsin import upkeep
from tocsin.clock import ManualClock
from tocsin.store.endings import expire
from tocsin.store.schema import sessions, sign_in_links


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
