"""The rows that growth fills a database with are such as Tocsin makes itself."""

import re
import sqlite3
from contextlib import closing
from typing import get_args

import pytest
import sqlalchemy as sa

from benchmarks import growth_fill
from benchmarks.growth_fill import Fill, Owner
from benchmarks.growth_steps import steps
from benchmarks.subjects import Database
from tocsin.ids import new_hex_id, new_uuid7
from tocsin.store.migrate import migrate

OWNERS = [Owner("a1", "no-1"), Owner("a2", "no-2")]


@pytest.fixture
def sqlite(tmp_path):
    path = tmp_path / "tocsin.db"
    engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        migrate(connection)
    engine.dispose()
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        yield growth_fill.Sqlite(opened), lambda sql: opened.execute(sql).fetchall()


@pytest.fixture
def postgresql(postgres, database_names, tables):
    name = next(database_names)
    url = postgres.add_database(name, template=tables)
    with closing(growth_fill.Postgres(url)) as opened:
        yield opened, lambda sql: [tuple(line.split("|")) for line in postgres.run(sql, name).splitlines()]
    postgres.remove_database(name)


@pytest.fixture(params=get_args(Database))
def filled(request):
    """A database, and how it is asked."""
    database, ask = request.getfixturevalue(request.param)
    return Fill(database), ask


def test_finished_deliveries_come_with_their_event_and_attempt_and_before_all_new_ones(filled):
    fill, ask = filled
    fill.add_finished(5, OWNERS)
    rows = ask(
        "SELECT f.id, f.event_id, e.app_id, f.app_id, a.outcome FROM finished_deliveries f "
        "JOIN events e ON e.id = f.event_id JOIN attempts a ON a.delivery_id = f.id ORDER BY f.id"
    )
    assert len(rows) == 5
    for delivery_id, event_id, event_app, app, outcome in rows:
        assert re.fullmatch(r"de-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", delivery_id)
        assert re.fullmatch(r"[0-9a-f]{24}", event_id)
        assert delivery_id < new_uuid7("de")
        assert event_id < new_hex_id()
        assert (event_app, outcome) == (app, "delivered")
    assert {app for _, _, _, app, _ in rows} == {owner.app_id for owner in OWNERS}


def test_pending_deliveries_are_due(filled):
    fill, ask = filled
    fill.add_pending(3, OWNERS)
    rows = ask("SELECT id FROM deliveries WHERE state = 'pending' AND next_attempt_at = created_at")
    assert len(rows) == 3
    assert all(delivery_id < new_uuid7("de") for (delivery_id,) in rows)


def test_every_step_has_a_name_of_its_own_at_full_size():
    names = [step.name for step in steps(1)]
    assert len(set(names)) == len(names)
    assert {"1,000,000 finished deliveries", "5,000,000 finished deliveries"} <= set(names)
