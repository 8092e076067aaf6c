"""A process is killed while it stores events: whatever it had accepted is there, whole, and nothing else is."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.sealer import SEALER
from tests.store.cast import FakeDispatch, list_ids
from tocsin.clock import SystemClock
from tocsin.store import schema
from tocsin.store.sqlite import DatabaseInUse, SqliteStore

ROUNDS = 10
COMMAND = [sys.executable, "-m", "tests.store.ingest_until_killed"]
ROOT = Path(__file__).parents[2]


def accept_until_killed(folder: Path, count: int) -> list[str]:
    """Let the program accept about so many events, kill it, and answer with all that it told of."""
    program = subprocess.Popen([*COMMAND, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with program:
        assert program.stdout is not None
        accepted = [program.stdout.readline().strip() for _ in range(count)]
        program.send_signal(signal.SIGKILL)
        rest = program.stdout.read().split("\n")[:-1]  # a line without its end was not finished
    return accepted + rest


@pytest.mark.slow
async def test_accepted_events_and_their_deliveries_survive_kill_9(tmp_path: Path, migrated_sqlite: Path) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "tocsin.db")
    chance = random.Random(20260102)
    accepted: set[str] = set()
    for _ in range(ROUNDS):
        accepted.update(accept_until_killed(tmp_path, chance.randint(1, 400)))
        with closing(sqlite3.connect(tmp_path / "tocsin.db")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            stored = {event_id for (event_id,) in raw.execute("SELECT id FROM events")}
            routed = [event_id for (event_id,) in raw.execute("SELECT event_id FROM deliveries")]
            keys = {key for (key,) in raw.execute("SELECT key FROM idempotency_keys")}
        assert accepted <= stored
        assert sorted(routed) == sorted(stored)
        assert keys == stored


@pytest.mark.slow
async def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = subprocess.Popen([*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    url = f"sqlite:///{tmp_path}/tocsin.db"
    with program:
        assert program.stdout is not None
        first = program.stdout.readline().strip()
        with pytest.raises(DatabaseInUse, match=f"process {program.pid}"):
            SqliteStore(url, clock=SystemClock(), dispatch=FakeDispatch(), sealer=SEALER)
        program.kill()
        program.stdout.read()
    store = SqliteStore(url, clock=SystemClock(), dispatch=FakeDispatch(), sealer=SEALER)
    assert first in await store.read(list_ids, schema.events)
    await store.close()
