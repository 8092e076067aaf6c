"""Ids: of the shapes that clients expect, unique, and in the order they were made."""

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import ids
from tocsin.ids import derived_hex_id, first_hex_id, first_uuid7, new_hex_id, new_uuid7
from tocsin.store.schema import from_micros

HEX_ID = re.compile(r"[0-9a-f]{24}")
INSTANTS = st.integers(0, 253_402_300_700_000_000).map(from_micros)


def test_hex_ids_have_24_digits() -> None:
    assert HEX_ID.fullmatch(new_hex_id())


@pytest.mark.parametrize("prefix", ["no", "al", "us", "de"])
def test_prefixed_ids_hold_a_version_7_uuid(prefix: str) -> None:
    made = new_uuid7(prefix)
    held = uuid.UUID(made.removeprefix(f"{prefix}-"))
    assert made == f"{prefix}-{held}"
    assert (held.version, held.variant) == (7, uuid.RFC_4122)
    assert abs((held.int >> 80) / 1000 - time.time()) < 60


def test_ids_are_unique_and_rise() -> None:
    for new in (new_hex_id, lambda: new_uuid7("de")):
        made = [new() for _ in range(20_000)]
        assert made == sorted(set(made))


def test_ids_made_in_several_threads_are_unique() -> None:
    def make(_: int) -> list[str]:
        return [new_hex_id() for _ in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(make, range(8)))
    assert all(made == sorted(made) for made in lists)
    assert len({made for some in lists for made in some}) == 16_000


def test_ids_rise_though_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_SEQUENCE", ids._Sequence())  # for the others' ids are not to run ahead
    now = time.time_ns()
    made = []
    for step in (0, 1, -3600, -3600, 2, -86_400):
        monkeypatch.setattr(time, "time_ns", lambda at=now + step * 1_000_000_000: at)
        made += [new_hex_id(), new_hex_id()]
    assert made == sorted(set(made))


@given(at=INSTANTS)
def test_the_first_id_of_a_time_bounds_the_ids_made_then(at: datetime) -> None:
    millis = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    first = first_hex_id(at)
    assert HEX_ID.fullmatch(first)
    assert int(first, 16) >> 48 == millis
    assert first < first_hex_id(at + timedelta(milliseconds=1))
    delivery = first_uuid7("de", at)
    assert int(delivery.removeprefix("de-").replace("-", ""), 16) == millis
    assert delivery < first_uuid7("de", at + timedelta(milliseconds=1))


def test_the_first_ids_of_now_and_later_stand_around_a_new_one() -> None:
    before = datetime.now(UTC)
    event_id, delivery_id = new_hex_id(), new_uuid7("de")
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert first_hex_id(before - timedelta(milliseconds=1)) < event_id < first_hex_id(later)
    assert first_uuid7("de", before - timedelta(milliseconds=1)) < delivery_id < first_uuid7("de", later)


def test_a_time_before_1970_bounds_every_id() -> None:
    assert first_hex_id(datetime(1, 1, 1, tzinfo=UTC)) == "0" * 24


def test_derived_ids_stay_the_same() -> None:
    assert derived_hex_id("event_type", "deployment") == derived_hex_id("event_type", "deployment")
    assert HEX_ID.fullmatch(derived_hex_id("event_type", "deployment"))
    assert derived_hex_id("event_type", "x") != derived_hex_id("platform", "x")
