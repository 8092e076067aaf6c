"""A user's own page: sessions, here and elsewhere, and the password."""

from structlog.testing import capture_logs

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.chromium import PASSWORD
from tocsin.proxies import Proxies

NEW = "another good password"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36"


async def test_the_page_shows_where_one_is_signed_in(world: World, alice: Browser) -> None:
    async with open_browser(world.api) as other:
        other.client.headers["user-agent"] = CHROME
        world.clock.advance(300)
        await other.sign_in("alice", PASSWORD)
        await alice.open("/account")
        assert "Firefox on Linux" in alice.text
        assert "Chrome on Windows" in alice.text
        assert alice.text.count("127.0.0.1") >= 2
        assert alice.text.count("this browser") == 1


async def test_a_session_has_its_address_though_guesses_count_for_the_network(world: World, browser: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], PASSWORD)
    world.api.state.proxies = Proxies.parse("127.0.0.1")
    browser.client.headers["x-forwarded-for"] = "2001:db8:1:2::7"
    with capture_logs() as logs:
        await browser.sign_in("alice", "wrong password")
    assert [entry["address"] for entry in logs if entry["event"] == "sign_in.refused"] == ["2001:db8:1:2::/64"]
    await browser.sign_in("alice", PASSWORD)
    await browser.open("/account")
    assert "2001:db8:1:2::7" in browser.text
    assert "/64" not in browser.text


async def test_another_session_can_be_ended(world: World, alice: Browser) -> None:
    async with open_browser(world.api) as other:
        await other.sign_in("alice", PASSWORD)
        await alice.open("/account")
        [action] = [form.action for form in alice.forms() if form.action.endswith("/end")]
        await alice.submit(action)
        assert "That browser was signed out" in alice.text
        await other.open("/account")
        assert other.path.startswith("/login")


async def test_the_audit_log_tells_who_signed_in_and_out_from_where(world: World, alice: Browser) -> None:
    [session] = await world.verbs.sessions.list(world.users["alice"])
    await alice.open("/")
    await alice.submit("/logout")
    newest = await world.verbs.audit.list_newest(limit=2)
    assert [entry.action for entry in newest] == ["user.signed_out", "user.signed_in"]
    for entry in newest:
        assert (entry.username, entry.object_name, entry.address) == ("alice", "alice", "127.0.0.1")
        assert session.id in entry.details


async def test_all_others_can_be_ended_at_once(world: World, alice: Browser) -> None:
    await alice.open("/account")
    assert not [form for form in alice.forms() if "/sessions/" in form.action]
    async with open_browser(world.api) as one, open_browser(world.api) as two:
        for other in (one, two):
            await other.sign_in("alice", PASSWORD)
        await alice.open("/account")
        await alice.submit("/account/sessions/end-others")
        assert alice.path == "/account?done=sessions"
        for other in (one, two):
            await other.open("/account")
            assert other.path.startswith("/login")


async def test_nobody_ends_the_session_of_somebody_else(world: World, alice: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["bob"], PASSWORD)
    async with open_browser(world.api) as bob:
        await bob.sign_in("bob", PASSWORD)
        [session] = await world.verbs.sessions.list(world.users["alice"])
        await bob.open("/account")
        token = next(bob.forms()).fields
        answer = await bob.client.post(f"/account/sessions/{session.id}/end", data=token)
        assert answer.status_code == 404
    assert (await alice.open("/account")).url.path == "/account"


async def test_a_changed_password_ends_every_other_session(world: World, alice: Browser) -> None:
    async with open_browser(world.api) as other:
        await other.sign_in("alice", PASSWORD)
        await alice.open("/account")
        await alice.submit("/account/password", current=PASSWORD, password=NEW, repeated=NEW)
        assert alice.path == "/account?done=password"
        assert "signed out everywhere else" in alice.text
        await other.open("/account")
        assert other.path.startswith("/login")
        assert (await other.sign_in("alice", PASSWORD)).status_code == 403
        assert (await other.sign_in("alice", NEW)).url.path == "/"


async def test_an_operators_new_password_ends_all_sessions(world: World, alice: Browser) -> None:
    await world.verbs.accounts.set_password(world.users["alice"], NEW)
    await alice.open("/account")
    assert alice.path.startswith("/login")


async def test_a_password_is_changed_by_whoever_knows_the_old_one(world: World, alice: Browser) -> None:
    await alice.open("/account")
    for fields, status, told in [
        ({"current": "wrong", "password": NEW, "repeated": NEW}, 403, "The current password is wrong"),
        ({"password": NEW, "repeated": NEW}, 403, "The current password is wrong"),
        ({"current": PASSWORD, "password": NEW, "repeated": NEW + "x"}, 422, "The two new passwords differ"),
        ({"current": PASSWORD, "password": "short", "repeated": "short"}, 422, "must have 8 to 1024 characters"),
    ]:
        await alice.submit("/account/password", **fields)
        assert (alice.answer.status_code, told in alice.text) == (status, True), fields
    async with open_browser(world.api) as other:
        assert (await other.sign_in("alice", PASSWORD)).url.path == "/"


async def test_who_came_by_link_sets_a_first_password(world: World, browser: Browser) -> None:
    secret = await world.verbs.accounts.add_link(world.users["bob"])
    await browser.open(f"/login/{secret}")
    await browser.submit(f"/login/{secret}")
    await browser.open("/account")
    assert "You have no password yet" in browser.text
    await browser.submit("/account/password", password=NEW, repeated=NEW)
    assert browser.path == "/account?done=password"
    async with open_browser(world.api) as other:
        assert (await other.sign_in("bob", NEW)).url.path == "/"


async def test_a_week_without_use_ends_a_session(world: World, alice: Browser) -> None:
    for _ in range(3):
        world.clock.advance(6 * 86400)
        assert (await alice.open("/account")).url.path == "/account"
    world.clock.advance(7 * 86400)
    await alice.open("/account")
    assert alice.path.startswith("/login")


async def test_thirty_days_end_a_session_however_it_is_used(world: World, alice: Browser) -> None:
    for _ in range(29):
        world.clock.advance(86400)
        assert (await alice.open("/account")).url.path == "/account"
    world.clock.advance(86400)
    await alice.open("/account")
    assert alice.path.startswith("/login")


async def test_use_is_noted_to_the_minute_and_not_with_each_request(world: World, alice: Browser) -> None:
    user = world.users["alice"]
    [before] = await world.verbs.sessions.list(user)
    world.clock.advance(59)
    await alice.open("/account")
    assert await world.verbs.sessions.list(user) == [before]
    world.clock.advance(1)
    await alice.open("/account")
    [after] = await world.verbs.sessions.list(user)
    assert (after.last_used_at - before.last_used_at).total_seconds() == 60
    assert after.expires_at > before.expires_at
