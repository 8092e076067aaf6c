"""The list of apps: what each does at a glance, found by name, in pages; and adding one."""

from datetime import timedelta
from xml.etree.ElementTree import Element

import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.line import PLATFORM_IDS
from tests.store.cast import insert
from tocsin.dashboard.home import SHOWN
from tocsin.ids import new_uuid7
from tocsin.model import NotifierState
from tocsin.notifier_rules import NotifierWish
from tocsin.store import schema
from tocsin.store.lives import change_life

SVG = "{http://www.w3.org/2000/svg}svg"


async def end(world: World, state: str = "delivered", **changes: object) -> str:
    """Put a delivery that is over into the history; answers with its id."""
    at = world.clock.now()
    row = {
        "id": new_uuid7("de"),
        "app_id": world.app.id,
        "event_id": "e",
        "event_type": "deployment",
        "notifier_id": "no-1",
        "state": state,
        "reason": None if state == "delivered" else "exhausted",
        "attempt_count": 1,
        "created_at": at - timedelta(seconds=15),
        "expires_at": at,
        "finished_at": at,
    }
    await world.store.write(insert, schema.finished_deliveries, row | changes)
    return str(row["id"])


async def add_notifier(world: World, name: str = "ops", state: NotifierState = NotifierState.ACTIVE) -> str:
    wish = NotifierWish(
        platform_id=PLATFORM_IDS["webhook"], name=name, type_data={"webhook_url": "https://example.com/"}
    )
    notifier = await world.verbs.notifiers.add(world.app, world.users["alice"], wish)
    if state is not NotifierState.ACTIVE:

        def change(found):
            return type(found)(**{each: getattr(found, each) for each in found.__struct_fields__} | {"state": state})

        await world.store.write(change_life, notifier.id, change)
    return notifier.id


def apps(browser: Browser) -> list[str]:
    return [heading.findtext("a") or "" for heading in browser.page.iter("h2") if heading.find("a") is not None]


def link(browser: Browser, text: str) -> str:
    found: list[Element] = [each for each in browser.page.iter("a") if "".join(each.itertext()) == text]
    return found[0].get("href", "")


async def test_an_app_is_shown_with_its_day(world: World, alice: Browser) -> None:
    for state, count in (("delivered", 3), ("failed", 2), ("cancelled", 1)):
        for _ in range(count):
            await end(world, state)
    await end(world, finished_at=world.clock.now() - timedelta(hours=30))
    await add_notifier(world, state=NotifierState.FAILING)
    await alice.open("/")
    assert apps(alice) == ["my-app"]
    assert "Delivered in 24 h 3 Failed in 24 h 2 Cancelled in 24 h 1" in alice.text
    assert "1 notifier failing" in alice.text
    [sparkline] = [each for each in alice.page.iter(SVG) if each.get("class") == "sparkline"]
    assert sparkline.get("aria-label") == "Deliveries of the last 24 hours: 3 delivered, 2 failed, 1 cancelled"
    await alice.open("/", **{"accept-language": "fr"})
    assert "1 notifieur en échec" in alice.text


async def test_apps_are_found_by_name(world: World, alice: Browser) -> None:
    for name in ("billing", "billing-eu", "b-under"):
        await world.verbs.apps.add_app(world.users["alice"], name)
    for search, found in {
        "billing": ["billing", "billing-eu"],
        " EU ": ["billing-eu"],
        "b_l": [],
        "%": [],
        "": ["b-under", "billing", "billing-eu", "my-app"],
    }.items():
        alice.answer = await alice.client.get("/", params={"q": search})
        assert (alice.answer.status_code, apps(alice)) == (200, found), search


async def test_many_apps_come_in_pages(world: World, alice: Browser) -> None:
    names = sorted(["my-app", *(f"shop-{number:02}" for number in range(2 * SHOWN))])
    for name in names:
        if name != "my-app":
            await world.verbs.apps.add_app(world.users["alice"], name)
    await alice.open("/")
    seen = [apps(alice)]
    while "Next page" in alice.text:
        await alice.open(link(alice, "Next page"))
        seen.append(apps(alice))
    assert ([len(page) for page in seen], [name for page in seen for name in page]) == ([SHOWN, SHOWN, 1], names)
    await alice.open(link(alice, "First page"))
    assert apps(alice) == names[:SHOWN]
    await alice.open("/?q=shop")
    await alice.open(link(alice, "Next page"))
    assert apps(alice) == names[SHOWN + 1 :]


async def test_each_sees_what_they_are_to_an_app(world: World) -> None:
    for name, told in {"alice": "owner", "bob": "collaborator"}.items():
        await world.verbs.accounts.set_password(world.users[name], PASSWORD)
        async with open_browser(world.api) as browser:
            await browser.sign_in(name, PASSWORD)
            await browser.open("/")
            assert told in browser.text
    await world.verbs.accounts.set_password(world.users["charlie"], PASSWORD)
    async with open_browser(world.api) as browser:
        await browser.sign_in("charlie", PASSWORD)
        await browser.open("/")
        assert (apps(browser), "You have no apps yet" in browser.text) == ([], True)


async def test_an_app_is_added(world: World, alice: Browser) -> None:
    await alice.open("/")
    await alice.submit("/apps", name=" billing ")
    assert alice.path == "/apps/billing"
    await alice.open("/")
    assert apps(alice) == ["billing", "my-app"]


@pytest.mark.parametrize("name", ["my-app", "X", "", "a" * 49, *PAYLOADS[::7]])
async def test_a_name_that_will_not_do_comes_back_with_what_is_wrong(alice: Browser, name: str) -> None:
    await alice.open("/")
    await alice.submit("/apps", name=name)
    assert (alice.answer.status_code, alice.path) == (422, "/apps")
    [field] = [each for each in alice.page.iter("input") if each.get("id") == "name"]
    assert (field.get("value"), field.get("aria-invalid")) == (name.strip(), "true")
    assert "name-problem" in field.get("aria-describedby", "").split()


async def test_who_is_not_signed_in_adds_nothing(browser: Browser) -> None:
    await browser.open("/login")
    token = browser.form("/login").fields["form_token"]
    answer = await browser.client.post("/apps", data={"name": "shop", "form_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
