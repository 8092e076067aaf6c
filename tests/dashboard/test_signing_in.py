"""Signing in with a password or a link, the cookies that come of it, and signing out."""

from pathlib import Path
from typing import Literal

import argon2
import httpx
import pytest

from tests.api.conftest import REGION, World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.chromium import PASSWORD
from tocsin.dashboard.forms import local_path
from tocsin.dashboard.site import build_site

WRONG = "The username or the password is wrong"


@pytest.mark.parametrize("name", ["alice", "alice@example.com", "Alice@Example.com"])
async def test_a_password_signs_in_by_username_or_address(world: World, browser: Browser, name: str) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    answer = await browser.sign_in(name, PASSWORD)
    assert (answer.status_code, browser.path) == (200, "/")
    assert "my-app" in browser.text


async def test_a_wrong_password_and_an_unknown_user_get_the_same_page(world: World, browser: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    pages = set()
    for name in ("alice", "bob", "nobody"):
        answer = await browser.sign_in(name, "wrong password")
        assert answer.status_code == 403
        assert WRONG in browser.text
        pages.add(answer.text.replace(f'value="{name}"', ""))
    assert len(pages) == 1
    assert list(browser.cookies) == ["tocsin_visit"]


class CountingHasher(argon2.PasswordHasher):
    """A real hasher that counts."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - its name there
        self.verified += 1
        return super().verify(hash, password)


@pytest.mark.parametrize("name", ["alice", "bob", "nobody", "nobody@example.com"])
async def test_a_wrong_password_and_an_unknown_user_take_the_same_work(
    world: World, browser: Browser, name: str
) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    hasher = world.verbs.accounts._hasher = CountingHasher()
    await browser.sign_in(name, "wrong password")
    assert hasher.verified == 1


async def test_who_has_to_sign_in_comes_back_to_where_they_were_going(world: World, browser: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    await browser.open("/apps/my-app?page=2")
    assert browser.path == "/login?next=/apps/my-app%3Fpage%3D2"
    await browser.submit("/login", username="alice", password=PASSWORD)
    assert browser.path == "/apps/my-app?page=2"


FOREIGN = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "\n//evil.example",
    " //evil.example",
    "https:evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "evil.example",
    "/\u2028/evil.example",
    "",
]


@pytest.mark.parametrize("target", FOREIGN)
async def test_signing_in_leads_to_pages_of_this_server_alone(world: World, browser: Browser, target: str) -> None:
    assert local_path(target) == "/"
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    await browser.open(str(httpx.URL("/login", params={"next": target})))
    sent = browser.form("/login").fields | {"username": "alice", "password": PASSWORD, "next": target}
    answer = await browser.client.post("/login", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    again = await browser.client.get("/login", params={"next": target})
    assert (again.status_code, again.headers["location"]) == (303, "/")


async def test_a_link_signs_in_once_and_looking_at_it_changes_nothing(world: World, browser: Browser) -> None:
    secret = await world.verbs.accounts.add_link(world.users["alice"])
    for _ in range(3):
        assert (await browser.open(f"/login/{secret}")).status_code == 200
    assert (await browser.client.head(f"/login/{secret}")).status_code == 200
    assert "It opens the account alice." in browser.text
    async with open_browser(world.api) as other:
        await other.open(f"/login/{secret}")
        await browser.submit(f"/login/{secret}")
        assert (browser.answer.status_code, browser.path) == (200, "/")
        assert "my-app" in browser.text
        await other.submit(f"/login/{secret}")
        assert other.answer.status_code == 403
        assert "was used or is too old" in other.text
        assert "tocsin_session" not in other.cookies


async def test_a_link_is_good_for_ten_minutes(world: World, browser: Browser) -> None:
    secret = await world.verbs.accounts.add_link(world.users["alice"])
    await browser.open(f"/login/{secret}")
    world.clock.advance(600)
    assert (await browser.submit(f"/login/{secret}")).status_code == 403
    assert (await browser.open(f"/login/{secret}")).status_code == 403
    assert "was used or is too old" in browser.text


async def test_each_sign_in_makes_a_session_anew_and_ends_the_one_before(world: World, alice: Browser) -> None:
    before = alice.cookies["tocsin_session"]
    secret = await world.verbs.accounts.add_link(world.users["bob"])
    await alice.open(f"/login/{secret}")
    await alice.submit(f"/login/{secret}")
    after = alice.cookies["tocsin_session"]
    assert after != before
    assert await world.verbs.sessions.find(before) is None
    found = await world.verbs.sessions.find(after)
    assert found is not None
    assert found.user.username == "bob"


async def test_a_session_that_somebody_else_has_chosen_is_never_taken_over(world: World, browser: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    planted = "A" * 43
    browser.client.cookies.set("tocsin_session", planted, domain="tocsin.example.com")
    browser.client.cookies.set("tocsin_visit", planted, domain="tocsin.example.com")
    await browser.sign_in("alice", PASSWORD)
    assert browser.path == "/"
    assert planted not in browser.cookies.values()
    assert await world.verbs.sessions.find(planted) is None


async def test_signing_out_ends_the_session_itself(world: World, alice: Browser) -> None:
    secret = alice.cookies["tocsin_session"]
    await alice.open("/")
    await alice.submit("/logout")
    assert alice.path == "/login"
    assert alice.cookies.keys() <= {"tocsin_visit"}
    assert await world.verbs.sessions.find(secret) is None
    alice.client.cookies.set("tocsin_session", secret, domain="tocsin.example.com")
    await alice.open("/account")
    assert alice.path == "/login?next=/account"


@pytest.mark.parametrize(
    ("public_url", "prefix", "flags"),
    [
        ("http://tocsin.example.com:8600", "", {"HttpOnly", "SameSite=lax", "Path=/"}),
        ("https://tocsin.example.com", "__Host-", {"HttpOnly", "SameSite=lax", "Path=/", "Secure"}),
    ],
)
async def test_cookies_are_for_this_server_alone(world: World, public_url: str, prefix: str, flags: set[str]) -> None:
    site = build_site(world.verbs, public_url=public_url, region=REGION)
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    async with open_browser(site, public_url) as browser:
        shown = await browser.client.get("/login")
        browser.answer = shown
        sent = browser.form("/login").fields | {"username": "alice", "password": PASSWORD}
        begun = await browser.client.post("/login", data=sent)
        assert begun.status_code == 303
        given = [header for answer in (shown, begun) for header in answer.headers.get_list("set-cookie")]
        assert [header.partition("=")[0] for header in given] == [
            f"{prefix}{name}" for name in ("tocsin_visit", "tocsin_session", "tocsin_visit")
        ]
        for header in given:
            parts = set(header.split("; ")[1:])
            assert flags <= parts
            assert {part.partition("=")[0] for part in parts} <= {"HttpOnly", "SameSite", "Path", "Secure", "Max-Age"}
        assert "Max-Age=2592000" in given[1]
        assert "Max-Age=0" in given[2]
        assert (await browser.open("/account")).status_code == 200
        plain = await browser.client.get("/account", headers={"cookie": f"tocsin_session={'A' * 43}"})
        assert plain.headers["location"] == "/login?next=/account"


async def test_a_session_is_of_no_use_for_the_api(alice: Browser) -> None:
    description = (await alice.client.get("/openapi.json")).json()
    tried = 0
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if not operation.get("security"):
                continue
            address = path.replace("{app}", "my-app").replace("{", "").replace("}", "")
            answer = await alice.client.request(method, address, headers={"origin": str(alice.client.base_url)})
            assert answer.status_code == 401, (method, path)
            tried += 1
    assert tried > 40


async def test_no_secret_of_a_browser_is_stored(world: World, alice: Browser, tmp_path: Path) -> None:
    async with open_browser(world.api) as other:
        await other.open("/login")
        await other.submit("/login", to="/login/code", username="alice")
        await world.verbs.accounts.finish()
        code = world.mails[0]["Subject"][:9]
        secrets = [alice.cookies["tocsin_session"], other.cookies["tocsin_visit"], code, code.replace(" ", "")]
    await world.store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Firefox" in stored
    assert all(secret.encode() not in stored for secret in secrets)


async def test_who_guesses_passwords_is_held_back_in_words(world: World, browser: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    for _ in range(10):
        assert (await browser.sign_in("alice", "wrong password")).status_code == 403
    answer = await browser.sign_in("alice", PASSWORD)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "That was too often" in browser.text
    assert "tocsin_session" not in browser.cookies
