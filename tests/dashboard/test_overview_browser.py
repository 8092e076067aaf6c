"""Apps and their overview in a real browser: added, looked at, renamed and deleted; with scripts and without."""

import pytest

from tests.dashboard.chromium import Site, Windows


def pause_and_cancel(site: Site, app: str, notifier_id: str) -> None:
    """Have a delivery that ends: it waits for a notifier that is paused, and then turned off."""
    notifiers = f"/v1/apps/{app}/notifiers/{notifier_id}"
    assert site.api.post(f"{notifiers}/pause", json={}).status_code == 200
    site.post_event(app, "restart")
    assert site.api.patch(notifiers, json={"notifier": {"active": False}}).status_code == 200


@pytest.mark.parametrize("has_scripts", [True, False])
def test_an_app_is_added_looked_at_renamed_and_deleted(each_site: Site, windows: Windows, *, has_scripts: bool) -> None:
    site = each_site
    name = f"{site.add_app()}-new"
    watched = windows.open(has_scripts=has_scripts)
    page = watched.page
    watched.sign_in(site)
    page.goto(f"{site.url}/")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Add an app").click()
    page.wait_for_url(f"{site.url}/apps/{name}")
    notifier = site.add_notifier(name, send_all_events=True)
    pause_and_cancel(site, name, notifier["id"])
    page.goto(f"{site.url}/")
    page.get_by_role("searchbox").fill(name)
    page.get_by_role("button", name="Search").click()
    assert page.get_by_role("img", name="Deliveries of the last 24 hours").count() == 1
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("link", name="7 days").click()
    assert page.url.endswith("?span=7d")
    drawn = page.get_by_role("img", name="Deliveries over time")
    assert drawn.is_visible()
    page.get_by_text("The same as a table").first.click()
    assert page.get_by_role("columnheader", name="Cancelled").first.is_visible()
    page.get_by_role("link", name="Rename or delete").click()
    page.get_by_label("Name", exact=True).fill(f"{name}-2")
    page.get_by_role("button", name="Rename the app").click()
    page.wait_for_url(f"{site.url}/apps/{name}-2")
    page.get_by_role("link", name="Rename or delete").click()
    page.get_by_label("Enter the name of the app").fill(f"{name}-2")
    page.get_by_role("button", name="Delete the app").click()
    page.wait_for_url(f"{site.url}/")
    if has_scripts:
        watched.check()
    assert page.get_by_role("link", name=f"{name}-2", exact=True).count() == 0
