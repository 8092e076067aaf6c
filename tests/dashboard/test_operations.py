"""The operators' page: for admins alone, and as true as what the store tells."""

import threading
from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.chromium import PASSWORD
from tests.line import PLATFORM_IDS
from tocsin import operations
from tocsin.doctor.finding import Finding
from tocsin.notifier_rules import NotifierWish
from tocsin.operations import Operations


@pytest.fixture
async def admin(world: World) -> AsyncIterator[Browser]:
    """A browser in which an admin is signed in."""
    await world.verbs.accounts.set_password(world.users["admin"], PASSWORD)
    async with open_browser(world.api) as browser:
        await browser.sign_in("admin", PASSWORD)
        yield browser


async def pause_something(world: World) -> None:
    """A notifier whose deliveries wait."""
    wish = NotifierWish(
        platform_id=PLATFORM_IDS["webhook"], name="ops", type_data={"webhook_url": "https://example.com/"}
    )
    notifier = await world.verbs.notifiers.add(world.app, world.users["alice"], wish)
    await world.verbs.notifiers.pause(world.app, notifier.id)


async def test_nobody_but_admins_learns_that_it_is_there(browser: Browser, alice: Browser) -> None:
    for path in ("/operations", "/operations?doctor=yes", "/operations/live"):
        await browser.open(path)
        assert browser.path.startswith("/login?next=/operations"), path
        assert (await alice.open(path)).status_code == 404, path
    await alice.open("/")
    assert "/operations" not in alice.answer.text


async def test_admins_are_led_there(admin: Browser) -> None:
    await admin.open("/")
    assert "Operations" in [link.text for link in admin.page.iter("a") if link.get("href") == "/operations"]


async def test_it_tells_how_tocsin_is_doing(world: World, admin: Browser) -> None:
    assert (await admin.open("/operations")).status_code == 200
    assert "Ready: events are stored and delivered." in admin.text
    assert "No notifier is stopped." in admin.text
    assert "SQLite 3." in admin.text
    world.problems["disk"] = "the disk is nearly full"
    await admin.open("/operations", **{"accept-language": "fr"})
    assert "disk: the disk is nearly full" in admin.text
    assert "Aucun notifieur n’est arrêté." in admin.text


async def test_it_does_not_ask_the_doctor_by_itself(admin: Browser) -> None:
    await admin.open("/operations")
    assert "12.5 GiB" not in admin.text
    await admin.open("/operations?doctor=yes")
    assert "disk look at this 12.5 GiB free (4%)" in admin.text


async def test_whoever_asks_the_doctor_does_not_wait_for_ever(
    world: World, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, count = threading.Event(), []

    def examine() -> dict[str, Finding]:
        count.append(1)
        assert may_end.wait(20)
        return {"clock": Finding("FAIL", "it says 1970")}

    verbs = world.verbs
    slow = Operations(store=world.store, clock=world.clock, ready=(), examine=examine)
    monkeypatch.setattr(operations, "DOCTOR_SECONDS", 0.01)
    object.__setattr__(verbs, "operations", slow)  # frozen, and of this test alone
    for _ in range(2):
        await admin.open("/operations?doctor=yes")
        assert "It is still looking." in admin.text
    monkeypatch.setattr(operations, "DOCTOR_SECONDS", 20.0)
    may_end.set()
    await admin.open("/operations?doctor=yes")
    assert "clock bad it says 1970" in admin.text
    assert len(count) == 1, "two never look at once"
