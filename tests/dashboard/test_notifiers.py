"""The notifiers of an app on pages: the list, one of them, and what can be done with it."""

from datetime import timedelta
from functools import partial

import msgspec
import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.dashboard.test_pages import check
from tocsin.dashboard import notifiers
from tocsin.model import Attempt, AttemptOutcome, Notifier, NotifierState, Reason
from tocsin.notifier_rules import NotifierWish
from tocsin.platforms.signing import Algorithm
from tocsin.store import notifiers as notifier_verbs

LIST = "/apps/my-app/notifiers"
URL = "https://hooks.example.com/s3cret-path"


async def add(world: World, platform: str = "webhook", **wishes) -> Notifier:
    settings = {"emails": ["ops@example.com"]} if platform == "email" else {"webhook_url": URL}
    wish = {
        "platform_id": world.verbs.notifiers.platforms[platform].id,
        "name": "the hook",
        "type_data": settings,
    } | wishes
    return await world.verbs.notifiers.add(world.app, world.users["alice"], NotifierWish(**wish))


async def stored(world: World, notifier: Notifier) -> Notifier:
    return await world.verbs.notifiers.get(world.app, notifier.id)


async def become(world: World, notifier: Notifier, **changes) -> Notifier:
    before = await stored(world, notifier)
    after = msgspec.structs.replace(before, **changes)
    await world.store.write(partial(notifier_verbs.change_notifier, before=before, after=after))
    return after


async def test_the_list_tells_of_each_notifier_what_it_gets_and_how_it_fares(world: World, alice: Browser) -> None:
    await add(world, name="everything", send_all_events=True, send_all_alerts=True)
    some = await add(world, name="some", selected_events=["app_deployed", "app_crashed"])
    await add(world, name="one", selected_events=["app_deployed"])
    await add(world, name="nothing", active=False)
    await become(world, some, state=NotifierState.FAILING, state_reason="attempts keep failing (timeout); the next")
    await alice.open(LIST)
    check(alice, "en")
    rows = {row[0].findtext(".//a"): " ".join(" ".join(row.itertext()).split()) for row in alice.page.iter("tr")}
    assert "critical events" in rows["Default 'my-app' notifier"]
    assert rows["everything"].endswith("Webhook active all events, all alerts nothing yet")
    assert rows["some"].endswith("failing no answer in time 2 event types nothing yet")
    assert rows["one"].endswith("1 event type nothing yet")
    assert rows["nothing"].endswith("off only alerts whose rules name it nothing yet")
    assert f'<a class="button" href="{LIST}/new">' in alice.answer.text


async def test_the_list_tells_what_came_of_the_last_delivery(world: World, alice: Browser) -> None:
    notifier = await add(world, send_all_events=True)
    await add(world, name="another")
    await world.verbs.notifiers.edit(world.app, world.users["alice"], notifier.id, NotifierWish(active=False))
    await alice.open(LIST)
    check(alice, "en")
    assert "cancelled just now" in alice.text
    link = next(each.get("href", "") for each in alice.page.iter("a") if each.get("class") == "when")
    assert (await alice.open(link)).status_code == 200


async def test_a_long_list_comes_in_pages(world: World, alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "SHOWN", 3)
    names = [(await add(world, name=f"hook {number}")).name for number in range(6)]
    seen: list[str] = []
    await alice.open(LIST)
    while True:
        check(alice, "en")
        seen += [each.findtext(".//a", "") for each in alice.page.iter("th") if each.get("scope") == "row"]
        further = [each.get("href", "") for each in alice.page.iter("a") if each.get("rel") == "next"]
        if not further:
            break
        await alice.open(further[0])
    assert seen[1:] == names
    assert "The first ones" in alice.text
    await alice.open(f"{LIST}?after=zz")
    assert "The first ones" in alice.text


async def test_an_app_without_notifiers_invites_to_add_one(world: World, alice: Browser) -> None:
    [default] = await world.verbs.notifiers.list(world.app)
    await alice.open(f"{LIST}/{default.id}/remove")
    await alice.submit(f"{LIST}/{default.id}/remove")
    assert alice.path == f"{LIST}?done=removed"
    assert "nobody is told what happens to it" in alice.text
    assert f'<a class="button" href="{LIST}/new">' in alice.answer.text


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("platform", ["webhook", "slack", "email"])
async def test_every_page_of_a_notifier_is_whole(world: World, alice: Browser, platform: str, language: str) -> None:
    notifier = await add(world, platform)
    for path in ("", "/finish", "/edit", "/remove"):
        answer = await alice.open(f"{LIST}/{notifier.id}{path}", **{"accept-language": language})
        assert answer.status_code == 200
        check(alice, language)
        assert len(answer.content) < 60_000


@pytest.mark.parametrize("path", ["", "/finish", "/edit", "/remove"])
async def test_a_notifier_that_is_not_there_is_a_page_too(world: World, alice: Browser, path: str) -> None:
    assert (await alice.open(f"{LIST}/no-0{path}")).status_code == 404
    check(alice, "en")


@pytest.mark.parametrize(
    "path", ["/test", "/on", "/off", "/pause", "/resume", "/remove", "/edit", "/edit/check", "/secret"]
)
async def test_what_was_removed_meanwhile_cannot_be_changed(world: World, alice: Browser, path: str) -> None:
    notifier = await add(world)
    await alice.open(f"{LIST}/{notifier.id}")
    await world.verbs.notifiers.remove(world.app, world.users["alice"], notifier.id)
    answer = await alice.submit(f"{LIST}/{notifier.id}/off", to=f"{LIST}/{notifier.id}{path}", length="1", name="x")
    assert answer.status_code == 404
    check(alice, "en")


async def test_a_stranger_finds_nothing(world: World, browser: Browser) -> None:
    notifier = await add(world)
    await world.verbs.accounts.set_password(world.users["charlie"], PASSWORD)
    await browser.sign_in("charlie", PASSWORD)
    for path in (LIST, f"{LIST}/new", f"{LIST}/new/webhook", f"{LIST}/{notifier.id}", f"{LIST}/{notifier.id}/edit"):
        assert (await browser.open(path)).status_code == 404


async def test_who_may_only_look_sees_masked_settings_and_may_test(world: World, limited: Browser) -> None:
    notifier = await add(world)
    await limited.open(LIST)
    assert f"{LIST}/new" not in limited.answer.text
    await limited.open(f"{LIST}/{notifier.id}")
    check(limited, "en")
    assert "https://hooks.example.com/…" in limited.text
    assert "s3cret-path" not in limited.answer.text
    assert [form.action for form in limited.forms() if form.method == "post"] == [
        "/logout",
        f"{LIST}/{notifier.id}/test#test",
    ]
    assert f"{LIST}/{notifier.id}/edit" not in limited.answer.text
    await limited.submit(f"{LIST}/{notifier.id}/test#test")
    assert "It arrived." in limited.text
    token = limited.form("/logout").fields
    for path in ("/on", "/off", "/pause", "/resume", "/remove", "/edit", "/edit/search", "/edit/check", "/secret"):
        answer = await limited.client.post(f"{LIST}/{notifier.id}{path}", data=token)
        assert answer.status_code == 403, path
    for path in ("/secret/rotate", "/secret/revoke"):
        assert (await limited.client.post(f"{LIST}/{notifier.id}{path}", data=token)).status_code == 403
    for path in ("/finish", "/edit", "/remove"):
        assert (await limited.open(f"{LIST}/{notifier.id}{path}")).status_code == 403
    assert await stored(world, notifier) == notifier


async def test_a_state_is_explained_with_what_to_do(world: World, alice: Browser) -> None:
    notifier = await add(world)
    now = world.clock.now()
    reason = "attempts keep failing (unreachable); the next is made when held_until has passed"
    await become(
        world,
        notifier,
        state=NotifierState.FAILING,
        state_reason=reason,
        failing_since=now - timedelta(hours=3),
        held_until=now + timedelta(minutes=5),
    )
    await alice.open(f"{LIST}/{notifier.id}")
    check(alice, "en")
    assert "Look whether the address is right" in alice.text
    assert "Failing since" in alice.text
    assert "Next attempt:" in alice.text
    await alice.submit(f"{LIST}/{notifier.id}/resume")
    assert alice.path == f"{LIST}/{notifier.id}?done=resumed"
    assert (await stored(world, notifier)).state is NotifierState.ACTIVE
    reason = "nothing was delivered for 120 hours; at last: auth"
    await become(world, notifier, state=NotifierState.DISABLED, active=False, state_reason=reason)
    await alice.open(f"{LIST}/{notifier.id}")
    assert "Switched off by Tocsin" in alice.text
    assert "other credentials" in alice.text
    await alice.submit(f"{LIST}/{notifier.id}/on")
    assert (await stored(world, notifier)).active
    await become(world, notifier, state=NotifierState.HOLDING, state_reason="the receiver asked to wait")
    await alice.open(f"{LIST}/{notifier.id}", **{"accept-language": "fr"})
    assert "Motif : le destinataire a demandé d’attendre." in alice.text


async def test_switching_it_off_and_on(world: World, alice: Browser) -> None:
    notifier = await add(world)
    await alice.open(f"{LIST}/{notifier.id}")
    await alice.submit(f"{LIST}/{notifier.id}/off")
    assert "It is off" in alice.text
    assert (await stored(world, notifier)).state is NotifierState.OFF
    await alice.submit(f"{LIST}/{notifier.id}/on")
    assert "It is on" in alice.text
    assert (await stored(world, notifier)).state is NotifierState.ACTIVE


@pytest.mark.parametrize(("length", "hours"), [("1", 1), ("8", 8), ("24", 24), ("open", None)])
async def test_pausing_for_a_while(world: World, alice: Browser, length: str, hours: int | None) -> None:
    notifier = await add(world)
    await alice.open(f"{LIST}/{notifier.id}")
    await alice.submit(f"{LIST}/{notifier.id}/pause", length=length)
    assert "It is paused" in alice.text
    found = await stored(world, notifier)
    assert found.state is NotifierState.PAUSED
    expected = None if hours is None else world.clock.now() + timedelta(hours=hours)
    assert found.held_until == expected
    await alice.submit(f"{LIST}/{notifier.id}/resume")
    assert (await stored(world, notifier)).state is NotifierState.ACTIVE


async def test_pausing_until_a_time_in_the_readers_zone(world: World, alice: Browser) -> None:
    notifier = await add(world)
    page = f"{LIST}/{notifier.id}"
    for wrong, told in (("", "must be a date"), ("soon", "must be a date"), ("2001-01-01T00:00", "in the future")):
        await alice.open(page)
        answer = await alice.submit(f"{page}/pause", length="until", until=wrong)
        assert answer.status_code == 422
        check(alice, "en")
        assert told in alice.text
        fields = alice.form(f"{page}/pause").fields
        assert (fields["length"], fields["until"]) == ("until", wrong)
    later = (world.clock.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    await alice.submit(f"{page}/pause", length="until", until=f"{later:%Y-%m-%dT%H:%M}")
    assert (await stored(world, notifier)).held_until == later


async def test_one_that_is_off_is_not_paused(world: World, alice: Browser) -> None:
    notifier = await add(world)
    await alice.open(f"{LIST}/{notifier.id}")
    await become(world, notifier, active=False, state=NotifierState.OFF)
    answer = await alice.submit(f"{LIST}/{notifier.id}/pause", length="1")
    assert answer.status_code == 409
    assert "The notifier is off" in alice.text


async def test_removal_is_confirmed_and_tells_how_many_wait(world: World, alice: Browser) -> None:
    notifier = await add(world, send_all_events=True)
    await add(world, name="another")
    await alice.open(f"{LIST}/{notifier.id}/remove")
    assert "2 deliveries wait for it and will be cancelled." in alice.text  # that it and the other were added
    assert (await stored(world, notifier)) == notifier
    await alice.submit(f"{LIST}/{notifier.id}/remove")
    assert "The notifier is gone" in alice.text
    assert notifier.id not in {each.id for each in await world.verbs.notifiers.list(world.app)}


async def test_the_preview_is_of_the_event_that_is_asked_for(world: World, alice: Browser) -> None:
    slack = await add(world, "slack", selected_events=["app_crashed"])
    await alice.open(f"{LIST}/{slack.id}")
    assert "web of my-app crashed" in alice.text
    await alice.open(f"{LIST}/{slack.id}?event=deployment")
    assert "my-app was deployed" in alice.text or "deployed" in alice.page.findtext(".//p[@class='look-title']", "")
    await alice.open(f"{LIST}/{slack.id}?event=nothing")
    assert alice.answer.status_code == 200
    assert "s3cret-path" not in " ".join(each.text or "" for each in alice.page.iter("code"))
    mail = await add(world, "email")
    await alice.open(f"{LIST}/{mail.id}")
    assert "ops@example.com" in alice.page.findtext(".//div[@class='look']//dd", "")
    hook = await add(world)
    await alice.open(f"{LIST}/{hook.id}?event=restart")
    assert '"type": "restart"' in alice.text
    assert "webhook-signature: v1,…" in alice.text


async def test_a_test_shows_how_it_went(world: World, alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier = await add(world, active=False)
    here = f"{LIST}/{notifier.id}"
    await alice.open(f"{here}/finish")
    await alice.submit(f"{here}/test#test")
    assert "It arrived. The answer was 200. It took 12 ms." in alice.text
    assert "Add a notifier" in alice.text
    for reason in Reason:
        attempt = Attempt(
            number=1,
            started_at=world.clock.now(),
            outcome=AttemptOutcome.FAILED,
            reason=reason,
            response_status=500,
            response_body=PAYLOADS[0],
            error=PAYLOADS[1],
        )

        async def probe(*_: object, attempt: Attempt = attempt) -> Attempt:
            return attempt

        monkeypatch.setattr(world.verbs.notifiers, "_probe", probe)
        await alice.open(here)
        await alice.submit(f"{here}/test#test")
        check(alice, "en")
        assert "It did not arrive." in alice.text
        assert " ".join(PAYLOADS[0].split()) in alice.text
        assert " ".join(PAYLOADS[1].split()) in alice.text


async def test_the_secret_is_shown_when_asked_for_and_replaced(world: World, alice: Browser) -> None:
    notifier = await add(world)
    here = f"{LIST}/{notifier.id}"
    await alice.open(here)
    assert notifier.secret not in alice.answer.text
    await alice.submit(f"{here}/secret#signing")
    assert notifier.secret in alice.answer.text
    assert alice.answer.headers["cache-control"] == "no-store"
    await alice.submit(f"{here}/secret/rotate#signing")
    assert alice.answer.status_code == 200
    rotated = await stored(world, notifier)
    assert rotated.secret != notifier.secret == rotated.previous_secret
    assert rotated.secret in alice.answer.text
    assert notifier.secret not in alice.answer.text
    assert "Messages are signed with both until" in alice.text
    await alice.submit(f"{here}/secret/revoke")
    assert (await stored(world, notifier)).previous_secret is None
    assert "the present secret alone" in alice.text
    await alice.submit(f"{here}/secret/rotate#signing", algorithm="ed25519", revoke_now="yes")
    found = await stored(world, notifier)
    assert (found.secret[:5], found.previous_secret) == ("whsk_", None)
    assert found.secret not in alice.answer.text
    assert "whpk_" in alice.text
    assert "Ed25519PublicKey" in alice.text
    notes = [str(entry.action) for entry in await world.verbs.audit.list_newest(limit=50, app="my-app")]
    assert (notes.count("secret.read"), notes.count("secret.rotated"), notes.count("secret.revoked")) == (1, 2, 1)


async def test_a_platform_that_does_not_sign_has_no_secret(world: World, alice: Browser) -> None:
    notifier = await add(world, "slack")
    await alice.open(f"{LIST}/{notifier.id}")
    assert "/secret" not in alice.answer.text
    for path in ("/secret", "/secret/rotate", "/secret/revoke"):
        answer = await alice.submit(f"{LIST}/{notifier.id}/off", to=f"{LIST}/{notifier.id}{path}")
        assert answer.status_code == 404
        await alice.open(f"{LIST}/{notifier.id}")


@pytest.mark.parametrize("algorithm", Algorithm)
async def test_receivers_are_shown_in_five_languages(world: World, alice: Browser, algorithm: Algorithm) -> None:
    notifier = await add(world)
    await world.verbs.notifiers.rotate_secret(world.app, notifier.id, algorithm=algorithm)
    await alice.open(f"{LIST}/{notifier.id}/finish")
    shown = [each.findtext("summary") for each in alice.page.iter("details") if each.get("name") == "snippet"]
    assert shown == ["Python", "JavaScript", "Go", "Ruby", "PHP"]
    assert ("whpk_" in alice.text) is (algorithm is Algorithm.ED25519)


async def test_logos_are_pictures_of_ours(alice: Browser) -> None:
    await alice.open(f"{LIST}/new")
    sources = [each.get("src", "") for each in alice.page.iter("img") if each.get("class") == "logo"]
    assert len(sources) >= 4
    for source in sources:
        answer = await alice.client.get(source)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert (await alice.client.get("/assets/platforms/nothing.svg")).status_code == 404
