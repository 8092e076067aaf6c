"""Every page answers everybody: with itself, or with a refusal, but never with an error of the server."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import httpx
import pytest

from tests.dashboard.all_pages import ALL_PAGES, SHOWN_ELSEWHERE, Shown
from tests.dashboard.browser import parse
from tests.dashboard.chromium import begin_session
from tests.dashboard.sample import PEOPLE, Sample
from tocsin.dashboard.routes import PageRoute
from tocsin.dashboard.site import ROUTERS

REFUSALS = {"not-found": 404, "sign-in-link": 403}
"""Pages that say no to everybody."""

OWNER, COLLABORATOR, LIMITED, STRANGER, ADMIN = PEOPLE


@pytest.fixture(scope="module")
def readers(sample: Sample) -> Iterator[Mapping[str, httpx.Client]]:
    """A browser of each, and of nobody."""
    with ExitStack() as open_ones:
        clients = {}
        for name in ("", *PEOPLE):
            cookies = begin_session(sample.site, name) if name else []
            client = httpx.Client(base_url=sample.site.url, trust_env=False, timeout=30, cookies=dict(cookies))
            clients[name] = open_ones.enter_context(client)
        yield clients


def expected(page: Shown, reader: str) -> set[int]:
    """What it may answer."""
    if page.name in REFUSALS:
        return {REFUSALS[page.name]}
    if page.of == "visitor":
        return {303} if page.name == "sign-in" and reader else {200}
    if not reader:
        return {200} if page.name == "apps" else {303}
    if page.of == "admin":
        return {200} if reader == ADMIN else {404}
    if page.of == "user":
        return {200} if "{" not in page.address or reader == OWNER else {404}
    if page.of == "owner":
        return {OWNER: {200}, ADMIN: {200}, STRANGER: {404}}.get(reader, {403})
    return {STRANGER: {404}, LIMITED: {200, 403}}.get(reader, {200})


def test_every_page_is_shown() -> None:
    routes = {
        route.path
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, PageRoute) and "GET" in (route.methods or ())
    }
    left_out = routes - {page.route for page in ALL_PAGES} - SHOWN_ELSEWHERE.keys()
    assert not left_out, f"add these to ALL_PAGES in tests/dashboard/all_pages.py: {left_out}"
    assert {page.route for page in ALL_PAGES} | SHOWN_ELSEWHERE.keys() <= routes, "these are no pages any more"
    assert len({page.name for page in ALL_PAGES}) == len(ALL_PAGES)


@pytest.mark.parametrize("page", ALL_PAGES, ids=str)
def test_every_page_answers_everybody(sample: Sample, readers: Mapping[str, httpx.Client], page: Shown) -> None:
    address = page.address.format(**sample.names)
    for name, client in readers.items():
        answer = client.get(address, headers={"accept": "text/html"})
        assert answer.status_code in expected(page, name), (name, answer.text)
        if answer.status_code == 303 and not name:
            assert answer.headers["location"].startswith("/login?next="), name
        elif answer.status_code != 303:
            parse(answer.text)
