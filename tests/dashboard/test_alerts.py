"""Alert rules on pages: listed, added, edited, switched off, removed."""

from urllib.parse import urlencode

import pytest

from tests.api.conftest import World
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.line import PLATFORM_IDS
from tocsin.alerts import AlertWish
from tocsin.model import Alert, Notifier
from tocsin.notifier_rules import NotifierWish

ALERTS = "/apps/my-app/alerts"
GOOD = {
    "container_type": "web",
    "metric": "cpu",
    "side": "above",
    "limit": "80",
    "duration_before_trigger": "5m",
    "remind_every": "1h",
}


async def hook(world: World, name: str = "hook") -> Notifier:
    settings = {"webhook_url": "https://example.com/"}
    wish = NotifierWish(platform_id=PLATFORM_IDS["webhook"], name=name, type_data=settings)
    return await world.verbs.notifiers.add(world.app, world.users["alice"], wish)


async def rule(world: World, **wish: object) -> Alert:
    given = {"container_type": "web", "metric": "cpu", "limit": 0.8} | wish
    return await world.verbs.alerts.add(world.app, world.users["alice"], AlertWish(**given))  # type: ignore[arg-type]


async def test_a_rule_is_added_and_listed_in_words(world: World, alice: Browser) -> None:
    notifier = await hook(world)
    await alice.open(f"{ALERTS}/new")
    await alice.submit(f"{ALERTS}/new", **GOOD, notifiers=notifier.id)
    assert "The rule was added." in alice.text
    assert "above 80 %" in alice.text
    assert "hook" in alice.text
    [alert] = await world.verbs.alerts.list(world.app)
    assert (alert.limit, alert.metric, alert.notifiers) == (0.8, "cpu", (notifier.id,))
    assert (alert.duration_before_trigger, alert.remind_every) == (300 * 10**9, 3600 * 10**9)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("limit", "much", "must be a number"),
        ("limit", "inf", "must be a finite number"),
        ("container_type", " ", "printable characters"),
        ("metric", "mood", "must be one of"),
        ("duration_before_trigger", "soon", "is not a duration"),
        ("remind_every", "-1h", "remind_every"),
        ("notifiers", "no-such", "has no notifier of this app"),
    ],
)
async def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(
    alice: Browser, field: str, value: str, told: str
) -> None:
    await alice.open(f"{ALERTS}/new")
    await alice.submit(f"{ALERTS}/new", **(GOOD | {field: value}))
    assert alice.answer.status_code == 422
    assert told in alice.text
    fields = alice.form(f"{ALERTS}/new").fields
    kept = {name: text for name, text in (GOOD | {field: value}).items() if name not in {"notifiers", "metric"}}
    assert {name: fields[name].strip() for name in kept} == {name: text.strip() for name, text in kept.items()}


async def test_a_rule_is_edited_from_what_it_is(world: World, alice: Browser) -> None:
    notifier = await hook(world)
    alert = await rule(world, metric="p95_response_time", limit=250.5, send_when_below=True, notifiers=[notifier.id])
    await alice.open(f"{ALERTS}/{alert.id}/edit")
    fields = alice.form(f"{ALERTS}/{alert.id}/edit").fields
    assert (fields["limit"], fields["side"], fields["notifiers"]) == ("250.5", "below", notifier.id)
    await alice.submit(f"{ALERTS}/{alert.id}/edit", limit="300")
    assert "The rule was changed." in alice.text
    changed = await world.verbs.alerts.get(world.app, alert.id)
    assert (changed.limit, changed.send_when_below, changed.notifiers) == (300, True, (notifier.id,))


async def test_a_rule_is_edited_without_a_change_and_stays_what_it_was(world: World, alice: Browser) -> None:
    alert = await rule(world, limit=0.07)
    await alice.open(f"{ALERTS}/{alert.id}/edit")
    await alice.submit(f"{ALERTS}/{alert.id}/edit")
    assert (await world.verbs.alerts.get(world.app, alert.id)).limit == pytest.approx(0.07, rel=1e-12)


async def test_a_rule_is_switched_off_and_on(world: World, alice: Browser) -> None:
    alert = await rule(world)
    for told, is_off in (("switched off", True), ("switched on", False)):
        await alice.open(ALERTS)
        await alice.submit(f"{ALERTS}/{alert.id}/switch")
        assert told in alice.text
        assert (await world.verbs.alerts.get(world.app, alert.id)).disabled is is_off


async def test_a_rule_is_removed_after_a_question(world: World, alice: Browser) -> None:
    alert = await rule(world)
    await alice.open(f"{ALERTS}/{alert.id}/remove")
    assert "Remove this rule?" in alice.text
    assert await world.verbs.alerts.list(world.app) == [alert]
    await alice.submit(f"{ALERTS}/{alert.id}/remove")
    assert "The rule was removed." in alice.text
    assert await world.verbs.alerts.list(world.app) == []
    for what in ("edit", "remove"):
        assert (await alice.open(f"{ALERTS}/{alert.id}/{what}")).status_code == 404


async def test_a_limited_collaborator_sees_the_rules_and_changes_none(world: World) -> None:
    alert = await rule(world)
    charlie = world.users["charlie"]
    await world.verbs.apps.add_collaborator(world.users["alice"], world.app, charlie.email, is_limited=True)
    await world.verbs.accounts.set_password(charlie, PASSWORD)
    async with open_browser(world.api) as browser:
        await browser.sign_in("charlie", PASSWORD)
        await browser.open(ALERTS)
        assert "above 80 %" in browser.text
        assert f"{ALERTS}/new" not in browser.answer.text
        assert f"{ALERTS}/{alert.id}" not in browser.answer.text
        assert (await browser.open(f"{ALERTS}/new")).status_code == 403
        token = {"form_token": browser.form("/logout").fields["form_token"], "to": "off"}
        for what in ("switch", "remove", "edit"):
            answer = await browser.client.post(f"{ALERTS}/{alert.id}/{what}", data=token)
            assert answer.status_code == 403
    assert await world.verbs.alerts.list(world.app) == [alert]


async def test_names_are_text(world: World, alice: Browser) -> None:
    names = [payload for payload in PAYLOADS if payload.isprintable()]
    for name in names:
        await rule(world, container_type=name)
    await alice.open(ALERTS)
    assert all(" ".join(name.split()) in alice.text for name in names)
    await alice.open(f"{ALERTS}?{urlencode({'done': PAYLOADS[0]})}")
    assert alice.answer.status_code == 200
