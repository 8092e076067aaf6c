"""Every statement over a table that grows with traffic finds its rows by an index."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.cast import APP
from tocsin.model import Delivery, DeliveryReason, DeliveryState
from tocsin.store.chores import find_chores
from tocsin.store.deliveries import (
    DeliveryFilter,
    add_fanned_out,
    cancel_pending,
    cancel_unwanted,
    count_recoverable,
    expire,
    find_delivery,
    find_fanout,
    free_leases,
    list_attempts,
    list_deliveries,
    list_due_notifiers,
    prune,
    reap_leases,
    recover,
    replay,
)
from tocsin.store.events import find_event, list_events_of_app, list_events_of_user
from tocsin.store.sqlite import hot, rows

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GROWING = "deliveries|events|attempts|idempotency_keys|later"
# A partial index holds only what is under way, so that walking all of it is what is wanted.
PARTIAL = "deliveries_due|deliveries_leased|deliveries_expiring"
WALK = re.compile(rf"SCAN (?:{GROWING})\b(?! USING (?:COVERING )?INDEX (?:{PARTIAL})\b)")
SORT = "USE TEMP B-TREE FOR ORDER BY"

DELIVERY = Delivery(
    id="de-1",
    app_id=APP,
    event_id="e",
    event_type="t",
    notifier_id="no-1",
    notifier_name="n",
    platform="webhook",
    state=DeliveryState.FAILED,
    created_at=NOW,
    expires_at=NOW,
)

VERBS: dict[str, Callable[[sa.Connection], Any]] = {
    "list by app": lambda c: list_deliveries(c, APP, DeliveryFilter(), limit=10, offset=0),
    "list by notifier": lambda c: list_deliveries(c, APP, DeliveryFilter(notifier_id="no-1"), limit=10, offset=0),
    "list by event": lambda c: list_deliveries(c, APP, DeliveryFilter(event_id="e"), limit=10, offset=0),
    "list by state": lambda c: list_deliveries(c, APP, DeliveryFilter(state=DeliveryState.FAILED), limit=10, offset=0),
    "find delivery": lambda c: find_delivery(c, APP, "de-1"),
    "attempts": lambda c: list_attempts(c, "de-1"),
    "replay": lambda c: replay(c, DELIVERY, at=NOW, expires_at=NOW),
    "count recoverable": lambda c: count_recoverable(c, "no-1", since=NOW, until=NOW),
    "recover": lambda c: recover(c, "no-1", since=NOW, until=NOW, before_id="de-9", limit=10, at=NOW, expires_at=NOW),
    "cancel": lambda c: cancel_pending(c, "no-1", reason=DeliveryReason.BY_USER, at=NOW),
    "cancel unwanted": lambda c: cancel_unwanted(c, at=NOW),
    "expire": lambda c: expire(c, at=NOW),
    "due walk": lambda c: list_due_notifiers(c, ["webhook"]),
    "reap": lambda c: reap_leases(c, lease_until=NOW, at=NOW),
    "free": lambda c: free_leases(c, at=NOW),
    "fanout": find_fanout,
    "fan out": lambda c: add_fanned_out(c, "e", [], done_count=1, is_last=False),
    "prune": lambda c: prune(c, finished_before=NOW, keys_before=NOW, limit=10),
    "chores": lambda c: find_chores(c, NOW),
    "event": lambda c: find_event(c, APP, "e"),
    "events of app": lambda c: list_events_of_app(c, APP, limit=10, offset=0),
    "events since": lambda c: list_events_of_app(c, APP, limit=10, offset=0, since=NOW),
    "events of user": lambda c: list_events_of_user(c, "us-1", [APP, "b" * 24], limit=10, offset=0),
}

HOT: dict[str, tuple[str, Any]] = {
    "claim": (hot.CLAIM, {"token": "t", "now": 1, "until": 2, "notifier": "no-1", "count": 9, "suspect": 2}),
    "next due": (hot.NEXT_DUE, ("no-1",)),
    "settle one": (hot.SETTLE._texts[-1][1], (None,) * 6),
    "settle many": (hot.SETTLE._texts[0][1], (None,) * 6 * 64),
    "late attempt": (hot.LATE_ATTEMPT, (None,) * 6),
    "key": (rows.FIND_KEY, (None,) * 2),
    "body": (rows.FIND_BODY, (None,)),
}


# The search that must be part of a verb's plan: by another index it would find the same, slowly.
BEST = {
    "list by event": ["deliveries_first (event_id=?)", "deliveries_replays (event_id=?)"],
    "list by notifier": ["deliveries_by_notifier (notifier_id=?)"],
    "cancel": ["deliveries_due (notifier_id=?)"],
    "expire": ["deliveries_expiring (expires_at<?)"],
    "reap": ["deliveries_leased (lease_until<?)"],
    "recover": ["deliveries_replays (event_id=? AND notifier_id=? AND id>?)"],
    "due walk": ["deliveries_due (notifier_id>?)", "deliveries_due (notifier_id=?)"],
    "events since": ["events_by_app (app_id=? AND id>?)"],
}


@pytest.fixture
def connection(migrated_sqlite: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///{migrated_sqlite}", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def plan(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def plans(connection: sa.Connection, name: str) -> list[str]:
    """The steps of every statement that a plain verb runs."""
    ran: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, executes_many) -> None:
        ran.append((statement, parameters[0] if executes_many else parameters))

    sa.event.listen(connection, "before_cursor_execute", note)
    VERBS[name](connection)
    sa.event.remove(connection, "before_cursor_execute", note)
    assert ran
    return [step for statement, parameters in ran for step in plan(connection, statement, parameters)]


@pytest.mark.parametrize("name", VERBS)
def test_a_plain_verb_walks_no_growing_table(connection: sa.Connection, name: str) -> None:
    assert not [step for step in plans(connection, name) if WALK.match(step)]


@pytest.mark.parametrize("name", BEST)
def test_a_plain_verb_finds_its_rows_by_the_narrowest_index(connection: sa.Connection, name: str) -> None:
    steps = plans(connection, name)
    for search in BEST[name]:
        assert [step for step in steps if step.endswith(search)], steps


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_walks_and_sorts_nothing(connection: sa.Connection, name: str) -> None:
    steps = plan(connection, *HOT[name])
    assert not [step for step in steps if WALK.match(step) or step == SORT]


@pytest.mark.parametrize("name", ["list by app", "list by notifier", "events of app", "events since"])
def test_a_page_is_read_in_the_order_of_its_index(connection: sa.Connection, name: str) -> None:
    assert SORT not in plans(connection, name)
