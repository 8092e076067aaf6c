"""Signing in with a code that comes by mail."""

import re

import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser

WRONG = "The code is wrong, was used, or is too old"


async def ask(browser: Browser, name: str) -> None:
    await browser.open("/login")
    await browser.submit("/login", to="/login/code", username=name)


async def code_in_mail(world: World) -> str:
    """The code of the newest mail."""
    await world.verbs.accounts.finish()
    found = re.search(r"^ +(\d{4} \d{4})$", world.mails[-1].get_content(), re.MULTILINE)
    assert found is not None
    return found[1]


async def test_a_code_comes_by_mail_and_signs_in(world: World, browser: Browser) -> None:
    await browser.open("/login?next=/apps/my-app")
    await browser.submit("/login", to="/login/code", username="alice")
    code = await code_in_mail(world)
    [mail] = world.mails
    assert mail["To"] == "alice@example.com"
    assert mail["Subject"] == f"{code} is your code for Tocsin"
    assert mail["Auto-Submitted"] == "auto-generated"
    await browser.submit("/login/code/check", code=code)
    assert (browser.answer.status_code, browser.path) == (200, "/apps/my-app")


@pytest.mark.parametrize("name", ["alice", "alice@example.com"])
async def test_nobody_learns_whether_a_name_is_somebodys(world: World, browser: Browser, name: str) -> None:
    await ask(browser, name)
    known = browser.answer
    async with open_browser(world.api) as other:
        await ask(other, "nobody" if name == "alice" else "nobody@example.com")
        unknown = other.answer
        for answer in (known, unknown):
            assert (answer.status_code, answer.url.path) == (200, "/login/code")
        pages = {re.sub(r'value="[0-9a-f]{64}"', "", answer.text) for answer in (known, unknown)}
        assert len(pages) == 1
        names = [sorted(name for name in answer.headers if name != "x-request-id") for answer in (known, unknown)]
        assert names[0] == names[1]
        for _ in range(6):
            await other.submit("/login/code/check", code="1234 5678")
            assert other.answer.status_code == 403
            assert WRONG in other.text
    await world.verbs.accounts.finish()
    assert [mail["To"] for mail in world.mails] == ["alice@example.com"]


async def test_names_that_nobody_has_are_held_back_as_others_are(world: World, browser: Browser) -> None:
    for name in ("alice", "nobody"):
        for _ in range(3):
            await ask(browser, name)
            assert browser.answer.status_code == 200
        await ask(browser, name)
        assert browser.answer.status_code == 429
        assert 0 < int(browser.answer.headers["retry-after"]) <= 600
        assert "That was too often" in browser.text
    await ask(browser, "alice@example.com")
    assert browser.answer.status_code == 200
    await world.verbs.accounts.finish()
    assert len(world.mails) == 3, "three mails in ten minutes, under whatever name"
    world.clock.advance(600)
    await ask(browser, "alice")
    await code_in_mail(world)
    assert len(world.mails) == 4


async def test_an_address_asks_for_thirty_codes_in_ten_minutes(browser: Browser) -> None:
    for number in range(30):
        await ask(browser, f"name{number}")
        assert browser.answer.status_code == 200
    await ask(browser, "another")
    assert browser.answer.status_code == 429


async def test_a_code_is_good_once(world: World, browser: Browser) -> None:
    await ask(browser, "alice")
    code, page = await code_in_mail(world), browser.answer
    visit = browser.cookies["tocsin_visit"]
    await browser.submit("/login/code/check", code=code)
    assert browser.path == "/"
    async with open_browser(world.api) as thief:
        thief.client.cookies.set("tocsin_visit", visit, domain="tocsin.example.com")
        thief.answer = page
        await thief.submit("/login/code/check", code=code)
        assert thief.answer.status_code == 403


async def test_a_code_is_good_in_the_browser_that_asked(world: World, browser: Browser) -> None:
    await ask(browser, "alice")
    code = await code_in_mail(world)
    async with open_browser(world.api) as other:
        await ask(other, "nobody")
        await other.submit("/login/code/check", code=code)
        assert other.answer.status_code == 403
    await browser.submit("/login/code/check", code=code.replace(" ", ""))
    assert browser.path == "/"


async def test_five_wrong_codes_use_the_right_one_up(world: World, browser: Browser) -> None:
    await ask(browser, "alice")
    code = await code_in_mail(world)
    wrong = "0000 0000" if code != "0000 0000" else "1111 1111"
    for _ in range(4):
        await browser.submit("/login/code/check", code=wrong)
    assert browser.answer.status_code == 403
    fresh = await world.store.read(
        lambda connection: connection.exec_driver_sql("SELECT tries_left FROM sign_in_codes").scalar_one()
    )
    assert fresh == 1
    await browser.submit("/login/code/check", code=wrong)
    await browser.submit("/login/code/check", code=code)
    assert browser.answer.status_code == 403


async def test_a_code_is_good_for_ten_minutes(world: World, browser: Browser) -> None:
    await ask(browser, "alice")
    code = await code_in_mail(world)
    world.clock.advance(600)
    await browser.submit("/login/code/check", code=code)
    assert browser.answer.status_code == 403


async def test_only_the_newest_code_of_a_browser_is_good(world: World, browser: Browser) -> None:
    await ask(browser, "alice")
    old = await code_in_mail(world)
    await ask(browser, "alice")
    new = await code_in_mail(world)
    if old != new:
        await browser.submit("/login/code/check", code=old)
        assert browser.answer.status_code == 403
    await browser.submit("/login/code/check", code=new)
    assert browser.path == "/"


async def test_a_changed_password_takes_codes_and_links_away(world: World, browser: Browser) -> None:
    await ask(browser, "alice")
    code = await code_in_mail(world)
    link = await world.verbs.accounts.add_link(world.users["alice"])
    await world.verbs.accounts.set_password(world.users["alice"], "another password")
    await browser.submit("/login/code/check", code=code)
    assert browser.answer.status_code == 403
    assert (await browser.open(f"/login/{link}")).status_code == 403
    assert "was used or is too old" in browser.text


async def test_the_mail_is_in_the_language_of_the_page(world: World, browser: Browser) -> None:
    browser.client.headers["accept-language"] = "fr-CH"
    await ask(browser, "alice")
    await code_in_mail(world)
    assert "est votre code pour Tocsin" in world.mails[0]["Subject"]


async def test_without_a_mail_server_there_are_no_codes(world: World, browser: Browser) -> None:
    world.verbs.accounts._letters = None
    await browser.open("/login")
    assert "by mail" not in browser.text
    await browser.submit("/login", to="/login/code", username="alice")
    assert browser.answer.status_code == 404
    assert (await browser.open("/login/code")).status_code == 404


async def test_an_empty_name_is_asked_for(browser: Browser) -> None:
    await ask(browser, " ")
    assert browser.answer.status_code == 422
    assert "Enter your username" in browser.text
