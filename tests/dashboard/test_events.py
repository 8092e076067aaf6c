"""An app's events on pages: the timeline with filters, one event whole, sending one by hand."""

import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.line import PLATFORM_IDS
from tocsin.dashboard.events import SHOWN
from tocsin.ingest import Draft
from tocsin.notifier_rules import NotifierWish

EVENTS = "/apps/my-app/events"


async def report(world: World, event_type: str, **type_data: Any) -> str:
    """The id of an event that alice's platform reported."""
    draft = Draft(type=event_type, type_data=msgspec.Raw(json.dumps(type_data).encode()))
    accepted = await world.verbs.ingest.accept(world.app, world.users["alice"], [draft])
    return str(json.loads(accepted.bodies[0])["id"])


async def test_events_are_told_in_sentences_and_lead_to_their_pages(world: World, alice: Browser) -> None:
    event_id = await report(world, "deployment", status="success", pusher="ada", git_ref="abc1234def")
    await alice.open(EVENTS)
    assert f'href="{EVENTS}/{event_id}"' in alice.answer.text
    await alice.open(f"{EVENTS}/{event_id}")
    assert "deployment" in alice.text
    assert '"pusher": "ada"' in alice.text


async def test_the_timeline_is_filtered_by_type_category_text_and_time(world: World, alice: Browser) -> None:
    await report(world, "deployment", status="success", pusher="ada")
    await report(world, "restart", scope=["web"])
    await report(world, "new_variable", name="COLOUR")

    async def shown(**asked: str) -> set[str]:
        await alice.open(f"{EVENTS}?{urlencode(asked)}")
        assert alice.answer.status_code == 200
        return {each.text or "" for each in alice.page.iterfind(".//ol//code")} - {"new_app", "edit_notifier"}

    assert {"deployment", "restart", "new_variable"} <= await shown()
    assert await shown(type="restart") == {"restart"}
    assert {"deployment", "restart"} <= await shown(type="category:app_operations")
    assert "new_variable" not in await shown(type="category:app_operations")
    assert await shown(q="colour") == {"new_variable"}
    assert await shown(q="no such word") == set()
    assert "No event fits." in alice.text
    assert await shown(since="2099-01-01T00:00") == await shown(until="2001-01-01T00:00") == set()
    assert {"deployment", "restart"} <= await shown(since="2001-01-01T00:00", until="2099-01-01T00:00")
    assert await shown(type="nonsense") == set()


@pytest.mark.parametrize("name", ["since", "until"])
async def test_a_time_that_is_none_is_told_at_its_field(alice: Browser, name: str) -> None:
    answer = await alice.open(f"{EVENTS}?{name}=yesterday&q=kept")
    assert answer.status_code == 422
    assert "must be a date and a time" in alice.text
    assert 'value="kept"' in answer.text


async def test_the_rest_of_a_long_timeline_is_a_link_away(world: World, alice: Browser) -> None:
    ids = [await report(world, "restart", number=number) for number in range(SHOWN + 5)]
    await alice.open(f"{EVENTS}?type=restart")
    assert ids[-1] in alice.answer.text
    assert ids[0] not in alice.answer.text
    [older] = [link.get("href", "") for link in alice.page.iter("a") if link.get("rel") == "next"]
    await alice.open(older)
    assert ids[0] in alice.answer.text
    assert ids[-1] not in alice.answer.text
    assert f'href="{EVENTS}?type=restart"' in alice.answer.text


async def test_the_raw_file_is_what_webhooks_get(world: World, alice: Browser) -> None:
    event_id = await report(world, "deployment", text="é" * 20_000)
    await alice.open(f"{EVENTS}/{event_id}")
    assert "The rest is in the file." in alice.text
    answer = await alice.open(f"{EVENTS}/{event_id}/raw")
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == await world.verbs.history.get_event(world.app, event_id)


async def test_a_sample_is_loaded_and_sent(world: World, alice: Browser) -> None:
    await alice.open(f"{EVENTS}/new?type=crash")
    assert alice.form(f"{EVENTS}/new").fields["type"] == "deployment" or "crash" in alice.answer.text
    sample = alice.page.findtext(".//textarea") or ""
    assert json.loads(sample) == json.loads(msgspec.json.encode(world.verbs.notifiers.catalogue.events["crash"].sample))
    await alice.submit(f"{EVENTS}/new", type="crash", type_data=sample)
    assert alice.path.endswith("?done=sent")
    assert "The event was stored" in alice.text
    stored, _ = await world.verbs.history.list_events(world.app, limit=1, offset=0)
    assert json.loads(stored[0])["type"] == "crash"


async def test_who_would_get_it_is_told_and_nothing_is_sent(world: World, alice: Browser) -> None:
    settings = {"webhook_url": "https://example.com/"}
    wish = NotifierWish(
        platform_id=PLATFORM_IDS["webhook"], name="hook", type_data=settings, selected_events=["app_crashed"]
    )
    await world.verbs.notifiers.add(world.app, world.users["alice"], wish)
    before, _ = await world.verbs.history.list_events(world.app, limit=1, offset=0)
    for event_type, told in (("crash", "hook : gets it."), ("restart", "hook : does not get it.")):
        await alice.open(f"{EVENTS}/new")
        await alice.submit(f"{EVENTS}/new", type=event_type, type_data="{}", explain="yes")
        assert alice.answer.status_code == 200
        assert told in alice.text
    after, _ = await world.verbs.history.list_events(world.app, limit=1, offset=0)
    assert before == after


@pytest.mark.parametrize(
    ("event_type", "type_data", "told"),
    [
        ("restart", "{", "is not JSON"),
        ("restart", "[" * 5000, "is not JSON"),
        ("restart", "[1]", "must be an object"),
        ("restart", '{"x": 1e999}', "type_data"),
        ("", "{}", "must be 1 to"),
        ("x" * 300, "{}", "must be 1 to"),
        ("addon_updated", "{}", "status"),
    ],
)
async def test_what_cannot_be_an_event_is_told_at_its_field_and_stays(
    alice: Browser, event_type: str, type_data: str, told: str
) -> None:
    await alice.open(f"{EVENTS}/new")
    await alice.submit(f"{EVENTS}/new", type=event_type, type_data=type_data)
    assert alice.answer.status_code == 422
    assert told in alice.text
    assert (alice.page.findtext(".//textarea") or "").strip() == type_data


async def test_whoever_may_only_read_is_not_offered_to_send(world: World) -> None:
    await world.verbs.apps.add_collaborator(
        world.users["alice"], world.app, world.users["charlie"].email, is_limited=True
    )
    await world.verbs.accounts.set_password(world.users["charlie"], PASSWORD)
    event_id = await report(world, "restart")
    async with open_browser(world.api) as charlie:
        await charlie.sign_in("charlie", PASSWORD)
        await charlie.open(EVENTS)
        assert f"{EVENTS}/new" not in charlie.answer.text
        assert (await charlie.open(f"{EVENTS}/{event_id}")).status_code == 200
        assert (await charlie.open(f"{EVENTS}/new")).status_code == 403


async def test_a_stranger_finds_nothing(world: World) -> None:
    await world.verbs.accounts.set_password(world.users["charlie"], PASSWORD)
    event_id = await report(world, "restart")
    async with open_browser(world.api) as charlie:
        await charlie.sign_in("charlie", PASSWORD)
        for path in (EVENTS, f"{EVENTS}/new", f"{EVENTS}/{event_id}", f"{EVENTS}/{event_id}/raw"):
            assert (await charlie.open(path)).status_code == 404


async def test_an_event_that_is_not_there_is_a_page_that_says_so(alice: Browser) -> None:
    for event_id in ("nope", "0" * 24, "0" * 101):
        assert (await alice.open(f"{EVENTS}/{event_id}")).status_code == 404
        assert "There is nothing here" in alice.text


async def test_payloads_are_text(world: World, alice: Browser) -> None:
    for payload in PAYLOADS:
        event_id = await report(world, "deployment", pusher=payload, text=payload)
        await alice.open(f"{EVENTS}/{event_id}")
        assert alice.answer.status_code == 200
        assert not {"iframe", "object", "video", "math", "base"} & {each.tag for each in alice.page.iter()}
    for payload in PAYLOADS[::6]:
        await alice.open(f"{EVENTS}?{urlencode({'q': payload[:100], 'type': payload[:100]})}")
        assert alice.answer.status_code == 200
        await alice.open(f"{EVENTS}/new?{urlencode({'type': payload[:100]})}")
        assert alice.answer.status_code == 200
