"""Adding a notifier in steps, and changing one: what is right is stored, and nothing that was typed is lost."""

import json

import pytest

from tests.api.conftest import PUBLIC_URL, World
from tests.dashboard.browser import Browser
from tests.dashboard.payloads import PAYLOADS
from tests.dashboard.test_notifiers import LIST, URL, add, stored
from tests.dashboard.test_pages import check
from tocsin.dashboard.notifier_forms import PACE
from tocsin.model import Notifier, NotifierState

NEW = f"{LIST}/new"
ADDRESS = "type_data.webhook_url"


async def newest(world: World) -> Notifier:
    return (await world.verbs.notifiers.list(world.app))[-1]


def ids(world: World, *names: str) -> list[str]:
    found = [world.verbs.notifiers.catalogue.event_type_by_name(name) for name in names]
    return [each.id for each in found if each is not None]


def ticked(browser: Browser, name: str) -> list[str]:
    fields = [each for each in browser.page.iter("input") if each.get("name") == name]
    return [each.get("value", "") for each in fields if "checked" in each.attrib or each.get("type") == "hidden"]


async def test_a_newcomer_adds_a_notifier_with_few_clicks(world: World, alice: Browser) -> None:
    await alice.open(NEW)
    check(alice, "en")
    assert f'href="{NEW}/slack"' in alice.answer.text
    await alice.open(f"{NEW}/slack")
    check(alice, "en")
    await alice.submit(f"{NEW}/slack/events", **{ADDRESS: URL})
    check(alice, "en")
    assert URL not in str(alice.answer.url)
    await alice.submit(f"{NEW}/slack")
    check(alice, "en")
    added = await newest(world)
    assert alice.path == f"{LIST}/{added.id}/finish"
    assert (added.name, added.platform, added.type_data) == ("Slack", "slack", {"webhook_url": URL})
    assert (added.state, added.active, added.send_all_events) == (NotifierState.OFF, False, False)
    critical = [each.id for each in world.verbs.notifiers.catalogue.critical_event_types]
    assert list(added.selected_event_ids) == critical
    await alice.submit(f"{LIST}/{added.id}/on")
    assert alice.path == f"{LIST}/{added.id}?done=added"
    assert "from now on it is told what happens" in alice.text
    assert (await stored(world, added)).active
    await alice.open(f"{NEW}/slack")
    assert alice.form(f"{NEW}/slack/events").fields["name"] == "Slack 2"


async def test_every_platform_and_every_member_can_be_chosen(world: World, alice: Browser) -> None:
    for name, platform in world.verbs.notifiers.platforms.items():
        answer = await alice.open(f"{NEW}/{name}")
        assert answer.status_code == 200
        check(alice, "en")
        for setting in platform.settings:
            assert f'id="type_data.{setting.name}"' in answer.text
    await alice.open(f"{NEW}/email")
    assert "bob (bob@example.com)" in alice.text
    people = [world.users["alice"].id, world.users["bob"].id]
    typed = "ada@example.com, grace@example.com\r\n\r\n  ops@example.com"
    await alice.submit(f"{NEW}/email/events", **{"type_data.emails": typed, "type_data.user_ids": people})
    await alice.submit(f"{NEW}/email", **{"type_data.user_ids": people, "events": "all", "send_all_alerts": "yes"})
    added = await newest(world)
    assert added.type_data["emails"] == ["ada@example.com", "grace@example.com", "ops@example.com"]
    assert added.type_data["user_ids"] == people
    assert (added.send_all_events, added.send_all_alerts) == (True, True)


@pytest.mark.parametrize(
    ("platform", "typed", "field", "told"),
    [
        ("webhook", {"name": "", ADDRESS: URL}, "name", "is required"),
        ("webhook", {"name": "x" * 256, ADDRESS: URL}, "name", "printable"),
        ("webhook", {"name": "kept", ADDRESS: ""}, ADDRESS, "is required"),
        ("webhook", {"name": "kept", ADDRESS: "x" * 2049}, ADDRESS, "2048 characters"),
        ("email", {"name": "kept", "type_data.emails": "ada@example.com\r\nnobody"}, "type_data.emails", "addresses"),
        ("email", {"name": "kept", "type_data.emails": " "}, "type_data.emails", "must not be empty"),
        ("email", {"name": "kept", "type_data.user_ids": "us-0"}, "type_data.user_ids", "not the app"),
    ],
)
@pytest.mark.parametrize("is_at_the_end", [True, False])
async def test_what_is_wrong_is_told_at_its_field(
    world: World, alice: Browser, platform: str, typed: dict[str, str], field: str, told: str, is_at_the_end: bool
) -> None:
    await alice.open(f"{NEW}/{platform}")
    before = len(await world.verbs.notifiers.list(world.app))
    at = f"{NEW}/{platform}" + ("" if is_at_the_end else "/events")
    answer = await alice.submit(f"{NEW}/{platform}/events", to=at, **typed)
    assert answer.status_code == 422
    check(alice, "en")
    assert alice.page.find(f".//section[@id='problems']//a[@href='#{field}']") is not None
    told_there = alice.page.find(f".//p[@id='{field}-problem']")
    assert told_there is not None
    assert told in " ".join(told_there.itertext())
    marked = next(each for each in alice.page.iter() if each.get("id") == field)
    assert f"{field}-problem" in marked.get("aria-describedby", "")
    fields = alice.form(f"{NEW}/{platform}/events").fields
    for name, value in typed.items():
        if name != "type_data.user_ids":
            assert fields[name].replace("\n", "\r\n").replace("\r\r", "\r") == value
    assert len(await world.verbs.notifiers.list(world.app)) == before


async def test_steps_carry_what_was_typed_back_and_forth(world: World, alice: Browser) -> None:
    chosen = ids(world, "app_deployed", "app_scaled")
    await alice.open(f"{NEW}/webhook")
    await alice.submit(f"{NEW}/webhook/events", name="Ours & theirs", **{ADDRESS: URL})
    choice = {"events": "custom", "event": chosen, "category": "domains", "send_all_alerts": "yes"}
    await alice.submit(f"{NEW}/webhook", to=f"{NEW}/webhook/settings", **choice)
    check(alice, "en")
    assert alice.form(f"{NEW}/webhook/events").fields[ADDRESS] == URL
    back = {"event": ticked(alice, "event"), "category": ticked(alice, "category")}
    assert set(back["event"]) == set(chosen)
    await alice.submit(f"{NEW}/webhook/events", **back)
    assert alice.form(f"{NEW}/webhook").fields["name"] == "Ours & theirs"
    wanted = {*chosen, *ids(world, "domain_added", "domain_edited", "domain_removed")}
    assert set(ticked(alice, "event")) == wanted
    assert ticked(alice, "category") == ["domains"]
    await alice.submit(f"{NEW}/webhook", event=ticked(alice, "event"))
    added = await newest(world)
    assert set(added.selected_event_ids) == wanted
    assert (added.name, added.send_all_alerts, added.send_all_events) == ("Ours & theirs", True, False)


async def test_a_step_that_is_asked_for_again_begins_anew(alice: Browser) -> None:
    for step in ("events", "settings", "check"):
        await alice.open(f"{NEW}/webhook/{step}")
        assert alice.path == f"{NEW}/webhook"
    assert (await alice.open(f"{NEW}/pigeon")).status_code == 404


@pytest.mark.parametrize(
    ("search", "language", "found"),
    [
        ("deploy", "en", {"app_deployed"}),
        ("BACKUP failed", "en", {"database_backup_failed"}),
        ("app_crashed_repeated", "en", {"app_crashed_repeated"}),
        ("plantage répété", "fr", {"app_crashed_repeated"}),
        ("domain", "en", {"domain_added", "domain_edited", "domain_removed"}),
        ("no such event", "en", set()),
    ],
)
async def test_event_types_are_searched_without_scripts(
    world: World, alice: Browser, search: str, language: str, found: set[str]
) -> None:
    await alice.open(f"{NEW}/webhook", **{"accept-language": language})
    await alice.submit(f"{NEW}/webhook/events", **{ADDRESS: URL})
    chosen = ids(world, "variable_added")
    fields = alice.form(f"{NEW}/webhook").fields | {"search": search, "events": "custom", "event": chosen}
    headers = {"origin": PUBLIC_URL, "accept-language": language}
    alice.answer = await alice.client.post(f"{NEW}/webhook/events", data=fields, headers=headers)
    check(alice, language)
    rows = [each for each in alice.page.iter("div") if each.get("data-text")]
    shown = {row.get("data-text", "").split()[0] for row in rows if "hidden" not in row.attrib}
    assert shown == found
    assert len(rows) == 50
    assert ticked(alice, "event") == chosen
    [none] = [each for each in alice.page.iter("p") if "data-none" in each.attrib]
    assert ("hidden" in none.attrib) is bool(found)


async def checked(browser: Browser, address: str, language: str = "en", **typed: str) -> dict[str, str]:
    token = next(form for form in browser.forms() if "form_token" in form.fields).fields["form_token"]
    answer = await browser.client.post(
        address, data={"form_token": token} | typed, headers={"origin": PUBLIC_URL, "accept-language": language}
    )
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, str] = json.loads(answer.text)["problems"]
    return found


async def test_a_form_is_checked_while_it_is_typed(world: World, alice: Browser) -> None:
    await alice.open(f"{NEW}/webhook")
    here = f"{NEW}/webhook/check"
    assert await checked(alice, here, name="", **{ADDRESS: ""}) == {"name": "is required", ADDRESS: "is required"}
    assert await checked(alice, here, "fr", name="x", **{ADDRESS: ""}) == {ADDRESS: "est requis"}
    assert await checked(alice, here, name="x", **{ADDRESS: URL}) == {}
    notifier = await add(world)
    await alice.open(f"{LIST}/{notifier.id}/edit")
    here = f"{LIST}/{notifier.id}/edit/check"
    assert await checked(alice, here, name="x", **{ADDRESS: URL}, rate_per_second="fast") == {
        "rate_per_second": "must be a number"
    }
    assert await checked(alice, here, name="x", **{ADDRESS: URL}) == {}
    assert await stored(world, notifier) == notifier


@pytest.mark.parametrize("payload", PAYLOADS[::7])
async def test_what_is_typed_comes_back_as_text(world: World, alice: Browser, payload: str) -> None:
    await alice.open(f"{NEW}/webhook")
    await alice.submit(f"{NEW}/webhook/events", name=payload, **{ADDRESS: ""})
    check(alice, "en")
    assert alice.form(f"{NEW}/webhook/events").fields["name"] == payload
    await alice.submit(f"{NEW}/webhook/events", name="x", **{ADDRESS: payload})
    if alice.answer.status_code == 200:
        assert alice.form(f"{NEW}/webhook").fields[ADDRESS] == payload
        await alice.submit(f"{NEW}/webhook", to=f"{NEW}/webhook/events", search=payload)
        assert alice.form(f"{NEW}/webhook").fields["search"] == payload
    check(alice, "en")


async def test_a_notifier_is_changed_on_one_page(world: World, alice: Browser) -> None:
    notifier = await add(world, selected_events=["app_deployed"])
    here = f"{LIST}/{notifier.id}/edit"
    await alice.open(here)
    fields = alice.form(here).fields
    assert (fields["name"], fields[ADDRESS], fields["events"]) == ("the hook", URL, "custom")
    assert ticked(alice, "event") == list(notifier.selected_event_ids)
    pace = {"rate_per_second": "2,5", "retry_schedule": "0, 5s 5m 2h", "expires_after": "12h"}
    new = {"name": "another name", ADDRESS: f"{URL}/2", "category": "addons", **pace}
    await alice.submit(here, **new)
    assert alice.path == f"{LIST}/{notifier.id}?done=changed"
    found = await stored(world, notifier)
    assert (found.name, found.type_data) == ("another name", {"webhook_url": f"{URL}/2"})
    assert (found.rate_per_second, found.retry_schedule, found.expires_after) == (2.5, (0, 5, 300, 7200), 43200)
    assert len(found.selected_event_ids) == 1 + 7
    await alice.open(here)
    shown = [alice.form(here).fields[name] for name in PACE]
    assert shown == ["2.5", "0s 5s 5m 2h", "12h"]
    await alice.submit(here, events="critical", **dict.fromkeys(PACE, ""))
    found = await stored(world, notifier)
    assert (found.rate_per_second, found.retry_schedule, found.expires_after) == (None, None, None)
    await alice.open(here)
    assert alice.form(here).fields["events"] == "critical"


@pytest.mark.parametrize(
    ("field", "wrong", "told"),
    [
        ("name", " ", "is required"),
        (ADDRESS, "", "is required"),
        ("rate_per_second", "1001", "must be from 0.01 to 1000"),
        ("rate_per_second", "nan", "must be from 0.01 to 1000"),
        ("rate_per_second", "many", "must be a number"),
        ("retry_schedule", "0s 25h", "must be the seconds before each"),
        ("retry_schedule", "soon", "must be a number of seconds"),
        ("expires_after", "8d", "must be from 60 to 604800"),
        ("expires_after", "a week", "must be a number of seconds"),
    ],
)
async def test_a_change_that_is_wrong_loses_nothing(
    world: World, alice: Browser, field: str, wrong: str, told: str
) -> None:
    notifier = await add(world, send_all_alerts=True)
    here = f"{LIST}/{notifier.id}/edit"
    await alice.open(here)
    typed = {"name": "typed", ADDRESS: f"{URL}/typed", "rate_per_second": "7", "events": "all"} | {field: wrong}
    answer = await alice.submit(here, **typed)
    assert answer.status_code == 422
    check(alice, "en")
    assert told in " ".join(alice.page.find(f".//p[@id='{field}-problem']").itertext())
    fields = alice.form(here).fields
    assert {name: fields[name] for name in typed} == typed
    assert fields["send_all_alerts"] == "yes"
    assert await stored(world, notifier) == notifier


async def test_a_search_on_the_page_of_changes_keeps_them(world: World, alice: Browser) -> None:
    notifier = await add(world)
    here = f"{LIST}/{notifier.id}/edit"
    await alice.open(here)
    await alice.submit(here, to=f"{here}/search", name="typed", search="deploy", events="custom")
    check(alice, "en")
    assert alice.form(here).fields["name"] == "typed"
    assert await stored(world, notifier) == notifier
