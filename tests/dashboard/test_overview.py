"""An app's overview: its numbers, charts and tables, notifiers, what happened last; renaming and deleting it."""

import re
from datetime import timedelta
from xml.etree.ElementTree import Element

import msgspec
import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.dashboard.test_home import SVG, add_notifier, end
from tocsin.dashboard.apps import SHOWN
from tocsin.ingest import Draft
from tocsin.model import NotifierState

APP = "/apps/my-app"


def charts(browser: Browser) -> list[str]:
    """What a screen reader says of each."""
    drawn = [each for each in browser.page.iter(SVG) if each.get("class") == "chart"]
    return [each.findtext(SVG.removesuffix("svg") + "title") or "" for each in drawn]


def tables(browser: Browser) -> list[list[list[str]]]:
    def row(element: Element) -> list[str]:
        return [" ".join("".join(cell.itertext()).split()) for cell in element if cell.tag in {"td", "th"}]

    return [[row(each) for each in table.iter("tr")] for table in browser.page.iter("table")]


async def test_the_numbers_stand_in_chart_and_table(world: World, alice: Browser) -> None:
    notifier = await add_notifier(world)
    for state, count in (("delivered", 6), ("failed", 2), ("cancelled", 1)):
        for _ in range(count):
            await end(world, state, notifier_id=notifier)
    await end(world, "delivered", finished_at=world.clock.now() - timedelta(days=3), created_at=world.clock.now())
    await alice.open(APP)
    ends, latency = charts(alice)
    assert ends == "Deliveries over time: 6 delivered, 2 failed, 1 cancelled"
    assert re.fullmatch(r"Latency: p50 15\.0 s, p95 19\.5 s, p99 19\.9 s", latency)
    counted, late, notifiers, failed = tables(alice)
    assert counted[0] == ["Time", "Delivered", "Failed", "Cancelled"]
    assert len(counted) == len(late) == 25
    assert [sum(int(row[column]) for row in counted[1:]) for column in (1, 2, 3)] == [6, 2, 1]
    assert late[-1][1:] == ["15.0 s", "19.5 s", "19.9 s"]
    assert {tuple(row[1:]) for row in late[1:-1]} == {("-", "-", "-")}
    mine = next(row for row in notifiers if row[0].startswith("ops"))
    assert mine[3:] == ["6", "2", "1", "75.0 %", "19.5 s"]
    assert len(failed) == 1 + 2
    assert "Success 75.0 %" in " ".join(alice.text.split()) or "75.0 % Success" in alice.text


async def test_a_notifiers_page_has_the_charts_of_its_own_week(world: World, alice: Browser) -> None:
    mine, other = await add_notifier(world), await add_notifier(world, "other")
    await alice.open(f"{APP}/notifiers/{mine}")
    assert charts(alice) == []
    await end(world, "failed", notifier_id=mine)
    await end(world, "delivered", notifier_id=other)
    await alice.open(f"{APP}/notifiers/{mine}")
    assert charts(alice) == ["Deliveries over time: 0 delivered, 1 failed, 0 cancelled"]
    await end(world, "delivered", notifier_id=mine)
    await alice.open(f"{APP}/notifiers/{mine}")
    ends, latency = charts(alice)
    assert ends == "Deliveries over time: 1 delivered, 1 failed, 0 cancelled"
    assert latency.startswith("Latency: p50 15.0 s")


@pytest.mark.parametrize(("span", "parts", "count"), [("24h", 24, 1), ("7d", 28, 2), ("30d", 30, 3), ("<x>", 24, 1)])
async def test_a_longer_time_is_shown_in_larger_parts(
    world: World, alice: Browser, span: str, parts: int, count: int
) -> None:
    for back in (timedelta(), timedelta(days=3), timedelta(days=20), timedelta(days=40)):
        at = world.clock.now() - back
        await end(world, "cancelled", finished_at=at, created_at=at)
    await alice.open(f"{APP}?span={span}")
    assert charts(alice)[0].endswith(f"{count} cancelled")
    assert len(tables(alice)[0]) == parts + 1
    current = [each.get("href") for each in alice.page.iter("a") if each.get("aria-current") == "true"]
    assert current == [f"{APP}?span={span if span[0].isdigit() else '24h'}"]


async def test_times_are_the_readers(world: World, alice: Browser) -> None:
    await end(world)
    now = world.clock.now()
    await alice.open(APP)
    assert tables(alice)[0][-1][0] == f"{now:%Y-%m-%d %H}:00 - {now + timedelta(hours=1):%H}:00"
    user = world.users["alice"]
    await world.verbs.accounts.set_preferences(user, language="fr", time_zone="Asia/Tokyo")
    await alice.open(APP)
    there = now + timedelta(hours=9)
    assert tables(alice)[0][-1][0] == f"{there:%Y-%m-%d %H}:00 - {there + timedelta(hours=1):%H}:00"
    assert charts(alice)[0].startswith("Livraisons")


async def test_a_new_app_says_what_is_missing(world: World, alice: Browser) -> None:
    await world.verbs.apps.add_app(world.users["alice"], "fresh")
    await alice.open("/apps/fresh")
    assert charts(alice) == []
    assert "No delivery ended in this time." in alice.text
    assert "No delivery failed in this time." in alice.text


async def test_notifiers_in_trouble_are_told_first(world: World, alice: Browser) -> None:
    await add_notifier(world, "healthy")
    await add_notifier(world, "resting", NotifierState.PAUSED)
    failing = await add_notifier(world, "broken", NotifierState.FAILING)
    await alice.open(APP)
    names = [row[0].split()[0] for row in tables(alice)[-1][1:]]
    assert names[:2] == ["broken", "resting"]
    assert "Notifiers that cannot deliver" in alice.text
    assert f"{APP}/notifiers/{failing}" in [each.get("href") for each in alice.page.iter("a")]


async def test_many_notifiers_are_shown_in_part(world: World, alice: Browser) -> None:
    for number in range(SHOWN + 1):
        await add_notifier(world, f"ops-{number}")
    await alice.open(APP)
    assert len(tables(alice)[-1]) == 1 + SHOWN
    shown = len(await world.verbs.notifiers.list(world.app))
    assert f"All {shown} notifiers" in alice.text
    assert len(alice.answer.content) < 60_000


async def test_what_happened_and_what_failed_lead_to_their_pages(world: World, alice: Browser) -> None:
    notifier = await add_notifier(world)
    failed = await end(world, "failed", notifier_id=notifier)
    draft = Draft(type="restart", type_data=msgspec.Raw(b"{}"))
    await world.verbs.ingest.accept(world.app, world.users["alice"], [draft])
    [event] = [each["id"] for each in await world.events(world.app.id) if each["type"] == "restart"]
    await alice.open(APP)
    links = {each.get("href") for each in alice.page.iter("a")}
    assert {f"{APP}/events/{event}", f"{APP}/deliveries/{failed}"} <= links


async def sign_in(world: World, browser: Browser, name: str) -> None:
    await world.verbs.accounts.set_password(world.users[name], PASSWORD)
    await browser.sign_in(name, PASSWORD)


async def test_who_does_not_own_an_app_is_offered_nothing_of_its_settings(world: World, browser: Browser) -> None:
    await sign_in(world, browser, "bob")
    await browser.open(APP)
    assert browser.answer.status_code == 200
    assert f"{APP}/settings" not in browser.answer.text
    assert (await browser.open(f"{APP}/settings")).status_code == 403
    token = browser.form("/logout").fields["form_token"]
    for path in ("settings", "remove"):
        sent = {"form_token": token, "name": "other", "current_name": "my-app"}
        answer = await browser.client.post(f"{APP}/{path}", data=sent)
        assert answer.status_code == 403


async def test_a_stranger_finds_nothing(world: World, browser: Browser) -> None:
    await sign_in(world, browser, "charlie")
    for path in (APP, f"{APP}/settings", f"{APP}?span=7d"):
        assert (await browser.open(path)).status_code == 404


async def test_an_app_is_renamed(world: World, alice: Browser) -> None:
    await alice.open(f"{APP}/settings")
    await alice.submit(f"{APP}/settings", name="their-app")
    assert alice.path == "/apps/their-app"
    assert (await alice.open(APP)).status_code == 404


@pytest.mark.parametrize("name", ["", "X", *PAYLOADS[::9]])
async def test_a_wrong_name_is_told_and_kept(alice: Browser, name: str) -> None:
    await alice.open(f"{APP}/settings")
    await alice.submit(f"{APP}/settings", name=name)
    assert alice.answer.status_code == 422
    [field] = [each for each in alice.page.iter("input") if each.get("id") == "name"]
    assert field.get("value") == name.strip()


@pytest.mark.parametrize("name", ["", "my-ap", "MY-APP", PAYLOADS[0]])
async def test_an_app_goes_only_when_its_name_is_entered(world: World, alice: Browser, name: str) -> None:
    await alice.open(f"{APP}/settings")
    await alice.submit(f"{APP}/remove", current_name=name)
    assert alice.answer.status_code == 422
    assert "is not the name of this app" in alice.text
    await alice.submit(f"{APP}/remove", current_name="my-app")
    assert alice.path == "/"
    assert (await alice.open(APP)).status_code == 404
