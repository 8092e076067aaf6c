"""Notifiers in a real browser, against receivers that answer: the whole way of a newcomer, and of every later day."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.dashboard.chromium import PHONE, Site, Watched, Windows
from tests.dashboard.payloads import PAYLOADS
from tests.platforms.mail_server import Script, mail_server

ADDRESS = "#type_data\\.webhook_url"
ADDRESSES = "#type_data\\.emails"
NEXT = "main form .actions button:first-child"

with_and_without_scripts = pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])


class Receiver:
    """Takes what is posted; what it answers is the end of the address, a status."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                answer = b"no_service" if self.path.endswith("404") else b"taken"
                self.send_response(int(self.path[-3:]))
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """The test says what went wrong."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/s3cret"

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.end()


@pytest.fixture(scope="module")
def mail() -> Iterator[tuple[Script, int]]:
    """A mail server in a thread of its own: in this one the browser's event loop runs."""
    found: list[Any] = []
    is_there = threading.Event()

    async def run() -> None:
        async with mail_server() as (script, port):
            is_over = asyncio.Event()
            found.extend((script, port, asyncio.get_running_loop(), is_over))
            is_there.set()
            await is_over.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert is_there.wait(30)
    script, port, loop, is_over = found
    yield script, port
    loop.call_soon_threadsafe(is_over.set)
    thread.join()


@pytest.fixture(scope="module")
def mail_site(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, mail: tuple[Script, int]
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("mail")
    copy(migrated_sqlite, folder / "tocsin.db")
    site = Site(folder, TOCSIN_SMTP_URL=f"smtp://127.0.0.1:{mail[1]}", TOCSIN_MAIL_FROM="tocsin@example.com")
    site.start()
    yield site
    site.end()


def open_at(window: Watched, site: Site, path: str) -> Page:
    window.sign_in(site)
    window.page.goto(site.url + path)
    return window.page


@with_and_without_scripts
def test_a_newcomer_adds_a_webhook_with_few_clicks(
    each_site: Site, windows: Windows, receiver: Receiver, *, has_scripts: bool
) -> None:
    app = each_site.add_app()
    window = windows.open(has_scripts=has_scripts)
    page = open_at(window, each_site, f"/apps/{app}")
    clicks = 0

    def click(what: str) -> None:
        nonlocal clicks
        clicks += 1
        page.click(what)
        if has_scripts:
            window.check_access()

    click(f"a[href='/apps/{app}/notifiers'] >> nth=0")
    click("text=Add a notifier")
    click("a:has-text('Webhook')")
    page.fill(ADDRESS, f"{receiver.url}/200")
    click(NEXT)
    click(NEXT)
    click("button:has-text('Send a test')")
    assert "It arrived. The answer was 200." in page.inner_text("#test")
    assert "taken" in page.inner_text("#test pre")
    click("button:has-text('Finish')")
    assert clicks == 7
    assert "from now on it is told what happens" in page.inner_text("main")
    assert "s3cret" not in page.url
    [(headers, body)] = receiver.received
    page.click("button:has-text('Show the secret')")
    names: dict[str, Any] = {}
    exec(page.locator("#snippet-1").text_content() or "", names)  # noqa: S102 - what the page tells receivers to copy
    secret = page.inner_text("#signing-secret")
    assert names["is_genuine"](secret, headers, body)
    assert not names["is_genuine"](secret, headers, body + b" ")
    [_, added] = each_site.api.get(f"/v1/apps/{app}/notifiers").json()["notifiers"]
    assert (added["active"], added["state"]) == (True, "active")
    assert window.found == []


def test_what_slack_gets_looks_as_it_was_shown(site: Site, watched: Watched, receiver: Receiver) -> None:
    app = site.add_app()
    page = open_at(watched, site, f"/apps/{app}/notifiers/new/slack")
    page.fill(ADDRESS, f"{receiver.url}/200")
    page.click(NEXT)
    page.check("#events-all")
    page.click(NEXT)
    shown = page.inner_text(".look-title")
    page.click("button:has-text('Send a test')")
    [(_, body)] = receiver.received
    assert json.loads(body)["blocks"][0]["text"]["text"] == shown
    page.select_option("#event", "crash")
    page.click("button:has-text('Show'):near(#event)")
    assert "crashed" in page.inner_text(".look-title")
    assert "/finish?event=crash" in page.url
    watched.check_access()


def test_a_receiver_that_refuses_is_told_with_what_to_do(site: Site, watched: Watched, receiver: Receiver) -> None:
    app = site.add_app()
    settings = {"webhook_url": f"{receiver.url}/404"}
    notifier = site.add_notifier(app, platform="slack", type_data=settings, active=False)
    page = open_at(watched, site, f"/apps/{app}/notifiers/{notifier['id']}")
    page.click("button:has-text('Send a test')")
    told = page.inner_text("#test")
    assert "It did not arrive. The answer was 404." in told
    assert "make a new one there" in told
    assert "no_service" in told
    watched.check_access()


@with_and_without_scripts
def test_mail_goes_to_members_and_addresses(
    mail_site: Site, mail: tuple[Script, int], windows: Windows, *, has_scripts: bool
) -> None:
    script, _ = mail
    script.mails.clear()
    app = mail_site.add_app()
    window = windows.open(has_scripts=has_scripts, size=PHONE, is_dark=True)
    page = open_at(window, mail_site, f"/apps/{app}/notifiers/new/email")
    page.click(NEXT)
    assert "must not be empty" in page.inner_text("#problems")
    page.fill(ADDRESSES, "ops@example.com\ngrace@example.com")
    page.check("text=alice (alice@example.com)")
    page.click(NEXT)
    page.click(NEXT)
    assert "ops@example.com, grace@example.com, alice@example.com" in page.inner_text("#preview")
    page.click("button:has-text('Send a test')")
    assert "It arrived." in page.inner_text("#test")
    assert sorted(to for _, to, _ in script.mails) == ["alice@example.com", "grace@example.com", "ops@example.com"]
    page.select_option("#event", "deployment")
    page.click("#preview button")
    assert script.messages[0]["Subject"] in page.inner_text("#preview")
    if has_scripts:
        window.check_access()
    assert window.found == []


def test_settings_are_checked_while_they_are_typed(site: Site, watched: Watched) -> None:
    app = site.add_app()
    page = open_at(watched, site, f"/apps/{app}/notifiers/new/webhook")
    problem = page.locator("#type_data\\.webhook_url-problem")
    page.fill("#name", "x")
    page.fill(ADDRESS, "ftp://example.com/")
    problem.wait_for()
    assert problem.inner_text() == "must start with http:// or https://"
    assert page.get_attribute(ADDRESS, "aria-invalid") == "true"
    assert problem.get_attribute("id") in (page.get_attribute(ADDRESS, "aria-describedby") or "").split()
    watched.check_access()
    page.fill(ADDRESS, "http://169.254.169.254/")
    problem.filter(has_text="not a public address").wait_for()
    page.fill(ADDRESS, "https://example.com/")
    problem.wait_for(state="detached")
    assert page.get_attribute(ADDRESS, "aria-invalid") is None
    page.fill(ADDRESS, "ftp://example.com/")
    page.click(NEXT)
    page.wait_for_selector("#problems")
    assert page.evaluate("document.activeElement.id") == "problems"
    page.click("#problems a")
    assert page.evaluate("document.activeElement.id") == "type_data.webhook_url"
    assert page.input_value(ADDRESS) == "ftp://example.com/"
    watched.check_access()


def test_event_types_are_found_and_ticked_by_category(site: Site, windows: Windows) -> None:
    app = site.add_app()
    window = windows.open(size=PHONE)
    page = open_at(window, site, f"/apps/{app}/notifiers/new/webhook")
    page.fill(ADDRESS, "https://example.com/")
    page.click(NEXT)
    assert page.locator("#search").is_hidden()
    page.check("#events-custom")
    shown = page.locator("[data-text]:visible")
    assert shown.count() == 50
    page.fill("#search", "domain")
    assert shown.count() == 3
    page.check("text=The whole category (3) >> visible=true")
    window.check_access()
    page.fill("#search", "no such event")
    assert page.locator("[data-none]").is_visible()
    page.press("#search", "Enter")
    page.fill("#search", "")
    page.uncheck("text=Domain edited")
    assert page.evaluate("document.getElementById('category-domains').indeterminate") is True
    page.click(NEXT)
    page.wait_for_url("**/finish")
    [added] = site.api.get(f"/v1/apps/{app}/notifiers").json()["notifiers"][1:]
    names = {each["id"]: each["name"] for each in site.api.get("/v1/event_types").json()["event_types"]}
    chosen = {names[each] for each in added["selected_event_ids"]}
    assert {"domain_added", "domain_removed", "app_crashed"} <= chosen
    assert "domain_edited" not in chosen
    assert window.found == []


@with_and_without_scripts
def test_a_notifier_is_edited_paused_switched_and_removed(
    each_site: Site, windows: Windows, *, has_scripts: bool
) -> None:
    app = each_site.add_app()
    notifier = each_site.add_notifier(app, send_all_events=True)
    here = f"/apps/{app}/notifiers/{notifier['id']}"
    window = windows.open(has_scripts=has_scripts)
    page = open_at(window, each_site, here)

    def state() -> str:
        found: str = each_site.api.get(f"/v1{here}").json()["notifier"]["state"]
        return found

    page.click("text=Edit")
    page.fill("#name", "renamed")
    page.fill("#rate_per_second", "2")
    page.press("#name", "Enter")
    page.wait_for_url("**?done=changed")
    assert "renamed" in page.inner_text("h1")
    page.select_option("#length", "8")
    page.click("button:has-text('Pause')")
    assert "It is paused." in page.inner_text("main")
    assert state() == "paused"
    page.click("button:has-text('Resume')")
    assert "It goes on" in page.inner_text("main")
    page.click("button:has-text('Switch off')")
    assert state() == "off"
    page.click("button:has-text('Switch on')")
    assert state() in {"active", "failing"}
    page.click("text=Remove this notifier")
    page.click("button:has-text('Remove this notifier')")
    assert "The notifier is gone" in page.inner_text("main")
    assert each_site.api.get(f"/v1{here}").status_code == 404
    assert window.found == []


@with_and_without_scripts
def test_a_secret_is_copied_rotated_and_ended(site: Site, windows: Windows, *, has_scripts: bool) -> None:
    app = site.add_app()
    notifier = site.add_notifier(app)
    here = f"/apps/{app}/notifiers/{notifier['id']}"
    window = windows.open(has_scripts=has_scripts, permissions=["clipboard-read", "clipboard-write"])
    page = open_at(window, site, here)
    page.click("button:has-text('Show the secret')")
    first = page.inner_text("#signing-secret")
    if has_scripts:
        page.click("[data-copy=signing-secret]")
        page.wait_for_selector("text=✓")
        assert page.evaluate("navigator.clipboard.readText()") == first
        page.evaluate("navigator.clipboard.writeText('')")
    page.select_option("#algorithm", "ed25519")
    page.click("button:has-text('Make a new secret')")
    second = page.inner_text("#signing-secret")
    assert second.startswith("whpk_")
    told = site.api.get(f"/v1{here}/secret").json()
    assert (told["secret"], told["previous_secret"]) == (second, first)
    if has_scripts:
        window.check_access()
    page.click("button:has-text('End the previous secret')")
    assert "present secret alone" in page.inner_text("main")
    assert site.api.get(f"/v1{here}/secret").json()["previous_secret"] is None
    page.click("summary:has-text('Ruby')")
    assert page.locator("pre:visible >> text=OpenSSL::PKey").count() == 1
    assert window.found == []


def test_every_step_in_french_on_a_phone_by_night(site: Site, windows: Windows) -> None:
    app = site.add_app()
    window = windows.open(size=(320, 700), is_dark=True, locale="fr-FR")
    page = open_at(window, site, f"/apps/{app}/notifiers/new")
    window.check_access()
    page.click("a:has-text('Webhook') >> nth=-1")
    window.check_access()
    page.fill(ADDRESS, "http://127.0.0.1:8080/")
    page.click(NEXT)
    page.check("text=Ceux que je choisis")
    window.check_access()
    page.click(NEXT)
    page.wait_for_url("**/finish")
    page.click("button:has-text('Envoyer un essai')")
    assert "Il n’est pas arrivé." in page.inner_text("#test")
    window.check_access()


def test_payloads_are_text_wherever_a_name_stands(site: Site, watched: Watched) -> None:
    app = site.add_app()
    page = open_at(watched, site, f"/apps/{app}/notifiers")
    for payload in filter(str.isprintable, PAYLOADS[::3]):
        notifier = site.add_notifier(app, payload, active=False)
        for path in ("", "/finish", "/edit", "/remove"):
            page.goto(f"{site.url}/apps/{app}/notifiers/{notifier['id']}{path}")
            watched.check((payload,))
    page.goto(f"{site.url}/apps/{app}/notifiers")
    watched.check(tuple(filter(str.isprintable, PAYLOADS[::3])))
