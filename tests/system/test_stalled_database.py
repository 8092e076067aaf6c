"""A database that stores nothing for a while: what waits for it in memory is bounded, and nothing accepted is lost."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.line import straight_line
from tocsin import ingest

EVENTS = "/v1/apps/my-app/events"


def event(number: int) -> dict[str, object]:
    return {"event": {"type": "restart", "type_data": {"number": number, "text": "x" * 10_000}}}


async def test_senders_are_told_to_wait_before_memory_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_PENDING_BYTES", 100_000)
    async with straight_line(tmp_path) as line:
        pending = line.running.verbs.ingest
        with closing(sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = [asyncio.create_task(line.client.post(EVENTS, json=event(number))) for number in range(30)]
            refused = []
            while len(refused) < 20:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refused += done
                waiting = [task for task in waiting if task not in done]
            for task in refused:
                answer = task.result()
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert "behind with storing" in answer.json()["error"]
            assert 100_000 < pending._pending_bytes < 112_000, "one beyond the bound"
            other.execute("ROLLBACK")
        stored = [(await task).status_code for task in waiting]
        assert stored == [201] * 10
        assert pending._pending_bytes == 0
        listed = (await line.client.get(EVENTS)).json()["events"]
        assert sum(each["type"] == "restart" for each in listed) == 10
        assert (await line.client.post(EVENTS, json=event(99))).status_code == 201
