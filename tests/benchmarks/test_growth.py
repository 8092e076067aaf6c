"""The rows that growth fills a database with are such as Tocsin makes itself."""

import re
import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from benchmarks import growth_fill
from benchmarks.growth_fill import Fill, Owner
from benchmarks.growth_steps import steps
from tocsin.ids import new_hex_id, new_uuid7
from tocsin.store.migrate import migrate

OWNERS = [Owner("a1", "no-1"), Owner("a2", "no-2")]


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "tocsin.db"
    engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        yield opened


@pytest.fixture
def fill(database):
    return Fill(growth_fill.Sqlite(database))


def test_finished_deliveries_come_with_their_event_and_attempt_and_before_all_new_ones(fill, database):
    fill.add_finished(5, OWNERS)
    rows = database.execute(
        "SELECT f.id, f.event_id, e.app_id = f.app_id, a.outcome FROM finished_deliveries f "
        "JOIN events e ON e.id = f.event_id JOIN attempts a ON a.delivery_id = f.id ORDER BY f.id"
    ).fetchall()
    assert len(rows) == 5
    for delivery_id, event_id, is_of_the_app, outcome in rows:
        assert re.fullmatch(r"de-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", delivery_id)
        assert re.fullmatch(r"[0-9a-f]{24}", event_id)
        assert delivery_id < new_uuid7("de")
        assert event_id < new_hex_id()
        assert (is_of_the_app, outcome) == (1, "delivered")
    assert database.execute("SELECT count(DISTINCT notifier_id) FROM finished_deliveries").fetchone() == (2,)


def test_pending_deliveries_are_due(fill, database):
    fill.add_pending(3, OWNERS)
    due = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND next_attempt_at < unixepoch() * 1000000"
    assert database.execute(due).fetchone() == (3,)


def test_every_step_has_a_name_of_its_own_at_full_size():
    names = [step.name for step in steps(1)]
    assert len(set(names)) == len(names)
    assert {"1,000,000 finished deliveries", "5,000,000 finished deliveries"} <= set(names)
