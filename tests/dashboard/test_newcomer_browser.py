"""A newcomer's path: from the link that the demo prints to an own notifier that was tested, in ten clicks."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from tests.cli.console import Console
from tests.dashboard.chromium import Windows

MAX_CLICKS = 10


class Clicks:
    """Clicks that are counted; the first is the one on the link in the terminal."""

    def __init__(self, page: Page, link: str) -> None:
        self.page = page
        self.count = 1
        page.goto(link)

    def click(self, role: str, name: str) -> None:
        self.count += 1
        self.page.get_by_role(role, name=name).click()  # type: ignore[arg-type]  # one of ARIA's roles


@contextmanager
def receiving() -> Iterator[tuple[str, list[bytes]]]:
    """The newcomer's own receiver: its address, and the bodies that came."""
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The test says what went wrong."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_ten_clicks_lead_to_a_notifier_that_was_tested(tmp_path: Path, windows: Windows) -> None:
    console = Console(tmp_path)
    with receiving() as (address, bodies), console.start("demo", "--port", "0", TOCSIN_EGRESS_ALLOW=address) as demo:
        demo.wait_for("What arrives at the receiver")
        link = re.search(r"http://\S+/login/\S+", "".join(demo.lines))
        assert link is not None
        window = windows.open()
        newcomer = Clicks(window.page, link[0])
        newcomer.click("button", "Sign in")
        newcomer.click("link", "my-app")
        newcomer.click("link", "Add a notifier")
        newcomer.click("link", "Webhook")
        window.page.get_by_label("URL").fill(f"http://{address}/hook")
        newcomer.click("button", "Next")
        newcomer.click("button", "Next")
        newcomer.click("button", "Send a test")
        assert b'"type":"deployment"' in bodies[0]
        window.check_access()
        newcomer.click("button", "Finish")
        assert "active" in window.page.inner_text("main")
        assert newcomer.count <= MAX_CLICKS
        assert window.found == []
