"""Looking for events: by type, time and text, some at a time, and never through more than is bounded."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.store.cast import APP, OTHER_APP, Stage
from tocsin.store import walks
from tocsin.store.event_search import EventFilter, search_events
from tocsin.store.port import NewEvent
from tocsin.store.walks import Found

HOUR = timedelta(hours=1)


async def search(stage: Stage, *, limit: int = 50, **only: Any) -> Found[NewEvent]:
    return await stage.store.read(search_events, APP, EventFilter(**only), limit=limit)


async def search_all(stage: Stage, *, limit: int, **only: Any) -> list[NewEvent]:
    """Page after page, as somebody would who goes on until there is no more."""
    events: list[NewEvent] = []
    before = None
    while True:
        page = await search(stage, limit=limit, before=before, **only)
        assert len(page.items) <= limit
        events += page.items
        if page.before is None:
            return events
        assert before is None or page.before < before
        before = page.before


async def ingest(stage: Stage, event_type: str = "deployment", **type_data: Any) -> NewEvent:
    event = stage.event(event_type)
    body = msgspec.json.encode({"id": event.id, "type": event_type, "type_data": type_data})
    return await stage.ingest(msgspec.structs.replace(event, body=body))


def ids(found: Found[NewEvent]) -> list[str]:
    return [event.id for event in found.items]


async def test_the_newest_come_first_as_they_were_stored(stage: Stage) -> None:
    events = [await stage.ingest() for _ in range(3)]
    await stage.ingest(stage.event(app_id=OTHER_APP))
    found = await search(stage)
    assert found.items == events[::-1]
    assert (found.before, found.searched_to) == (None, None)


async def test_pages_lead_on_until_there_is_no_more(stage: Stage) -> None:
    events = [await stage.ingest() for _ in range(5)]
    first = await search(stage, limit=2)
    assert (ids(first), first.before, first.searched_to) == ([events[4].id, events[3].id], events[3].id, None)
    assert await search_all(stage, limit=2) == events[::-1]
    assert (await search(stage, limit=5)).before is None


async def test_types_choose(stage: Stage) -> None:
    scaled, deployed, crashed = [await stage.ingest(stage.event(each)) for each in ("scale", "deployment", "crash")]
    assert ids(await search(stage, types={"scale", "crash"})) == [crashed.id, scaled.id]
    assert ids(await search(stage, types={"deployment"})) == [deployed.id]
    assert ids(await search(stage, types={"no-such"})) == []


async def test_a_time_chooses(stage: Stage) -> None:
    events = []
    for _ in range(3):
        events.append(await stage.ingest())
        stage.clock.advance(HOUR)
    first, second, third = events
    assert ids(await search(stage, since=second.received_at)) == [third.id, second.id]
    assert ids(await search(stage, until=second.received_at)) == [first.id]
    assert ids(await search(stage, since=second.received_at, until=third.received_at)) == [second.id]
    assert ids(await search(stage, since=third.received_at, until=first.received_at)) == []
    assert ids(await search(stage, until=third.received_at, before=second.id)) == [first.id]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("Fix the Basket", "basket"),
        ("Été à Zürich", "ÉTÉ À ZÜRICH"),
        ('say "no"\nor \\ not', '"NO"\nor \\'),
        ("<b>&amp;", "<B>&"),
        ("100%_sure", "%_"),
        ("Straße", "STRASSE"),
    ],
)
async def test_a_text_is_found_whatever_its_case(stage: Stage, said: str, text: str) -> None:
    await ingest(stage, message="nothing of the kind")
    meant = await ingest(stage, message=said)
    await ingest(stage, message="100 sure")
    assert ids(await search(stage, text=text)) == [meant.id]


async def test_a_text_is_found_however_a_client_wrote_its_json(stage: Stage) -> None:
    event = stage.event()
    meant = await stage.ingest(msgspec.structs.replace(event, body=rb'{"message":"\u00c9t\u00e9 \/ path"}'))
    assert ids(await search(stage, text="été / path")) == [meant.id]


async def test_types_and_ids_are_text_too(stage: Stage) -> None:
    scaled, deployed = await ingest(stage, "Scale"), await ingest(stage)
    assert ids(await search(stage, text="SCALE")) == [scaled.id]
    assert ids(await search(stage, text=deployed.id.upper())) == [deployed.id]
    assert ids(await search(stage, text="scale", types={"deployment"})) == []


async def test_what_is_no_json_hides_nothing(stage: Stage) -> None:
    event = stage.event()
    meant = await stage.ingest(msgspec.structs.replace(event, body=b"\\ \xff basket"))
    assert ids(await search(stage, text="basket")) == [meant.id]


class TestBounds:
    """One question looks through so much, says how far it came, and the next goes on from there."""

    async def test_rows(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "MAX_ROWS", 3)
        events = [await ingest(stage, "scale" if number == 0 else "deployment") for number in range(8)]
        found = await search(stage, types={"scale"})
        assert (found.items, found.before, found.looked_at) == ([], events[5].id, 3)
        assert found.searched_to == events[5].received_at
        assert [event.id for event in await search_all(stage, limit=5, types={"scale"})] == [events[0].id]

    async def test_bodies(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "MAX_BODIES", 2)
        monkeypatch.setattr(walks, "_BYTES_AT_ONCE", 1)
        events = [await ingest(stage, message="basket" if number in {0, 3} else "") for number in range(6)]
        found = await search(stage, text="basket")
        assert (ids(found), found.before, found.looked_at) == ([], events[4].id, 2)
        assert [each.id for each in await search_all(stage, limit=1, text="basket")] == [events[3].id, events[0].id]

    async def test_bytes(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "MAX_BODY_BYTES", 1500)
        monkeypatch.setattr(walks, "_BYTES_AT_ONCE", 1200)
        events = [await ingest(stage, message="x" * 500 + f" n{number}") for number in range(6)]
        found = await search(stage, text="n1")
        assert (ids(found), found.before) == ([], events[3].id)
        assert [each.id for each in await search_all(stage, limit=1, text="n1")] == [events[1].id]

    async def test_one_event_that_is_larger_than_all(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "MAX_BODY_BYTES", 10)
        monkeypatch.setattr(walks, "_BYTES_AT_ONCE", 10)
        events = [await ingest(stage, message=f"basket {number}") for number in range(3)]
        assert await search_all(stage, limit=1, text="basket") == events[::-1]

    async def test_what_is_read_in_many_steps_is_whole(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(walks, "_STEP", 3)
        monkeypatch.setattr(walks, "_BODIES_AT_ONCE", 4)
        events = [await ingest(stage, message=f"basket {number % 2}") for number in range(11)]
        assert (await search(stage)).items == events[::-1]
        assert (await search(stage, text="basket 1")).items == events[1::2][::-1]
