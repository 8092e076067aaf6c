"""The delivery log in a real browser: filtered, live, acted upon; for everybody, and without scripts too."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.chromium import PHONE, Site, Watched, Windows
from tests.dashboard.payloads import PAYLOADS

PATIENCE_MS = 20_000
"""A stream looks less often while the machine is busy."""


def add_app(site: Site) -> str:
    """An app whose notifier `the hook` never gets through, and `the other` neither."""
    app = site.add_app()
    for name in ("the hook", "the other"):
        site.add_notifier(app, name, selected_events=["app_deployed", "app_scaled"])
    return app


def deliveries(site: Site, app: str, **only: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.api.get(f"/v1/apps/{app}/deliveries", params=only).json()["deliveries"]
    return found


def rows(page: Page) -> Any:
    return page.locator("#log tbody tr")


def test_the_log_is_filtered_and_leads_on(each_site: Site, windows: Windows) -> None:
    app = add_app(each_site)
    each_site.post_event(app, "deployment", pusher="maria")
    each_site.post_event(app, "scale")
    watched = windows.open()
    watched.sign_in(each_site)
    page = watched.page
    page.goto(f"{each_site.url}/apps/{app}")
    page.click("nav.place >> text=Deliveries")
    expect(rows(page)).to_have_count(4)
    page.select_option("#notifier", label="the other")
    page.fill("#q", "MARIA")
    page.click("text=Show >> nth=0")
    expect(rows(page)).to_have_count(1)
    assert page.input_value("#q") == "MARIA"
    page.click("#log th a >> nth=0")
    expect(page.locator("h2", has_text="Attempts").first).to_be_visible()
    page.click("main dl a code")
    expect(page).to_have_url(re.compile(r"/events/[0-9a-f]{24}$"))
    page.click("text=Why was it sent, or not?")
    expect(page.locator("section.panel")).to_have_count(
        len(each_site.api.get(f"/v1/apps/{app}/notifiers").json()["notifiers"])
    )
    page.locator("summary").first.click()
    expect(page.locator(".steps").first).to_be_visible()
    watched.check()


def test_a_new_delivery_appears_by_itself_and_takes_nothing_away(each_site: Site, windows: Windows) -> None:
    app = add_app(each_site)
    each_site.post_event(app, "scale")
    watched = windows.open()
    watched.sign_in(each_site)
    page = watched.page
    page.goto(f"{each_site.url}/apps/{app}/deliveries")
    expect(rows(page)).to_have_count(2)
    page.fill("#q", "half a word")
    held = page.locator("#log th a").first
    held.focus()
    held_address = held.get_attribute("href")
    each_site.post_event(app, "deployment")
    expect(rows(page)).to_have_count(4, timeout=PATIENCE_MS)
    assert page.evaluate("document.activeElement.getAttribute('href')") == held_address
    assert page.input_value("#q") == "half a word"
    expect(page.locator(".live [role=status]")).to_have_text("The page was brought up to date.")
    live = page.locator(".live button")
    expect(live).to_have_attribute("aria-pressed", "true")
    live.focus()
    page.keyboard.press("Enter")
    expect(live).to_have_attribute("aria-pressed", "false")
    expect(live).to_contain_text("Live updates are off")
    each_site.post_event(app, "deployment")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(6, timeout=PATIENCE_MS)
    watched.check()


def test_a_delivery_is_sent_again_sent_to_another_and_cancelled(each_site: Site, windows: Windows) -> None:
    app = add_app(each_site)
    each_site.post_event(app, "deployment")
    [first] = [each for each in deliveries(each_site, app) if each["notifier_name"] == "the hook"]
    watched = windows.open()
    watched.sign_in(each_site)
    page = watched.page
    own = f"{each_site.url}/apps/{app}/deliveries/{first['id']}"
    page.goto(own)
    page.click("text=Send again")
    page.click("main button[type=submit]")
    expect(page.locator(".state.good")).to_have_text("The event is sent again: this is the new delivery.")
    assert [each["replay_of"] for each in deliveries(each_site, app) if each["replay_of"]] == [first["id"]]
    page.goto(own)
    page.click("text=Send to another notifier")
    page.select_option("#target", label="the other")
    page.click("main button[type=submit]")
    expect(page.locator("main dl")).to_contain_text("the other")
    page.click("main .actions >> text=Cancel")
    expect(page.locator("h1")).to_have_text("Cancel this delivery?")
    page.click("text=Cancel the delivery")
    expect(page.locator(".state.good")).to_have_text("The delivery was cancelled.")
    expect(page.locator("main dl .badge")).to_have_text("cancelled")
    watched.check()


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
def test_what_was_missed_is_counted_and_then_sent(each_site: Site, windows: Windows, *, has_scripts: bool) -> None:
    app = add_app(each_site)
    for _ in range(3):
        each_site.post_event(app, "deployment")
    [notifier] = {each["notifier_id"] for each in deliveries(each_site, app) if each["notifier_name"] == "the other"}
    each_site.api.patch(f"/v1/apps/{app}/notifiers/{notifier}", json={"notifier": {"active": False}})
    watched = windows.open(has_scripts=has_scripts)
    watched.sign_in(each_site)
    page = watched.page
    page.goto(f"{each_site.url}/apps/{app}/notifiers/{notifier}/recover")
    page.check("text=Switch the notifier on first")
    page.click("text=Count them")
    expect(page.locator("section.state h2")).to_have_text("3 deliveries would be sent again.")
    page.click("text=Send them now")
    expect(page.locator(".state.good")).to_have_text("3 deliveries are sent again.")
    page.click("text=See the log of this notifier")
    expect(rows(page)).to_have_count(6)


def test_everything_works_without_scripts(each_site: Site, windows: Windows) -> None:
    app = add_app(each_site)
    each_site.post_event(app, "deployment")
    watched = windows.open(has_scripts=False, locale="fr-FR", size=PHONE)
    watched.sign_in(each_site)
    page = watched.page
    page.goto(f"{each_site.url}/apps/{app}/deliveries")
    expect(page.locator(".live")).to_be_hidden()
    page.select_option("#state", label="annulé")
    page.click("main button[type=submit]")
    expect(page.locator(".blank")).to_contain_text("Aucune livraison ne correspond.")
    page.click(".blank >> text=Tout afficher")
    page.click("#log th a >> nth=0")
    page.click("text=Renvoyer")
    page.click("main button[type=submit]")
    expect(page.locator(".state.good")).to_contain_text("voici la nouvelle livraison")


def test_nobody_is_kept_out_of_a_log_that_shows_nothing(site: Site, windows: Windows) -> None:
    """What it shows otherwise is among the pages of `all_pages`."""
    app = site.add_app()
    watched = windows.open(size=PHONE)
    watched.sign_in(site)
    for query in ("", "?state=failed&since=x", "?q=nothing-says-this"):
        watched.page.goto(f"{site.url}/apps/{app}/deliveries{query}")
        watched.check_access()


def test_what_others_wrote_is_text(site: Site, watched: Watched) -> None:
    app = site.add_app()
    payloads = tuple(payload for payload in PAYLOADS if payload.isprintable())
    for payload in payloads[:5]:
        site.add_notifier(app, payload, send_all_events=True)
    for payload in payloads[:6]:
        site.api.post(f"/v1/apps/{app}/events", json={"event": {"type": payload, "type_data": {"text": payload}}})
    watched.sign_in(site)
    for query in ("", "?q=%3Cscript%3E", "?type=%22%3E%3Cb%3E&notifier=%27%3E%3Ci%3E&since=%3Cb%3E"):
        watched.page.goto(f"{site.url}/apps/{app}/deliveries{query}")
        watched.check()
    site.post_event(app, "deployment", text=payloads[5])
    made = deliveries(site, app)[0]
    watched.page.goto(f"{site.url}/apps/{app}/deliveries/{made['id']}")
    watched.check((made["notifier_name"], payloads[5].replace('"', '\\"')))
    watched.page.goto(f"{site.url}/apps/{app}/events/{made['event_id']}/explain")
    watched.check(payloads[:5])
