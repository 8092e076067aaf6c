"""The pages in a real browser, over HTTP: what is text stays text, and other sites get nowhere."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.dashboard.chromium import PASSWORD, Site, Watched, Windows, sign_in
from tests.dashboard.payloads import PAYLOADS

SHOWN = 20
"""So many events are on a page of an app's events."""


def test_names_of_notifiers_are_text(site: Site, watched: Watched) -> None:
    names = tuple(payload for payload in PAYLOADS if payload.isprintable())
    assert len(names) >= 30
    app = site.add_app()
    for payload in names:
        site.add_notifier(app, payload, active=False)
    watched.sign_in(site)
    watched.page.goto(f"{site.url}/apps/{app}")
    watched.check(names)


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), SHOWN))
def test_what_events_say_is_text(site: Site, watched: Watched, start: int) -> None:
    some = PAYLOADS[start : start + SHOWN]
    app = site.add_app()
    for payload in some:
        user = {"username": payload, "email": f"{payload}@example.com", "id": payload}
        type_data = {"pusher": payload, "status": "success", "git_ref": payload, "deployment_id": payload}
        event = {"type": "deployment", "type_data": type_data, "user": user}
        site.post(f"/v1/apps/{app}/events", {"event": event})
    watched.sign_in(site)
    watched.page.goto(f"{site.url}/apps/{app}")
    watched.check()
    watched.page.goto(f"{site.url}/apps/{app}/events")
    watched.check()
    told = " ".join(watched.page.inner_text("main").split())
    for payload in some:
        assert " ".join(payload.split())[:20] in told


def test_types_of_events_are_text(site: Site, watched: Watched) -> None:
    app = site.add_app()
    for payload in PAYLOADS:
        site.api.post(f"/v1/apps/{app}/events", json={"event": {"type": payload, "type_data": {"text": payload}}})
    watched.sign_in(site)
    watched.page.goto(f"{site.url}/apps/{app}")
    watched.check()


@pytest.mark.parametrize("payloads", [PAYLOADS[::8], pytest.param(PAYLOADS, marks=pytest.mark.long)], ids=len)
def test_what_a_visitor_sends_comes_back_as_text(site: Site, watched: Watched, payloads: tuple[str, ...]) -> None:
    page = watched.page
    for payload in payloads:
        page.goto(f"{site.url}/login?{httpx.QueryParams({'next': '/' + payload})}")
        page.fill("#username", payload)
        page.fill("#password", payload)
        page.click("main button[type=submit]")
        assert page.input_value("#username") == payload.strip()
        watched.check()
        page.goto(f"{site.url}/login/{quote(payload[:100], safe='')}")
        watched.check()


def test_everything_works_without_scripts(each_site: Site, windows: Windows) -> None:
    page = windows.open(has_scripts=False, is_dark=True, locale="fr-FR").page
    sign_in(page, each_site)
    assert "Se déconnecter" in page.inner_text("header")
    page.goto(f"{each_site.url}/account")
    page.fill("#current", PASSWORD)
    page.fill("#new", PASSWORD)
    page.fill("#repeated", PASSWORD)
    page.click("text=Changer le mot de passe")
    page.wait_for_url(f"{each_site.url}/account?done=password")
    page.click("text=Se déconnecter")
    page.wait_for_url(f"{each_site.url}/login")


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


def test_another_site_can_neither_send_forms_nor_frame_nor_read(site: Site, watched: Watched, evil: str) -> None:
    page = watched.page
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
