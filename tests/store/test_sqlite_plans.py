"""Every statement over a table that grows with traffic finds its rows by an index."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from tests.store.cast import APP
from tocsin.errors import Conflict
from tocsin.model import Delivery, DeliveryReason, DeliveryState
from tocsin.store.chores import find_chores
from tocsin.store.deliveries import (
    DeliveryFilter,
    find_delivery,
    find_last_failed,
    find_last_finished,
    find_newest,
    list_attempts,
    list_deliveries,
)
from tocsin.store.delivery_search import DeliverySearch, search_deliveries
from tocsin.store.endings import cancel, cancel_pending, cancel_pending_of_app, cancel_unwanted, expire, finish
from tocsin.store.event_search import EventFilter, search_events
from tocsin.store.events import find_event, find_received
from tocsin.store.fanouts import add_fanned_out, find_fanout, list_owed
from tocsin.store.leases import free_leases, list_due_notifiers, reap_leases
from tocsin.store.operations import list_stopped
from tocsin.store.replays import Chosen, Pace, count_replayable, first_free, list_candidates, replay, replay_chosen
from tocsin.store.retention import prune
from tocsin.store.sqlite import hot, rows
from tocsin.store.tallies import count_events, fold_tallies, prune_tallies, sum_by_app, sum_by_hour, sum_by_notifier
from tocsin.store.timeline import MERGED_APPS, list_events_of_app, list_events_of_user

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GROWING = "deliveries|finished_deliveries|events|attempts|idempotency_keys|tallies|later|elsewhere"
# A partial index holds only what is under way, so that walking all of it is what is wanted.
PARTIAL = "deliveries_due|deliveries_leased|deliveries_expiring|deliveries_pending_by_notifier"
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


MISSED = Chosen(app_id=APP, notifier_id="no-1", target_id="no-2", since=NOW, until=NOW, before_id="de-9")
ARRIVED = msgspec.structs.replace(MISSED, states=frozenset({DeliveryState.DELIVERED}), types={"t"}, reasons=("gone",))
PACE = Pace(gap=timedelta(seconds=1), lifetime=timedelta(days=1))


def list_page(connection: sa.Connection, **only: Any) -> Any:
    return list_deliveries(connection, APP, DeliveryFilter(**only), limit=10, offset=20)


def search(connection: sa.Connection, **only: Any) -> Any:
    return search_deliveries(connection, APP, DeliverySearch(**only), limit=10)


def cancel_what_is_gone(connection: sa.Connection) -> None:
    with suppress(Conflict):
        cancel(connection, "de-1", at=NOW)


def replay_what_is_gone(connection: sa.Connection) -> None:
    with suppress(Conflict):
        replay(connection, DELIVERY, "no-2", at=NOW, expires_at=NOW)


LISTS: dict[str, dict[str, Any]] = {
    "list by app": {},
    "list before": {"before": "de-1"},
    "list by notifier": {"notifier_id": "no-1"},
    "list by notifier before": {"notifier_id": "no-1", "before": "de-1"},
    "list by event": {"event_id": "e"},
    "list by event and notifier": {"event_id": "e", "notifier_id": "no-1"},
    "list by event and state": {"event_id": "e", "state": DeliveryState.PENDING},
    "list pending": {"state": DeliveryState.PENDING},
    "list sending": {"state": DeliveryState.SENDING},
    "list sending of notifier": {"state": DeliveryState.SENDING, "notifier_id": "no-1"},
    "list failed": {"state": DeliveryState.FAILED},
    "list failed of notifier": {"state": DeliveryState.FAILED, "notifier_id": "no-1"},
}

FOUND: dict[str, dict[str, Any]] = {
    "all": {},
    "by notifier in time": {"notifier_id": "no-1", "since": NOW, "until": NOW},
    "by event": {"event_id": "e"},
    "failed": {"states": {DeliveryState.FAILED}},
    "failed of notifier": {"states": {DeliveryState.FAILED}, "notifier_id": "no-1"},
    "by type and text": {"types": {"t"}, "text": "x", "before": "de-1"},
}

VERBS: dict[str, Callable[[sa.Connection], Any]] = {
    **{name: partial(list_page, **only) for name, only in LISTS.items()},
    "find delivery": lambda c: find_delivery(c, APP, "de-1"),
    "newest deliveries": lambda c: find_newest(c, "e", ["no-1", "no-2"]),
    "last finished": lambda c: find_last_finished(c, APP),
    "tallies of apps": lambda c: sum_by_app(c, [APP, "b" * 24], 1),
    "tallies by hour": lambda c: sum_by_hour(c, APP, 1),
    "tallies of a notifier": lambda c: sum_by_hour(c, APP, 1, "no-1"),
    "tallies by notifier": lambda c: sum_by_notifier(c, APP, 1),
    "events of a day": lambda c: count_events(c, [APP], NOW),
    "last failed": lambda c: find_last_failed(c, ["no-1", "no-2"], limit=5),
    "fold tallies": lambda c: fold_tallies(c, at=NOW, limit=10),
    "prune tallies": lambda c: prune_tallies(c, before=NOW, limit=10),
    "attempts": lambda c: list_attempts(c, "de-1"),
    "replay": replay_what_is_gone,
    "missed": lambda c: list_candidates(c, MISSED, after=None, limit=10),
    "missed after": lambda c: list_candidates(c, MISSED, after="e", limit=10),
    "events to replay": lambda c: list_candidates(c, ARRIVED, after=None, limit=10),
    "events to replay after": lambda c: list_candidates(c, ARRIVED, after="e", limit=10),
    "count replayable": lambda c: count_replayable(c, MISSED, ["e", "f"]),
    "replay chosen": lambda c: replay_chosen(c, ARRIVED, ["e", "f"], pace=PACE, at=NOW),
    "first free": lambda c: first_free(c, "no-1", pace=PACE, at=NOW),
    "cancel one": cancel_what_is_gone,
    "cancel": lambda c: cancel_pending(c, "no-1", reason=DeliveryReason.BY_USER, at=NOW),
    "cancel of app": lambda c: cancel_pending_of_app(c, APP, except_event_id="e", at=NOW),
    "cancel unwanted": lambda c: cancel_unwanted(c, at=NOW),
    "expire": lambda c: expire(c, at=NOW),
    "finish": lambda c: finish(c, ["de-1", "de-2"], state=DeliveryState.FAILED, reason=DeliveryReason.EXPIRED, at=NOW),
    "due walk": lambda c: list_due_notifiers(c, ["webhook"]),
    "stopped": lambda c: list_stopped(c, before="no-1", limit=10),
    "reap": lambda c: reap_leases(c, lease_until=NOW, at=NOW),
    "free": lambda c: free_leases(c, at=NOW),
    "fanout": find_fanout,
    "fan out": lambda c: add_fanned_out(c, "e", [], seen_count=0, done_count=1, is_last=False),
    "prune": lambda c: prune(c, finished_before=NOW, keys_before=NOW, limit=10),
    "chores": lambda c: find_chores(c, NOW),
    "event": lambda c: find_event(c, APP, "e"),
    "event as received": lambda c: find_received(c, APP, "e"),
    "owed": lambda c: list_owed(c, "e"),
    "events of app": lambda c: list_events_of_app(c, APP, limit=10, offset=20),
    "events before": lambda c: list_events_of_app(c, APP, limit=10, offset=0, before="e"),
    "events since": lambda c: list_events_of_app(c, APP, limit=10, offset=0, since=NOW),
    "events of user": lambda c: list_events_of_user(c, "us-1", [APP, "b" * 24], limit=10, offset=20),
    **{f"search {name}": partial(search, **only) for name, only in FOUND.items()},
    "search events": lambda c: search_events(c, APP, EventFilter(types={"t"}, text="x"), limit=10),
    "search events in time": lambda c: search_events(c, APP, EventFilter(since=NOW, until=NOW), limit=10),
}

HOT: dict[str, tuple[str, Any]] = {
    "claim firsts": (hot.CLAIM_FIRSTS, {"token": "t", "now": 1, "until": 2, "notifier": "no-1", "count": 9}),
    "claim": (hot.CLAIM, {"token": "t", "now": 1, "until": 2, "notifier": "no-1", "count": 9, "suspect": 2}),
    "next due": (hot.NEXT_DUE, ("no-1",)),
    "finish one": (hot.FINISH._texts[-1][1], (None,) * 5),
    "finish many": (hot.FINISH._texts[0][1], (None,) * 5 * 64),
    "delete finished": (hot.DELETE_FINISHED._texts[0][1], (None,) * 64),
    "retry one": (hot.RETRY._texts[-1][1], (None,) * 3),
    "retry many": (hot.RETRY._texts[0][1], (None,) * 3 * 64),
    "find attempt": (hot.FIND_ATTEMPT, (None,) * 3),
    "late attempt": (hot.LATE_ATTEMPT, (None,) * 6),
    "key": (rows.FIND_KEY, (None,) * 2),
    "body": (rows.FIND_BODY, (None,)),
}


REPLAYABLE = [
    "SEARCH finished_deliveries USING INDEX finished_by_event (event_id=? AND notifier_id=?)",
    "finished_by_event (event_id=? AND notifier_id=? AND id>?)",
    "SEARCH elsewhere USING INDEX finished_by_event (event_id=? AND notifier_id=?)",
    "deliveries_first (event_id=? AND notifier_id=?)",
    "deliveries_replays (event_id=? AND notifier_id=?)",
]


# The search that must be part of a verb's plan: by another index it would find the same, slowly.
BEST = {
    "list by app": ["deliveries_pending_by_app (app_id=?)", "finished_by_app (app_id=?)"],
    "list before": ["deliveries_pending_by_app (app_id=? AND id<?)", "finished_by_app (app_id=? AND id<?)"],
    "list by event": [
        "deliveries_first (event_id=?)",
        "deliveries_replays (event_id=?)",
        "finished_by_event (event_id=?)",
    ],
    "list by event and notifier": ["finished_by_event (event_id=? AND notifier_id=?)"],
    "list by event and state": ["deliveries_first (event_id=?)", "deliveries_replays (event_id=?)"],
    "newest deliveries": [
        "finished_by_event (event_id=? AND notifier_id=?)",
        "deliveries_first (event_id=? AND notifier_id=?)",
        "deliveries_replays (event_id=? AND notifier_id=?)",
    ],
    "list by notifier": ["deliveries_pending_by_notifier (notifier_id=?)", "finished_by_notifier (notifier_id=?)"],
    "list by notifier before": ["finished_by_notifier (notifier_id=? AND id<?)"],
    "list failed": ["finished_undelivered (notifier_id=?)"],
    "list failed of notifier": ["finished_undelivered (notifier_id=?)"],
    "cancel": ["deliveries_pending_by_notifier (notifier_id=?)"],
    "cancel of app": ["deliveries_pending_by_app (app_id=?)"],
    "expire": ["deliveries_expiring (expires_at<?)"],
    "stopped": ["notifiers_stopped (id<?)"],
    "reap": ["deliveries_leased (lease_until<?)"],
    "missed": ["finished_undelivered (notifier_id=? AND event_id>? AND event_id<?)"],
    "missed after": ["finished_undelivered (notifier_id=? AND event_id>? AND event_id<?)"],
    "events to replay": ["events_by_app (app_id=? AND id>? AND id<?)"],
    "events to replay after": ["events_by_app (app_id=? AND id>? AND id<?)"],
    "count replayable": REPLAYABLE,
    "replay chosen": REPLAYABLE,
    "first free": ["deliveries_due_new (notifier_id=? AND next_attempt_at>?)"],
    "due walk": ["deliveries_pending_by_notifier (notifier_id>?)", "deliveries_due (notifier_id=?)"],
    "prune": ["deliveries_first (event_id=?)", "deliveries_replays (event_id=?)", "finished_by_event (event_id=?)"],
    "events of app": ["events_by_app (app_id=?)"],
    "events before": ["events_by_app (app_id=? AND id<?)"],
    "events since": ["events_by_app (app_id=? AND id>?)"],
    "events of user": ["events_by_user (user_id=?)", "events_by_app (app_id=?)"],
    "search all": ["deliveries_pending_by_app (app_id=?)", "finished_by_app (app_id=?)"],
    "search by notifier in time": [
        "deliveries_pending_by_notifier (notifier_id=? AND id>? AND id<?)",
        "finished_by_notifier (notifier_id=? AND id>? AND id<?)",
    ],
    "search by event": [
        "deliveries_first (event_id=?)",
        "deliveries_replays (event_id=?)",
        "finished_by_event (event_id=?)",
    ],
    "search failed": ["finished_undelivered (notifier_id=?)"],
    "search failed of notifier": ["finished_undelivered (notifier_id=?)"],
    "search by type and text": ["deliveries_pending_by_app (app_id=? AND id<?)", "finished_by_app (app_id=? AND id<?)"],
    "search events": ["events_by_app (app_id=?)"],
    "search events in time": ["events_by_app (app_id=? AND id>? AND id<?)"],
}

# What is sorted here is few: the deliveries of one event.
SORTED_FEW = {name for name in LISTS if "event" in name}
WALKED = ["first free", "missed", "missed after", "events to replay", "events to replay after"]
EVENTS = ["events of app", "events before", "events since", "events of user"]
SEARCHES = ["search events in time", "search all", "search by notifier in time"]
IN_ORDER = [*(LISTS.keys() - SORTED_FEW), *WALKED, *EVENTS, *SEARCHES]


@pytest.fixture
def connection(migrated_sqlite: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///{migrated_sqlite}", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def plan(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def plans(connection: sa.Connection, name: str) -> list[str]:
    return steps_of(connection, VERBS[name])


def steps_of(connection: sa.Connection, verb: Callable[[sa.Connection], Any]) -> list[str]:
    """The steps of every statement that a plain verb runs."""
    ran: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, executes_many) -> None:
        ran.append((statement, parameters[0] if executes_many else parameters))

    sa.event.listen(connection, "before_cursor_execute", note)
    verb(connection)
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


@pytest.mark.parametrize("name", sorted(IN_ORDER))
def test_a_page_is_read_in_the_order_of_its_index(connection: sa.Connection, name: str) -> None:
    """The parts of a list are merged as they come. Only few are put in order first: being sent, or undelivered."""
    steps = plans(connection, name)
    assert steps.count(SORT) == bool({"SCAN leased", "SCAN few"} & set(steps))


def test_the_events_of_a_user_with_many_apps_are_walked_from_the_newest(connection: sa.Connection) -> None:
    many = [f"{number:024}" for number in range(MERGED_APPS + 1)]
    steps = steps_of(connection, lambda c: list_events_of_user(c, "us-1", many, limit=10, offset=20))
    assert SORT not in steps
