"""Looking for deliveries: by state, notifier, type, time and text, and never through more than is bounded."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.cast import APP, OTHER_APP, Stage
from tests.store.test_lists import live_in_every_way
from tocsin.ids import first_uuid7, time_of_uuid7
from tocsin.model import Delivery, DeliveryState, Notifier
from tocsin.store import delivery_search, schema, walks
from tocsin.store.deliveries import find_delivery
from tocsin.store.delivery_search import DeliverySearch, search_deliveries
from tocsin.store.walks import Found

MILLISECOND = timedelta(milliseconds=1)


async def search(stage: Stage, *, limit: int = 50, **only: Any) -> Found[Delivery]:
    return await stage.store.read(search_deliveries, APP, DeliverySearch(**only), limit=limit)


def search_all(connection: sa.Connection, only: DeliverySearch, *, limit: int) -> list[Delivery]:
    """Page after page, as somebody would who goes on until there is no more."""
    found: list[Delivery] = []
    while True:
        page = search_deliveries(connection, APP, only, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        if page.before is None:
            assert page.searched_to is None
            return found
        assert only.before is None or page.before < only.before
        only = msgspec.structs.replace(only, before=page.before)


async def send(stage: Stage, notifier: Notifier, event_type: str, message: str) -> str:
    """An event for that notifier; answers with the id of its delivery."""
    event = stage.event(event_type)
    body = msgspec.json.encode({"id": event.id, "type_data": {"message": message}})
    await stage.ingest(msgspec.structs.replace(event, body=body))
    [newest] = (await search(stage, limit=1, notifier_id=notifier.id)).items
    return newest.id


def every_delivery(connection: sa.Connection) -> list[Any]:
    """The app's rows, newest first: the tables read whole."""
    tables = (schema.deliveries, schema.finished_deliveries)
    rows = [row for table in tables for row in connection.execute(sa.select(table)) if row.app_id == APP]
    return sorted(rows, key=lambda row: row.id, reverse=True)


@pytest.mark.parametrize(("seed", "rows", "few"), [(0, 10_000, 10_000), (1, 4, 10_000), (2, 10_000, 2), (3, 3, 2)])
async def test_whatever_is_looked_for_is_found_to_the_last(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, seed: int, rows: int, few: int
) -> None:
    """However little one question goes through, and however undelivered ones are found."""
    monkeypatch.setattr(walks, "MAX_ROWS", rows)
    monkeypatch.setattr(delivery_search, "MAX_COUNT", few)
    await live_in_every_way(stage, seed=seed)
    await stage.store.read(compare)


def compare(connection: sa.Connection) -> None:
    whole = every_delivery(connection)
    assert len({row.state for row in whole}) >= 3
    ids = [row.id for row in whole]
    times = [time_of_uuid7(each) for each in ids]
    assert all(
        first_uuid7("de", at) <= each < first_uuid7("de", at + MILLISECOND) for at, each in zip(times, ids, strict=True)
    )

    filters = st.builds(
        DeliverySearch,
        notifier_id=st.sampled_from([None, None, *sorted({row.notifier_id for row in whole}), "no-such"]),
        event_id=st.sampled_from([None, None, None, *sorted({row.event_id for row in whole})]),
        states=st.frozensets(st.sampled_from(DeliveryState), max_size=3),
        types=st.sampled_from([frozenset(), frozenset({"deployment"}), frozenset({"scale", "crash"})]),
        since=st.sampled_from([None, None, *times]),
        until=st.sampled_from([None, None, *times]),
        before=st.sampled_from([None, None, *ids]),
        text=st.sampled_from(["", "", whole[0].event_id, whole[-1].id, "one"]),
    )

    @settings(max_examples=60, deadline=None, database=None)
    @given(filters, st.integers(1, 9))
    def agree(only: DeliverySearch, limit: int) -> None:
        found = search_all(connection, only, limit=limit)
        wanted = [row.id for row in whole if is_wanted(connection, only, row)]
        assert [delivery.id for delivery in found] == wanted

    agree()


def is_wanted(connection: sa.Connection, only: DeliverySearch, row: Any) -> bool:
    named = find_delivery(connection, APP, row.id)
    assert named is not None
    return (
        only.notifier_id in {None, row.notifier_id}
        and only.event_id in {None, row.event_id}
        and (not only.states or row.state in only.states)
        and (not only.types or row.event_type in only.types)
        and (only.since is None or row.id >= first_uuid7("de", only.since))
        and (only.until is None or row.id < first_uuid7("de", only.until))
        and (only.before is None or row.id < only.before)
        and any(only.text in word for word in (row.id, row.event_id, named.notifier_name))
    )


async def test_types_choose(stage: Stage) -> None:
    notifier = await stage.add_notifier()
    scaled = await send(stage, notifier, "scale", "")
    deployed = await send(stage, notifier, "deployment", "")
    assert [each.id for each in (await search(stage, types={"scale"})).items] == [scaled]
    assert [each.id for each in (await search(stage, types={"scale", "deployment"})).items] == [deployed, scaled]


async def test_a_text_is_found_in_the_event_the_type_the_name_and_the_ids(stage: Stage) -> None:
    ops, other = await stage.add_notifier("On Call"), await stage.add_notifier("other")
    await stage.add_notifier("of another app", app_id=OTHER_APP)
    first = await send(stage, ops, "scale", "Fix the Basket")
    await send(stage, ops, "deployment", "")
    names = {ops.id: "On Call", other.id: "other"}
    for text, expected in (
        ("BASKET", {("On Call", "scale"), ("other", "scale")}),
        ("SCALE", {("On Call", "scale"), ("other", "scale")}),
        ("on call", {("On Call", "scale"), ("On Call", "deployment")}),
        (first.upper(), {("On Call", "scale")}),
        (other.id, {("other", "scale"), ("other", "deployment")}),
        ("call\nde-", set()),
        ("nothing of the kind", set()),
    ):
        found = (await search(stage, text=text)).items
        assert {(names[each.notifier_id], each.event_type) for each in found} == expected, text


class TestBounds:
    async def test_rows(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some wait and some are over: so many in all are gone through, then it says where it stopped."""
        monkeypatch.setattr(walks, "MAX_ROWS", 4)
        notifier = await stage.add_notifier()
        ids = [await send(stage, notifier, "scale" if number == 0 else "deployment", "") for number in range(10)]
        for claim in await stage.claim(notifier, 6):
            await stage.deliver(claim)
        found = await search(stage, types={"scale"})
        assert (found.items, found.before, found.looked_at) == ([], ids[6], 4)
        assert found.searched_to == time_of_uuid7(ids[6])
        rest = await stage.store.read(search_all, DeliverySearch(types={"scale"}), limit=3)
        assert [each.id for each in rest] == [ids[0]]

    async def test_a_full_page_ends_before_that(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "MAX_ROWS", 4)
        notifier = await stage.add_notifier()
        ids = [await send(stage, notifier, "scale", "") for _ in range(6)]
        found = await search(stage, types={"scale"}, limit=2)
        assert ([each.id for each in found.items], found.before, found.searched_to) == (ids[:3:-1], ids[4], None)

    async def test_events_that_are_read(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "MAX_BODIES", 2)
        monkeypatch.setattr(walks, "_BYTES_AT_ONCE", 1)
        notifier = await stage.add_notifier()
        ids = [await send(stage, notifier, "scale", "basket" if number == 1 else "") for number in range(6)]
        found = await search(stage, text="basket")
        assert (found.items, found.before, found.looked_at) == ([], ids[4], 2)
        rest = await stage.store.read(search_all, DeliverySearch(text="basket"), limit=3)
        assert [each.id for each in rest] == [ids[1]]
