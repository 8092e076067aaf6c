"""The pages in a real browser, over HTTP: what is text stays text, and other sites get nowhere."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.line import PLATFORM_IDS
from tests.processes import Installation

SHOWN = 20
"""So many events are on an app's page."""

pytestmark = [
    pytest.mark.skipif(which("chromium") is None, reason="chromium is not installed: no page is tried in a browser"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Its own sandbox needs a user who is not root; what it loads here is ours.
        arguments = ["--no-sandbox", "--disable-gpu", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=arguments)
        yield browser
        browser.close()


class Site:
    """A running Tocsin with alice and her app, whatever is called as somebody who means harm would call it."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.token = self.installation.add_user()
        self.installation.run("user", "password", "alice", "--password-stdin", given=PASSWORD)
        self.installation.serve()
        self.url = self.installation.url
        self.api = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=30, trust_env=False
        )
        self.post("/v1/apps", {"app": {"name": "shop"}})

    def post(self, path: str, body: dict[str, Any]) -> None:
        answer = self.api.post(path, json=body)
        assert answer.status_code == 201, answer.text

    def end(self) -> None:
        self.api.close()
        self.installation.end()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.end()


class Watched:
    """A page and whatever it did that a page of ours never does."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.found: list[str] = []
        self.page.on("dialog", self._refuse)
        self.page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        self.page.on("console", self._hear)
        self.page.on("popup", lambda _: self.found.append("popup"))

    def _refuse(self, dialog: Any) -> None:
        self.found.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _hear(self, message: Any) -> None:
        is_status = "Failed to load resource" in message.text and message.location["url"].startswith(self.origin)
        if not is_status and message.type in {"error", "warning"}:
            self.found.append(f"console: {message.text}")

    @property
    def origin(self) -> str:
        return "/".join(self.page.url.split("/")[:3])


@pytest.fixture
def watched(chromium: Browser) -> Iterator[Watched]:
    with chromium.new_context() as context:
        yield Watched(context)


def sign_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/login")
    page.fill("#username", "alice")
    page.fill("#password", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(f"{site.url}/")


def check(watched: Watched, payloads: tuple[str, ...] = ()) -> None:
    """Nothing ran, nothing was blocked because it tried to, no element came of it, and all of it is there as text."""
    page = watched.page
    assert watched.found == []
    assert page.evaluate("window.pwned") is None
    assert "pwned" not in page.title() or any(payload in page.title() for payload in payloads)
    strange = (
        "script,style,svg,iframe,object,video,math,base,details,a[href^=javascript],main img,#bait,meta[http-equiv]"
    )
    assert page.locator(strange).count() == 0
    assert page.locator("link[rel=stylesheet]").count() == 1
    text = " ".join(page.inner_text("body").split())
    for payload in payloads:
        assert " ".join(payload.split()) in text


def test_names_of_notifiers_are_text(site: Site, watched: Watched) -> None:
    names = tuple(payload for payload in PAYLOADS if payload.isprintable())
    assert len(names) >= 30
    for payload in names:
        settings = {"webhook_url": "http://127.0.0.1:8080/"}
        notifier = {"platform_id": PLATFORM_IDS["webhook"], "name": payload, "type_data": settings, "active": False}
        answer = site.api.post("/v1/apps/shop/notifiers", json={"notifier": notifier})
        assert answer.status_code == 201, answer.text
    sign_in(watched.page, site)
    watched.page.goto(f"{site.url}/apps/shop")
    check(watched, names)


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), SHOWN))
def test_what_events_say_is_text(site: Site, watched: Watched, start: int) -> None:
    some = PAYLOADS[start : start + SHOWN]
    for payload in some:
        user = {"username": payload, "email": f"{payload}@example.com", "id": payload}
        type_data = {"pusher": payload, "status": "success", "git_ref": payload, "deployment_id": payload}
        site.post("/v1/apps/shop/events", {"event": {"type": "deployment", "type_data": type_data, "user": user}})
    sign_in(watched.page, site)
    watched.page.goto(f"{site.url}/apps/shop")
    check(watched)
    told = " ".join(watched.page.inner_text(".events").split())
    for payload in some:
        assert " ".join(payload.split())[:20] in told


def test_types_of_events_are_text(site: Site, watched: Watched) -> None:
    for payload in PAYLOADS:
        site.api.post("/v1/apps/shop/events", json={"event": {"type": payload, "type_data": {"text": payload}}})
    sign_in(watched.page, site)
    watched.page.goto(f"{site.url}/apps/shop")
    check(watched)


@pytest.mark.parametrize("payloads", [PAYLOADS[::8], pytest.param(PAYLOADS, marks=pytest.mark.long)], ids=len)
def test_what_a_visitor_sends_comes_back_as_text(site: Site, watched: Watched, payloads: tuple[str, ...]) -> None:
    page = watched.page
    for payload in payloads:
        page.goto(f"{site.url}/login?{httpx.QueryParams({'next': '/' + payload})}")
        page.fill("#username", payload)
        page.fill("#password", payload)
        page.click("main button[type=submit]")
        assert page.input_value("#username") == payload.strip()
        check(watched)
        page.goto(f"{site.url}/login/{quote(payload[:100], safe='')}")
        check(watched)


def test_everything_works_without_scripts(site: Site, chromium: Browser) -> None:
    with chromium.new_context(java_script_enabled=False, color_scheme="dark", locale="fr-FR") as context:
        page = context.new_page()
        sign_in(page, site)
        assert "Se déconnecter" in page.inner_text("header")
        page.goto(f"{site.url}/account")
        page.fill("#current", PASSWORD)
        page.fill("#new", PASSWORD)
        page.fill("#repeated", PASSWORD)
        page.click("text=Changer le mot de passe")
        page.wait_for_url(f"{site.url}/account?done=password")
        page.click("text=Se déconnecter")
        page.wait_for_url(f"{site.url}/login")


def test_the_cookie_is_out_of_reach_for_scripts(site: Site, watched: Watched) -> None:
    sign_in(watched.page, site)
    assert watched.page.evaluate("document.cookie") == ""
    [cookie] = watched.page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("tocsin_session", True, "Lax")


@pytest.fixture
def evil(site: Site, tmp_path: Path) -> Iterator[str]:
    """Another site, with pages that use the visitor's session as far as the browser lets them."""
    (tmp_path / "logout.html").write_text(f'<form method="post" action="{site.url}/logout"><button>x</button></form>')
    (tmp_path / "frame.html").write_text(f'<iframe src="{site.url}/account"></iframe>')
    (tmp_path / "read.html").write_text(
        f"<script>fetch('{site.url}/account',{{credentials:'include'}}).then(()=>document.title='read',()=>document.title='no')</script>"
    )
    handler = partial(QuietFiles, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"  # to the browser another site than 127.0.0.1
    server.shutdown()
    thread.join()
    server.server_close()


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """The test says what went wrong."""


def test_another_site_can_neither_send_forms_nor_frame_nor_read(site: Site, chromium: Browser, evil: str) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        sign_in(page, site)
        page.goto(f"{evil}/logout.html")
        with page.expect_navigation() as sent:
            page.click("button")
        assert sent.value is not None
        assert sent.value.status == 403
        page.goto(f"{evil}/frame.html")
        assert "alice" not in "".join(frame.content() for frame in page.frames[1:])
        page.goto(f"{evil}/read.html")
        page.wait_for_function("document.title")
        assert page.title() == "no"
        page.goto(f"{site.url}/account")
        assert page.url == f"{site.url}/account", "she is still signed in"
