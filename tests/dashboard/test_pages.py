"""What holds for every page: whole, escaped, with safe headers, in the reader's language."""

import re
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

from tests.api.conftest import REGION, World
from tests.dashboard.browser import Browser, open_browser, parse
from tests.dashboard.payloads import PAYLOADS
from tests.line import PLATFORM_IDS
from tocsin.dashboard.site import build_site
from tocsin.dashboard.words import Languages
from tocsin.notifier_rules import NotifierWish

OF_VISITORS = ["/", "/login", "/login/some-secret", "/login/code", "/docs", "/nope"]
OF_USERS = [
    *("/", "/account", "/account/tokens", "/docs", "/nope", "/apps/nope"),
    *("/apps/my-app", "/apps/my-app/events", "/apps/my-app/events/new"),
    *("/apps/my-app/alerts", "/apps/my-app/alerts/new"),
]
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FOREIGN = {"iframe", "object", "embed", "video", "source", "math", "base", "style"}
"""What no page of ours has, and a payload could make."""

TEMPLATES = tuple(Path(str(files("tocsin.dashboard").joinpath("templates"))).rglob("*.html"))
OWN_SCRIPT = re.compile(r"""<script type="module" src="\{\{ asset\('[a-z-]+\.js'\) \}\}"></script>""")
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


def check(browser: Browser, language: str) -> None:
    """A page is valid, and a screen reader finds its way in it."""
    page = parse(browser.answer.text)
    assert page.get("lang") == language
    assert (page.findtext(".//title") or "").strip()
    assert len(page.findall(".//main")) == len(page.findall(".//h1")) == 1
    ids = [each.get("id") for each in page.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for script in page.iter("script"):
        assert script.get("type") == "module"
        assert re.fullmatch(r"/assets/[a-z-]+\.[0-9a-f]+\.js", script.get("src", ""))
        assert not script.text
    assert not list(page.iter("style"))
    for each in page.iter():
        assert not [name for name in each.attrib if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action", "formaction"):
            assert re.match(r"/(?!/)|#", each.get(name, "/")), each.attrib
    labelled = {label.get("for") for label in page.iter("label")}
    for field in (each for tag in ("input", "select", "textarea") for each in page.iter(tag)):
        assert "hidden" in (field.get("type"), *field.attrib) or field.get("id") in labelled
    for form in page.iter("form"):
        if form.get("method") == "get":
            assert not [field for field in form.iter("input") if field.get("name") == "form_token"]
            continue
        assert form.get("method") == "post"
        assert [field for field in form.iter("input") if field.get("name") == "form_token"]


def check_headers(browser: Browser) -> None:
    headers = browser.answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"] == CSP
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("path", OF_VISITORS)
async def test_pages_of_visitors_are_whole_and_safe(browser: Browser, path: str, language: str) -> None:
    await browser.open(path, accept=HTML, **{"accept-language": language})
    assert browser.answer.status_code == {"/nope": 404, "/login/some-secret": 403}.get(path, 200)
    check(browser, language)
    check_headers(browser)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("path", OF_USERS)
async def test_pages_of_users_are_whole_and_safe(alice: Browser, path: str, language: str) -> None:
    await alice.open(path, accept=HTML, **{"accept-language": language})
    assert alice.answer.status_code == (404 if path.endswith("/nope") else 200)
    check(alice, language)
    check_headers(alice)


async def test_pages_show_each_user_their_own(world: World, alice: Browser) -> None:
    charlies = await world.verbs.apps.add_app(world.users["charlie"], "charlies")
    await alice.open("/")
    assert ("my-app" in alice.text, "charlies" in alice.text) == (True, False)
    for ref in (charlies.name, charlies.id):
        answer = await alice.open(f"/apps/{ref}", accept=HTML)
        assert answer.status_code == 404
        missing = await alice.open("/apps/no-such-app", accept=HTML)
        assert re.sub("value=.*?>", "", answer.text) == re.sub("value=.*?>", "", missing.text)


async def test_other_clients_are_told_in_json_what_is_not_there(browser: Browser) -> None:
    for path, accept in [("/nope", "*/*"), ("/nope", "application/json"), ("/v1/nope", HTML)]:
        answer = await browser.open(path, accept=accept)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


async def test_https_is_asked_for_where_the_public_url_has_it(world: World) -> None:
    site = build_site(world.verbs, public_url="https://tocsin.example.com", region=REGION)
    async with open_browser(site, "https://tocsin.example.com") as browser:
        for path in ("/login", "/v1/regions", "/nope"):
            assert (await browser.open(path)).headers["strict-transport-security"] == "max-age=31536000"


async def test_files_are_kept_by_browsers_as_long_as_they_are_the_same(browser: Browser) -> None:
    await browser.open("/login")
    links = [each.get("href") for each in browser.page.iter("link")]
    assert len(links) == 2
    for link in links:
        answer = await browser.open(link)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        other = re.sub(r"\.[0-9a-f]{12}\.", ".000000000000.", link)
        for path in (other, re.sub(r"\.[0-9a-f]{12}\.", ".", link)):
            answer = await browser.open(path)
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    for path in ("/assets/nope.css", "/assets/..%2Fpages.py", "/assets/%2e%2e/pages.py", "/assets/style"):
        assert (await browser.open(path)).status_code == 404


async def test_the_stylesheet_loads_nothing(browser: Browser) -> None:
    answer = await browser.open("/assets/style.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert not re.search(r"url\(|@import", answer.text)


def test_templates_put_nothing_unescaped_into_pages() -> None:
    assert len(TEMPLATES) > 8
    for template in TEMPLATES:
        text = template.read_text("utf-8")
        text = OWN_SCRIPT.sub("", text)
        assert not re.search(r"\|\s*safe|autoescape|Markup|<script|<style|javascript:", text), template.name
        assert not re.search(r"\son\w+\s*=|\sstyle\s*=|<[^>]*=\{\{", text), template.name


def test_the_languages_say_the_same_things() -> None:
    languages = Languages().all
    assert set(languages) == {"en", "fr"}
    english, french = languages["en"].by_key, languages["fr"].by_key
    assert list(english) == list(french)
    for key, text in english.items():
        places = [{name for _, name, _, _ in Formatter().parse(each) if name} for each in (text, french[key])]
        assert places[0] == places[1], key


def test_every_word_that_a_page_asks_for_is_there_and_used() -> None:
    package = files("tocsin.dashboard")
    sources = [
        *TEMPLATES,
        *(file for file in package.iterdir() if file.name.endswith(".py")),
    ]
    text = "\n".join(source.read_text("utf-8") for source in sources)
    asked = set(re.findall(r"""(?:\bt|words)\(\s*["']([\w.]+)["']\s*[,)]""", text))
    families = set(re.findall(r"""(?:\bt|words)\(\s*f?["']([\w.]+\.)(?:["'] ~|\{)""", text))
    known = set(Languages().all["en"].by_key)
    counted = {key for key in asked if f"{key}.one" in known}
    asked = asked - counted | {f"{key}.{number}" for key in counted for number in ("one", "other")}
    assert asked
    assert asked <= known
    assert {key for key in known - asked if not key.startswith(tuple(families))} == set()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("fr", "fr"),
        ("fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        ("de, en;q=0.5, fr;q=0.7", "fr"),
        ("fr;q=0, en;q=0.1", "en"),
        ("de", "en"),
        ("FR", "fr"),
        ("fr;q=x, ;;;,=,", "en"),
        ("x" * 100_000 + ",fr", "en"),
    ],
)
def test_the_language_is_the_one_that_the_reader_likes_best(header: str | None, language: str) -> None:
    assert Languages().choose(header).language == language


async def test_what_others_wrote_is_text_on_every_page(world: World, alice: Browser) -> None:
    """The same holds in a real browser (`test_browser`); this needs none."""
    notifiers = world.verbs.notifiers
    names = [payload for payload in PAYLOADS if payload.isprintable()]
    for name in names:
        wish = NotifierWish(
            platform_id=PLATFORM_IDS["webhook"], name=name, type_data={"webhook_url": "https://example.com/"}
        )
        await notifiers.add(world.app, world.users["alice"], wish)
    await alice.open("/apps/my-app")
    check(alice, "en")
    assert not {each.tag for each in alice.page.iter()} & FOREIGN
    assert all(" ".join(name.split()) in alice.text for name in names)
    await alice.submit("/logout")
    for payload in PAYLOADS:
        sent = alice.form("/login").fields | {"username": payload, "password": "x", "next": payload}
        for address in ("/login", "/login/code"):
            alice.answer = await alice.client.post(address, data=sent, follow_redirects=True)
            assert alice.answer.status_code != 429
            check(alice, "en")
        await alice.open("/login")
        world.clock.advance(30)  # what is limited is allowed again
