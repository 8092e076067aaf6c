"""Pages in a real browser: a site that runs, windows onto it that notice what no page of ours does, and axe-core.

`site` is one for all tests of a process, on SQLite: a test makes an app of its own there, and relies on nobody else's.
`postgres_site` is one for a module; `each_site` is either, for tests that both must pass.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from shutil import copy, which
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.line import PLATFORM_IDS
from tests.postgres import PostgresServer
from tests.processes import Installation

PASSWORD = "correct horse battery"

# Its own sandbox needs a user who is not root; what it loads here is ours.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-proxy-server")

DESKTOP = (1280, 800)
PHONE = (360, 740)

AXE = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "resultTypes": ["violations"],
    "preload": False,  # it would ask for the style sheet once more, which no page of ours may
}

NAMED = 5
"""So many elements are named where a rule is broken."""

TELL_BREAKS = """
addEventListener("securitypolicyviolation", (broken) =>
    console.error(`against the policy: ${broken.violatedDirective} ${broken.blockedURI} ${broken.sample}`));
"""

STRANGE = """() => {
    const own = (address) => new URL(address, location).origin === location.origin;
    const strange = [];
    const refuse = (what, element) => strange.push(`${what}: ${element.outerHTML.slice(0, 200)}`);
    const never = "style,iframe,frame,object,embed,video,audio,math,base,applet,foreignObject,#bait,meta[http-equiv]";
    for (const element of document.querySelectorAll("*")) {
        if (element.matches(never)) refuse("no page has this", element);
        for (const { name, value } of element.attributes) {
            if (name.startsWith("on")) refuse("a handler in the page", element);
            if (["href", "src", "action", "formaction", "data", "xlink:href"].includes(name)) {
                if (/^\\s*(javascript|data|vbscript):/i.test(value)) refuse("an address that is code", element);
                if (name !== "href" && !own(value)) refuse("an address elsewhere", element);
            }
        }
    }
    for (const script of document.querySelectorAll("script")) {
        const address = new URL(script.src || "about:blank", location);
        const is_module = script.type === "module" && script.textContent.trim() === "";
        if (!is_module || address.origin !== location.origin || !/^\\/assets\\/[\\w.-]+\\.js$/.test(address.pathname))
            refuse("not a module of ours", script);
    }
    for (const image of document.querySelectorAll("img, image, use")) {
        const source = image.getAttribute("src") ?? image.getAttribute("href") ?? "";
        if (!source.startsWith("/assets/") && !source.startsWith("#")) refuse("not a picture of ours", image);
    }
    for (const link of document.querySelectorAll("link"))
        if (!link.getAttribute("href").startsWith("/assets/")) refuse("not a file of ours", link);
    if (document.querySelectorAll("link[rel=stylesheet]").length !== 1) strange.push("not one style sheet");
    return strange;
}"""


class Site:
    """A running Tocsin with alice, and whoever else is asked for."""

    def __init__(self, folder: Path, *, database_url: str | None = None, **settings: str) -> None:
        self.installation = Installation(folder, database_url=database_url, **settings)
        self._numbers = count(1)
        self._users: set[str] = set()
        self._clients: dict[str, httpx.Client] = {}

    def start(self) -> None:
        self.add_user("alice")
        self.installation.serve()

    @property
    def url(self) -> str:
        return self.installation.url

    def add_user(self, name: str, *, is_admin: bool = False) -> None:
        """Somebody with `PASSWORD`, if there is nobody of this name yet."""
        if name not in self._users:
            self._users.add(name)
            options = ["--admin"] if is_admin else []
            command = ("user", "add", name, "--email", f"{name}@example.com", "--password-stdin", *options)
            self.installation.run(*command, given=PASSWORD)

    def know(self, names: Iterable[str]) -> None:
        """These are there already, with `PASSWORD`."""
        self._users.update(names)

    def client(self, name: str = "alice") -> httpx.Client:
        """The API as a user calls it."""
        if name not in self._clients:
            self.add_user(name)
            token = self.installation.run("token", "add", name, "--name", "tests")
            headers = {"authorization": f"Bearer {token}"}
            self._clients[name] = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)
        return self._clients[name]

    @property
    def api(self) -> httpx.Client:
        return self.client("alice")

    def post(self, path: str, body: Any, *, by: str = "alice") -> Any:
        answer = self.client(by).post(path, json=body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def add_app(self, *, owner: str = "alice") -> str:
        """The name of a new app."""
        name = f"app-{next(self._numbers)}"
        self.post("/v1/apps", {"app": {"name": name}}, by=owner)
        return name

    def add_notifier(self, app: str, name: str = "the hook", *, platform: str = "webhook", **fields: Any) -> Any:
        settings = {"webhook_url": "http://127.0.0.1:8080/"}  # where nobody listens
        notifier = {"platform_id": PLATFORM_IDS[platform], "name": name, "type_data": settings} | fields
        return self.post(f"/v1/apps/{app}/notifiers", {"notifier": notifier})["notifier"]

    def post_event(self, app: str, event_type: str, **type_data: Any) -> Any:
        return self.post(f"/v1/apps/{app}/events", {"event": {"type": event_type, "type_data": type_data}})["event"]

    def end(self) -> None:
        for client in self._clients.values():
            client.close()
        self.installation.end()


def begin_session(site: Site, name: str) -> list[tuple[str, str]]:
    """The cookies of a new session of somebody."""
    site.add_user(name)
    with httpx.Client(base_url=site.url, timeout=30, trust_env=False) as client:
        token = client.get("/login").text.partition('name="form_token" value="')[2].partition('"')[0]
        sent = {"username": name, "password": PASSWORD, "form_token": token}
        assert client.post("/login", data=sent).status_code == 303
        return [(each.name, each.value or "") for each in client.cookies.jar]


class Watched:
    """A page and whatever it did that a page of ours never does."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page: Page = context.new_page()
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

    def sign_in(self, site: Site, name: str = "alice") -> None:
        """A new session of somebody, begun beside the browser: `sign_in` takes the form."""
        self.add_cookies(site, begin_session(site, name))

    def add_cookies(self, site: Site, pairs: Iterable[tuple[str, str]]) -> None:
        cookies: Any = [{"name": name, "value": value, "url": site.url} for name, value in pairs]
        self.context.add_cookies(cookies)

    def check(self, payloads: tuple[str, ...] = ()) -> None:
        """Nothing ran, nothing was blocked because it tried to, nothing stands there that came of what others wrote.

        All of the payloads stand there as text.
        """
        page = self.page
        assert self.found == []
        assert page.evaluate("window.pwned") is None
        assert "pwned" not in page.title() or any(payload in page.title() for payload in payloads)
        strange: list[str] = page.evaluate(STRANGE)
        assert strange == []
        text = " ".join(page.inner_text("body").split())
        for payload in payloads:
            assert " ".join(payload.split()) in text

    def check_access(self, *rules: str) -> None:
        """Nobody is kept out, as far as axe-core can tell, or by these rules of it; and the page fits its window."""
        options = AXE | {"runOnly": {"type": "rule", "values": rules}} if rules else AXE
        problems = list(_read_axe(Axe().run(self.page, options=options).response))
        assert not problems, "\n".join([f"{self.page.url}:", *problems])
        self.check_width()
        self.check()

    def check_width(self) -> None:
        too_wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, f"{self.page.url} is {too_wide} px wider than its window"


def _read_axe(response: dict[str, Any]) -> Iterator[str]:
    for violation in response["violations"]:
        yield f"  {violation['id']} ({len(violation['nodes'])}): {violation['help']}"
        for node in violation["nodes"][:NAMED]:
            reasons = " / ".join(each["message"] for kind in ("any", "all", "none") for each in node[kind])
            yield f"    {json.dumps(node['target'])}: {reasons}\n      {node['html'][:200]}"


class Windows:
    """Opens windows of Chromium."""

    def __init__(self, chromium: Browser, open_ones: ExitStack) -> None:
        self._chromium = chromium
        self._open = open_ones

    def open(
        self,
        *,
        is_dark: bool = False,
        size: tuple[int, int] = DESKTOP,
        locale: str = "en-GB",
        has_scripts: bool = True,
        **more: Any,
    ) -> Watched:
        """A window that knows nobody yet; `more` goes to Playwright."""
        context = self._chromium.new_context(
            color_scheme="dark" if is_dark else "light",
            viewport={"width": size[0], "height": size[1]},
            locale=locale,
            java_script_enabled=has_scripts,
            **more,
        )
        self._open.enter_context(context)
        context.add_init_script(TELL_BREAKS)
        return Watched(context)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for longer than a module: while it is open, nothing else in this thread can run an event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    copy(migrated_sqlite, folder / "tocsin.db")
    site = Site(folder)
    site.start()
    yield site
    site.end()


@pytest.fixture(scope="module")
def postgres_site(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, tables: str, database_names: Iterator[str]
) -> Iterator[Site]:
    name = next(database_names)
    site = Site(tmp_path_factory.mktemp("site"), database_url=postgres.add_database(name, template=tables))
    site.start()
    yield site
    site.end()
    postgres.remove_database(name)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def each_site(request: pytest.FixtureRequest) -> Site:
    name = "site" if request.param == "sqlite" else "postgres_site"
    found: Site = request.getfixturevalue(name)
    return found


@pytest.fixture
def windows(chromium: Browser) -> Iterator[Windows]:
    with ExitStack() as open_ones:
        yield Windows(chromium, open_ones)


@pytest.fixture
def watched(windows: Windows) -> Watched:
    """A window as it is mostly."""
    return windows.open()


def sign_in(page: Page, site: Site, name: str = "alice") -> None:
    """By the form, as people do."""
    page.goto(f"{site.url}/login")
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.click("main button[type=submit]")
    page.wait_for_url(f"{site.url}/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a browser is left out aloud where there is none; tests of a module share one: they stay together."""
    absent = pytest.mark.skipif(which("chromium") is None, reason="chromium is not installed: no page is tried in it")
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(absent)
            item.add_marker(pytest.mark.xdist_group(f"browser {item.path.stem}"))
