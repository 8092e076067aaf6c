"""The checker can fail: what is wrong in a run is named, each by its own invariant, and a run without fault passes."""

import msgspec
import pytest

from faults.checker import Evidence, Route, Usage, check, duplicates, figures
from faults.database import AttemptRow, DeliveryRow, Holdings, StoredEvent
from faults.producer import Replay
from faults.records import NOT_OURS, Accepted, Arrival

SECOND_US, SECOND_NS = 1_000_000, 1_000_000_000
BEGAN_US = 1_700_000_000 * SECOND_US
SCHEDULE = (0.0, 2.0, 10.0)


def accepted(number: int) -> Accepted:
    return Accepted(
        number=number,
        event_id=f"event-{number}",
        key=f"key-{number}",
        app="my-app",
        body_sha=f"sha-{number}",
        sent_ns=0,
        accepted_ns=0,
    )


def arrival(number: int, /, **changed: object) -> Arrival:
    usual = Arrival(
        at_ns=number * SECOND_NS,
        port=1,
        path="/1",
        message_id=f"event-{number}",
        delivery_id=f"delivery-{number}",
        attempt=1,
        number=number,
        body_sha=f"sha-{number}",
        is_signed=True,
        status=204,
    )
    return msgspec.structs.replace(usual, **changed)


def delivery(number: int, /, **changed: object) -> DeliveryRow:
    usual = DeliveryRow(
        id=f"delivery-{number}",
        event_id=f"event-{number}",
        notifier_id="notifier",
        state="delivered",
        reason=None,
        attempt_count=1,
        next_attempt_us=None,
        lease_until_us=None,
        finished_us=BEGAN_US + 10 * SECOND_US,
        is_live=False,
        replay_of=None,
    )
    return msgspec.structs.replace(usual, **changed)


def attempt(number: int, nth: int = 1, /, **changed: object) -> AttemptRow:
    usual = AttemptRow(
        delivery_id=f"delivery-{number}",
        number=nth,
        started_us=BEGAN_US,
        duration_ms=1,
        outcome="delivered",
        reason=None,
    )
    return msgspec.structs.replace(usual, **changed)


def run(**changed: object) -> Evidence:
    """A run of three events without fault, but for what is changed; `holdings` by their own fields."""
    numbers = (1, 2, 3)
    holdings = Holdings(
        events=[StoredEvent(id=f"event-{number}", number=number, body_sha=f"sha-{number}") for number in numbers],
        deliveries=[delivery(number) for number in numbers],
        attempts=[attempt(number) for number in numbers],
        keys={f"key-{number}": f"event-{number}" for number in numbers},
        looked_us=BEGAN_US + 1000 * SECOND_US,
    )
    kept = {name: changed.pop(name) for name in msgspec.structs.asdict(holdings).keys() & changed.keys()}
    usual = {
        "accepted": [accepted(number) for number in numbers],
        "sent": set(numbers),
        "arrivals": [*(arrival(number) for number in numbers), arrival(9, number=NOT_OURS)],
        "routes": [Route(app="my-app", notifier_id="notifier", path="/1")],
        "replays": [Replay(number=1, is_same_body=True, status=201, event_id="event-1")],
        "schedule_seconds": SCHEDULE,
    }
    return Evidence(**(usual | changed), holdings=msgspec.structs.replace(holdings, **kept))


def violated(evidence: Evidence) -> dict[str, list[str]]:
    return {name: found for name, found in check(evidence).items() if found}


def with_row(changed: DeliveryRow) -> list[DeliveryRow]:
    return [changed, delivery(2), delivery(3)]


def test_a_run_without_fault_passes() -> None:
    assert violated(run()) == {}


@pytest.mark.parametrize(
    "fate",
    [
        {"deliveries": [delivery(2), delivery(3)]},
        {"deliveries": with_row(delivery(1))},  # on record as delivered, and never arrived
        {"deliveries": with_row(delivery(1, state="failed"))},  # for no reason
        {"deliveries": with_row(delivery(1, state="pending", is_live=True, finished_us=None))},  # at no time
    ],
)
def test_a_lost_event_is_named(fate: dict[str, object]) -> None:
    found = violated(run(arrivals=[arrival(2), arrival(3)], **fate))
    assert [words for words in found["I1"] if "event 1 never came to /1" in words]


def test_an_accepted_event_that_is_not_stored_is_lost() -> None:
    assert violated(run(events=[])).keys() == {"I1"}


def test_refused_is_not_received() -> None:
    found = violated(run(arrivals=[arrival(1, status=503), arrival(2, status=0), arrival(3)]))
    assert len(found["I1"]) == 2


@pytest.mark.parametrize(
    "row",
    [
        delivery(1, state="pending", is_live=True, finished_us=None, next_attempt_us=BEGAN_US),
        delivery(1, state="sending", is_live=True, finished_us=None, lease_until_us=BEGAN_US + 990 * SECOND_US),
        delivery(1, state="failed", reason="expired"),
    ],
)
def test_what_is_still_to_be_sent_or_ended_with_a_reason_is_not_lost(row: DeliveryRow) -> None:
    assert violated(run(arrivals=[arrival(2), arrival(3)], deliveries=with_row(row))) == {}


@pytest.mark.parametrize(
    "odd",
    [arrival(7), arrival(1, message_id="event-2"), arrival(1, body_sha="another")],
    ids=["never sent", "id", "body"],
)
def test_a_phantom_is_named(odd: Arrival) -> None:
    assert "I2" in violated(run(arrivals=[arrival(1), arrival(2), arrival(3), odd]))


def test_what_was_posted_without_an_answer_is_no_phantom() -> None:
    arrivals = [arrival(1), arrival(2), arrival(3), arrival(7)]
    assert violated(run(arrivals=arrivals, sent={1, 2, 3, 7})) == {}


def test_a_duplicate_without_an_attempt_in_doubt_is_named() -> None:
    again = arrival(1, attempt=2, at_ns=9 * SECOND_NS)
    evidence = run(arrivals=[arrival(1), arrival(2), arrival(3), again])
    assert duplicates(evidence) == [again]
    assert violated(evidence).keys() == {"I3"}


def test_a_duplicate_after_an_attempt_in_doubt_is_explained() -> None:
    again = arrival(1, attempt=2, at_ns=9 * SECOND_NS)
    evidence = run(
        arrivals=[arrival(1), arrival(2), arrival(3), again],
        deliveries=with_row(delivery(1, attempt_count=2)),
        attempts=[attempt(1, outcome="unknown"), attempt(1, 2), attempt(2), attempt(3)],
    )
    assert len(duplicates(evidence)) == 1
    assert violated(evidence) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"keys": {"key-1": "event-2"}},
        {"replays": [Replay(number=1, is_same_body=True, status=201, event_id="event-8")]},
        {"replays": [Replay(number=1, is_same_body=True, status=503)]},
        {"replays": [Replay(number=1, is_same_body=False, status=201, event_id="event-1")]},
    ],
)
def test_a_key_that_stands_for_another_event_is_named(changed: dict[str, object]) -> None:
    assert violated(run(**changed)).keys() == {"I4"}


def test_an_event_that_was_stored_twice_is_named() -> None:
    events = [StoredEvent(id=f"event-{number}", number=number, body_sha="") for number in (1, 2, 3)]
    twice = [*events, StoredEvent(id="event-4", number=1, body_sha="")]
    assert violated(run(events=twice)).keys() == {"I4"}


def test_a_stuck_lease_is_named() -> None:
    stuck = delivery(
        1, state="sending", is_live=True, finished_us=None, lease_until_us=BEGAN_US + 900 * SECOND_US, attempt_count=1
    )
    assert violated(run(deliveries=with_row(stuck))).keys() == {"I5"}


@pytest.mark.parametrize(
    "attempts",
    [
        [attempt(1), attempt(1, 3, started_us=BEGAN_US + 5 * SECOND_US)],  # a gap
        [],  # none on record
        [attempt(1, started_us=BEGAN_US + 11 * SECOND_US)],  # after its end
    ],
    ids=["gap", "none", "late"],
)
def test_attempts_out_of_order_are_named(attempts: list[AttemptRow]) -> None:
    assert violated(run(attempts=[*attempts, attempt(2), attempt(3)])).keys() == {"I6"}


def test_an_attempt_that_two_workers_made_is_named() -> None:
    assert "I6" in violated(run(arrivals=[arrival(1), arrival(1), arrival(2), arrival(3)]))


@pytest.mark.parametrize(("gap_seconds", "names"), [(1.0, {"I7"}), (1.5, set()), (60.0, set())])
def test_an_early_attempt_is_named(gap_seconds: float, names: set[str]) -> None:
    second = attempt(1, 2, started_us=BEGAN_US + int(gap_seconds * SECOND_US) + 1000)
    evidence = run(
        deliveries=with_row(delivery(1, attempt_count=2, finished_us=BEGAN_US + 100 * SECOND_US)),
        attempts=[attempt(1, outcome="retry"), second, attempt(2), attempt(3)],
    )
    assert violated(evidence).keys() == names


@pytest.mark.parametrize(("gap_seconds", "names"), [(29, {"I7"}), (31, set())])
def test_an_attempt_before_the_receiver_allowed_it_is_named(gap_seconds: int, names: set[str]) -> None:
    held = arrival(1, status=429, retry_after_seconds=30)
    again = arrival(1, attempt=2, at_ns=(1 + gap_seconds) * SECOND_NS)
    assert violated(run(arrivals=[held, again, arrival(2), arrival(3)])).keys() == names


def test_what_goes_beyond_its_limit_is_named() -> None:
    limits = Usage(memory_mb=100, open_files=50)
    usage = [Usage(memory_mb=90, open_files=40), Usage(memory_mb=101, open_files=40, wal_mb=1000)]
    found = violated(run(usage=usage, limits=limits))
    assert found == {"I8": ["memory_mb came to 101, and 100 is the limit"]}


def test_nothing_is_said_of_limits_where_there_are_none() -> None:
    assert "limits exceeded (I8)" not in {figure.name for figure in figures([check(run())])}
    assert "limits exceeded (I8)" in {figure.name for figure in figures([check(run(limits=Usage(memory_mb=1)))])}


def test_violations_of_all_parts_are_added_up() -> None:
    lost = check(run(arrivals=[arrival(2), arrival(3)], deliveries=with_row(delivery(1))))
    [figure] = [figure for figure in figures([lost, check(run()), lost]) if "(I1)" in figure.name]
    assert (figure.value, figure.is_met) == (2, False)


def test_damage_and_a_wrong_signature_are_named() -> None:
    arrivals = [arrival(1, is_signed=False), arrival(2), arrival(3)]
    found = violated(run(damage=["row 7 missing from index"], arrivals=arrivals))
    assert len(found["I9"]) == 2
    assert found.keys() == {"I9"}
