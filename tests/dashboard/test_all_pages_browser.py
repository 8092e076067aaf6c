"""Every page in a real browser: nobody is kept out of it, it fits a small phone, breaks no rule, and is light."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page

from tests.dashboard.all_pages import ALL_PAGES, Shown
from tests.dashboard.chromium import DESKTOP, PHONE, Watched, Windows
from tests.dashboard.sample import Sample

MOST_BYTES = 100 * 1024
NARROWEST = 320


@contextmanager
def counting(page: Page) -> Iterator[list[int]]:
    """The bytes that came over the network, part by part, with their headers; nothing is taken from the cache."""
    transferred: list[int] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    session.on("Network.loadingFinished", lambda told: transferred.append(int(told["encodedDataLength"])))
    yield transferred
    session.detach()


def open_page(watched: Watched, sample: Sample, shown: Shown) -> None:
    if shown.of != "visitor":
        watched.sign_in(sample.site, "root" if shown.of == "admin" else "alice")
    with counting(watched.page) as transferred:
        watched.page.goto(sample.site.url + shown.address.format(**sample.names))
    assert len(transferred) >= 2, "the page and its style sheet"
    assert sum(transferred) < MOST_BYTES, transferred


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shown", ALL_PAGES, ids=str)
def test_every_page_is_for_everybody(sample: Sample, windows: Windows, shown: Shown) -> None:
    watched = windows.open(size=PHONE, locale="fr-FR")
    open_page(watched, sample, shown)
    watched.page.set_viewport_size({"width": NARROWEST, "height": 600})
    watched.check_width()
    if shown.name == "reference":  # a hundred times the same: axe-core would take minutes
        watched.page.evaluate("document.querySelectorAll('section > :nth-child(n+4)').forEach((part) => part.remove())")
    watched.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    watched.check_access()
    watched.page.emulate_media(color_scheme="dark")
    watched.check_access("color-contrast")
    watched.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    watched.check_access()
    watched.page.emulate_media(color_scheme="light")
    watched.check_access("color-contrast")
