"""Events, alert rules, tokens and the account in a real browser."""

from urllib.parse import quote

import pytest

from tests.dashboard.chromium import PHONE, Site, Watched, Windows
from tests.dashboard.payloads import PAYLOADS


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
def test_an_event_is_sent_by_hand_and_found_again(each_site: Site, windows: Windows, *, has_scripts: bool) -> None:
    app = each_site.add_app()
    each_site.add_notifier(app, send_all_events=True)
    window = windows.open(has_scripts=has_scripts)
    window.sign_in(each_site)
    page = window.page
    page.goto(f"{each_site.url}/apps/{app}/events")
    page.click("text=Send an event")
    page.select_option("#sample", "crash")
    page.click("text=Load the sample")
    page.click("text=Who would get it?")
    assert "the hook: gets it." in page.inner_text("main")
    page.click("text=Send the event")
    page.wait_for_url("**?done=sent")
    assert "The event was stored" in page.inner_text("main")
    assert "the hook" in page.locator("tbody th").all_inner_texts()
    page.click("text=Events >> nth=0")
    page.select_option("#type", "crash")
    page.click("text=Show >> nth=0")
    assert page.locator("ol.events li").count() == 1
    page.fill("#q", "no such word")
    page.click("main button[type=submit]")
    assert "No event fits." in page.inner_text("main")
    assert window.found == []


def test_json_that_is_none_is_told_at_its_field(site: Site, watched: Watched) -> None:
    app = site.add_app()
    watched.sign_in(site)
    page = watched.page
    page.goto(f"{site.url}/apps/{app}/events/new")
    page.fill("#type_data", '{"status": ')
    page.click("text=Send the event")
    assert page.input_value("#type_data") == '{"status": '
    described = page.get_attribute("#type_data", "aria-describedby") or ""
    assert "is not JSON" in page.inner_text(f"#{described.split()[-1]}")
    page.click("#problems a")
    assert page.evaluate("document.activeElement.id") == "type_data"
    watched.check_access()


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
def test_an_alert_rule_is_added_edited_switched_off_and_removed(
    site: Site, windows: Windows, *, has_scripts: bool
) -> None:
    app = site.add_app()
    site.add_notifier(app)
    window = windows.open(has_scripts=has_scripts, size=PHONE)
    window.sign_in(site)
    page = window.page
    page.goto(f"{site.url}/apps/{app}/alerts")
    page.click("text=Add a rule >> nth=0")
    page.select_option("#metric", "memory")
    page.fill("#limit", "90")
    page.check("text=the hook")
    page.click("text=Save")
    assert "above 90 %" in page.inner_text("main")
    page.click("text=Edit")
    page.fill("#limit", "95")
    page.click("text=Save")
    assert "above 95 %" in page.inner_text("main")
    page.click("button:has-text('Switch off')")
    assert "The rule was switched off." in page.inner_text("main")
    page.click("a:has-text('Remove')")
    page.click("button:has-text('Remove')")
    assert "This app has no alert rules." in page.inner_text("main")
    assert window.found == []


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_token_is_made_shown_once_and_revoked(each_site: Site, windows: Windows, *, has_scripts: bool) -> None:
    name = f"tess-{has_scripts}".lower()
    window = windows.open(has_scripts=has_scripts, permissions=["clipboard-read", "clipboard-write"])
    window.sign_in(each_site, name)
    page = window.page
    page.goto(f"{each_site.url}/account")
    page.click("text=Make and revoke tokens")
    page.fill("#name", "laptop")
    page.click("text=Make a token >> nth=-1")
    secret = page.inner_text("#secret")
    headers = {"authorization": f"Bearer {secret}"}
    assert page.request.get(f"{each_site.url}/v1/users/self", headers=headers).status == 200
    if has_scripts:
        page.click("text=Copy")
        page.wait_for_selector("text=✓")
        assert page.evaluate("navigator.clipboard.readText()") == secret
        page.evaluate("navigator.clipboard.writeText('')")
        window.check_access()
    page.click("a:has-text('Revoke')")
    page.click("button:has-text('Revoke')")
    assert "The token was revoked." in page.inner_text("main")
    assert page.request.get(f"{each_site.url}/v1/users/self", headers=headers).status == 401


def test_the_browsers_time_zone_is_offered(site: Site, windows: Windows) -> None:
    window = windows.open(timezone_id="Asia/Tokyo")
    window.sign_in(site, "zoe")
    page = window.page
    page.goto(f"{site.url}/account")
    page.click("button:has-text('Asia/Tokyo')")
    page.select_option("#language", "fr")
    page.click("text=Save")
    assert "Les heures sont celles de Asia/Tokyo." in page.inner_text("footer")
    assert page.locator("#own-zone").is_hidden()
    window.check_access()


def test_payloads_are_text_in_events_and_rules(site: Site, watched: Watched) -> None:
    app = site.add_app()
    watched.sign_in(site)
    for payload in PAYLOADS:
        event = site.post_event(app, "deployment", pusher="ada", note=payload)
        watched.page.goto(f"{site.url}/apps/{app}/events/{event['id']}")
        watched.check()
    for payload in filter(str.isprintable, PAYLOADS):
        rule = {"container_type": payload, "metric": "cpu", "limit": 0.5}
        site.post(f"/v1/apps/{app}/alerts", {"alert": rule})
    watched.page.goto(f"{site.url}/apps/{app}/alerts")
    watched.check(tuple(filter(str.isprintable, PAYLOADS)))
    for payload in PAYLOADS[::8]:
        watched.page.goto(f"{site.url}/apps/{app}/events?q={quote(payload[:100], safe='')}")
        watched.check()
