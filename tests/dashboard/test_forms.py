"""Forms that change something: each must have been drawn for this browser, and sent from where it was drawn."""

import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from tests.api.conftest import PUBLIC_URL, World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.chromium import PASSWORD
from tocsin.dashboard.routes import OpenRoute, PageRoute
from tocsin.dashboard.site import ROUTERS, build_site
from tocsin.unsubscribe import Unsubscribe

ORIGIN = {"origin": PUBLIC_URL}
SAFE = {"GET", "HEAD"}
OF_ANYBODY = {"/", "/login", "/login/code", "/login/code/check", "/login/{secret}", "/docs", "/logout"}
"""What visitors may ask for; everything else sends them to sign in."""


def page_routes() -> list[APIRoute]:
    found = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    return [route for route in found if not route.path.startswith("/assets/")]


def changing() -> list[Any]:
    routes = [route for route in page_routes() if route.methods - SAFE]
    return [pytest.param(route, id=route.path) for route in routes]


def at(route: APIRoute) -> str:
    return re.sub(r"{\w+}", "x", route.path)


def test_every_page_of_the_site_asks_by_its_kind_of_route() -> None:
    unsubscribe: Any = Unsubscribe
    no_verbs: Any = None
    site = build_site(no_verbs, public_url=PUBLIC_URL, region="r", unsubscribe=unsubscribe)
    of_pages = [route for route in site.state.routes if getattr(route, "path", "").startswith("/v1") is False]
    plain = {route.path for route in of_pages if not isinstance(route, PageRoute) and route.methods - SAFE}
    assert plain == set()
    assert {route.path for route in of_pages if isinstance(route, OpenRoute)} == {"/unsubscribe/{code}"}
    assert all(isinstance(route, PageRoute) and not isinstance(route, OpenRoute) for route in page_routes())


@pytest.mark.parametrize("route", changing())
@pytest.mark.parametrize("is_signed_in", [True, False])
async def test_no_form_is_taken_without_the_token_of_its_browser(
    world: World, alice: Browser, browser: Browser, route: APIRoute, is_signed_in: bool
) -> None:
    sender, other = (alice, browser) if is_signed_in else (browser, alice)
    await other.open("/login" if is_signed_in else "/account")
    others = next(other.forms()).fields["form_token"]
    await sender.open("/account" if is_signed_in else "/login")
    own = next(sender.forms()).fields["form_token"]
    assert own != others
    wrong = [{}, {"form_token": ""}, {"form_token": own[:-1]}, {"form_token": "é" + own[1:]}, {"form_token": others}]
    for fields in wrong:
        answer = await sender.client.request(next(iter(route.methods)), at(route), data=fields, headers=ORIGIN)
        assert answer.status_code == 403, fields
    async with open_browser(world.api) as newcomer:
        answer = await newcomer.client.post(at(route), data={"form_token": own}, headers=ORIGIN)
        assert answer.status_code == 403


@pytest.mark.parametrize("route", changing())
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://tocsin.example.com:8600.evil.example"},
        {"origin": "http://tocsin.example.com"},
        {"origin": "http://a.tocsin.example.com:8600"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": PUBLIC_URL},
        {"sec-fetch-site": "nonsense"},
    ],
)
async def test_no_form_is_taken_from_another_site(alice: Browser, route: APIRoute, headers: dict[str, str]) -> None:
    await alice.open("/account")
    token = next(alice.forms()).fields["form_token"]
    answer = await alice.client.post(at(route), data={"form_token": token}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert (await alice.open("/account")).url.path == "/account", "she is still signed in"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": PUBLIC_URL},
        {"sec-fetch-site": "same-origin", "origin": PUBLIC_URL},
        {"sec-fetch-site": "none"},
        {"host": "localhost:8600", "origin": "http://localhost:8600"},
        {"host": "10.0.0.7", "origin": PUBLIC_URL},
    ],
)
async def test_a_form_of_ours_is_taken_however_the_server_is_called(
    world: World, alice: Browser, headers: dict[str, str]
) -> None:
    await alice.open("/account")
    sent = alice.form("/logout").fields
    answer = await alice.client.post("/logout", data=sent, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert await world.verbs.sessions.list(world.users["alice"]) == []


async def test_a_form_that_was_drawn_before_signing_in_is_out_of_date(world: World, browser: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    await browser.open("/login")
    old = browser.form("/login").fields["form_token"]
    await browser.submit("/login", username="alice", password=PASSWORD)
    answer = await browser.client.post("/logout", data={"form_token": old}, headers=ORIGIN)
    assert answer.status_code == 403
    assert "out of date" in answer.text


@pytest.mark.parametrize(
    "route", [pytest.param(route, id=route.path) for route in page_routes() if route.path not in OF_ANYBODY]
)
async def test_visitors_are_sent_to_sign_in(browser: Browser, route: APIRoute) -> None:
    await browser.open("/login")
    sent = browser.form("/login").fields
    method = next(iter(route.methods))
    answer = await browser.client.request(method, at(route), data=sent if method == "POST" else None)
    is_sent = answer.status_code == 303 and answer.headers["location"].startswith("/login?next=/")
    if method == "POST":
        is_sent = answer.status_code == 303 and answer.headers["location"] == "/login"
    assert is_sent


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=1&" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a%d=1" % number for number in range(600)), "application/x-www-form-urlencoded", 400),
        (b"username=%ff", "application/x-www-form-urlencoded", 400),
        (b"username=\xff", "application/x-www-form-urlencoded", 400),
        (b"username=%00", "application/x-www-form-urlencoded", 400),
        (b'{"username": "alice"}', "application/json", 400),
        (b'{"username": "alice"}', "text/plain", 400),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
    ],
)
async def test_odd_forms_are_refused_in_words(browser: Browser, body: bytes, kind: str, status: int) -> None:
    answer = await browser.client.post("/login", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    browser.answer = answer
    assert browser.page.find(".//h1") is not None
