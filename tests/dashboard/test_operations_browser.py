"""The operators' page of a Tocsin that runs: it keeps up with the queue, and the doctor looks from within."""

from tests.dashboard.chromium import Site, Watched, Windows, sign_in


def open_page(site: Site, watched: Watched) -> None:
    site.add_user("root", is_admin=True)
    sign_in(watched.page, site, "root")
    watched.page.click("text=Operations")
    watched.page.wait_for_url(f"{site.url}/operations")


def test_the_queue_is_shown_as_it_changes(each_site: Site, watched: Watched) -> None:
    app = each_site.add_app()
    notifier = each_site.add_notifier(app, send_all_events=True)
    each_site.post(f"/v1/apps/{app}/notifiers/{notifier['id']}/pause", {"pause": {}})
    open_page(each_site, watched)
    held = watched.page.locator(".sums div", has_text="kept back").locator("dd")
    before = int(held.inner_text())
    each_site.post_event(app, "restart")
    watched.page.wait_for_function(
        "(before) => [...document.querySelectorAll('.sums div')]"
        ".some((sum) => sum.textContent.includes('kept back') && Number(sum.querySelector('dd').textContent) > before)",
        arg=before,
    )
    watched.check_access()


def test_the_doctor_looks_at_the_running_server(each_site: Site, watched: Watched) -> None:
    open_page(each_site, watched)
    watched.page.click("text=Ask the doctor")
    watched.page.wait_for_url("**/operations?doctor=yes*")
    rows = watched.page.locator("#doctor tbody tr")
    found = {row.locator("th").inner_text(): row.inner_text() for row in rows.all()}
    assert {"database", "schema", "durability", "clock", "mail", "egress"} <= found.keys()
    assert "current" in found["schema"]
    assert not [text for text in found.values() if "\tbad\t" in text]
    watched.check_access()


def test_it_works_without_scripts(site: Site, windows: Windows) -> None:
    watched = windows.open(has_scripts=False)
    open_page(site, watched)
    watched.page.click("text=Ask the doctor")
    assert "tocsin.db is whole" in watched.page.inner_text("#doctor")
