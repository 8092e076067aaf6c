"""Notifiers as their verbs make them: rules, states, events, races."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from tests.verbs.conftest import EMAIL_ID, URL, WEBHOOK_ID, World
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState, NotifierState, Reason
from tocsin.notifier_rules import NotifierWish
from tocsin.store import notifiers as notifier_verbs


async def test_a_new_notifier_is_active_and_selects_nothing(world: World):
    notifier = await world.add_webhook()
    assert (notifier.active, notifier.state) == (True, NotifierState.ACTIVE)
    assert (notifier.send_all_events, notifier.send_all_alerts, notifier.selected_event_ids) == (False, False, ())
    assert notifier.type_data == {"webhook_url": URL}
    assert notifier.secret.startswith("whsec_")
    assert await world.notifiers.get(world.app, notifier.id) == notifier


async def test_a_notifier_that_starts_inactive_is_off(world: World):
    notifier = await world.add_webhook(active=False)
    assert (notifier.active, notifier.state) == (False, NotifierState.OFF)


@pytest.mark.parametrize(
    ("wishes", "field"),
    [
        ({"platform_id": None}, "platform_id"),
        ({"platform_id": ""}, "platform_id"),
        ({"platform_id": "0" * 24}, "platform_id"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"type_data": None}, "type_data.webhook_url"),
        ({"type_data": {"webhook_url": "http://example.com"}}, "type_data.webhook_url"),
        ({"selected_event_ids": ["0" * 24]}, "selected_event_ids"),
        ({"selected_events": ["deployment"]}, "selected_events"),
        ({"rate_per_second": 0.001}, "rate_per_second"),
        ({"rate_per_second": -1}, "rate_per_second"),
        ({"rate_per_second": 1001}, "rate_per_second"),
        ({"retry_schedule": [0, -1]}, "retry_schedule"),
        ({"retry_schedule": [0, 86_401]}, "retry_schedule"),
        ({"retry_schedule": [0] * 21}, "retry_schedule"),
        ({"expires_after": 59}, "expires_after"),
        ({"expires_after": 604_801}, "expires_after"),
    ],
)
async def test_a_wrong_field_is_named(world: World, wishes, field):
    with pytest.raises(InvalidInput) as refused:
        await world.add_webhook(**wishes)
    assert list(refused.value.fields) == [field]
    assert len(await world.notifiers.list(world.app)) == 1
    wish = {"platform_id": WEBHOOK_ID, "name": "Hook", "type_data": {"webhook_url": URL}} | wishes
    with pytest.raises(InvalidInput) as found:
        await world.notifiers.check(world.app, NotifierWish(**wish))
    assert found.value.fields == refused.value.fields


async def test_a_wish_that_is_checked_is_not_stored(world: World):
    wish = NotifierWish(platform_id=WEBHOOK_ID, name="Hook", type_data={"webhook_url": URL}, active=False)
    checked = await world.notifiers.check(world.app, wish)
    assert (checked.name, checked.state, checked.type_data) == ("Hook", NotifierState.OFF, {"webhook_url": URL})
    changed = await world.notifiers.check(world.app, NotifierWish(name="Other"), world.default.id)
    assert (changed.id, changed.name) == (world.default.id, "Other")
    [only] = await world.notifiers.list(world.app)
    assert (only.id, only.name) == (world.default.id, world.default.name)
    strangers = NotifierWish(type_data={"user_ids": [world.charlie.id]})
    for wrong in (strangers, msgspec.structs.replace(strangers, platform_id=EMAIL_ID, name="Mail")):
        with pytest.raises(InvalidInput) as refused:
            await world.notifiers.check(world.app, wrong, None if wrong.name else world.default.id)
        assert list(refused.value.fields) == ["type_data.user_ids"]
    with pytest.raises(NotFound):
        await world.notifiers.check(world.other_app, NotifierWish(name="Other"), world.default.id)


async def test_all_wrong_fields_are_named_at_once(world: World):
    with pytest.raises(InvalidInput) as refused:
        await world.add_webhook(name="", selected_events=["nothing"], type_data={"webhook_url": "x"})
    assert set(refused.value.fields) == {"name", "selected_events", "type_data.webhook_url"}


async def test_event_types_are_selected_by_id_or_else_by_name(world: World):
    deployed = world.catalogue.event_type_by_name("app_deployed")
    crashed = world.catalogue.event_type_by_name("app_crashed")
    assert deployed
    assert crashed
    by_name = await world.add_webhook(selected_events=["app_deployed", "app_deployed"])
    both = await world.add_webhook(selected_event_ids=[crashed.id], selected_events=["app_deployed"])
    assert by_name.selected_event_ids == (deployed.id,)
    assert both.selected_event_ids == (crashed.id,)


async def test_members_of_an_email_notifier_must_belong_to_the_app(world: World):
    wish = {"platform_id": EMAIL_ID, "name": "Mail"}
    allowed = NotifierWish(**wish, type_data={"user_ids": [world.alice.id, world.bob.id]})
    added = await world.notifiers.add(world.app, world.alice, allowed)
    strange = {"user_ids": [world.bob.id, world.charlie.id]}
    with pytest.raises(InvalidInput) as refused:
        await world.notifiers.add(world.app, world.alice, NotifierWish(**wish, type_data=strange))
    assert list(refused.value.fields) == ["type_data.user_ids"]
    with pytest.raises(InvalidInput):
        await world.notifiers.edit(world.app, world.alice, added.id, NotifierWish(type_data=strange))


async def test_an_edit_keeps_what_is_not_given(world: World):
    notifier = await world.add_webhook(selected_events=["app_deployed"], send_all_alerts=True)
    world.clock.advance(5)
    go_update = NotifierWish(platform_id="", type="", name="", type_data={})
    edited = await world.notifiers.edit(world.app, world.alice, notifier.id, go_update)
    assert edited == msgspec.structs.replace(notifier, updated_at=world.clock.now())


async def test_an_edit_replaces_what_is_given(world: World):
    notifier = await world.add_webhook(selected_events=["app_deployed"])
    new_url = "https://example.org/other"
    wish = NotifierWish(name="Other", selected_event_ids=[], send_all_events=True, type_data={"webhook_url": new_url})
    edited = await world.notifiers.edit(world.app, world.bob, notifier.id, wish)
    assert (edited.name, edited.selected_event_ids, edited.send_all_events) == ("Other", (), True)
    assert edited.type_data == {"webhook_url": new_url}
    assert edited == await world.notifiers.get(world.app, notifier.id)


async def test_type_data_is_replaced_whole(world: World):
    wish = NotifierWish(platform_id=EMAIL_ID, name="Mail", type_data={"emails": ["a@b.fr"], "user_ids": [world.bob.id]})
    notifier = await world.notifiers.add(world.app, world.alice, wish)
    wish = NotifierWish(type_data={"emails": ["c@d.fr"]})
    edited = await world.notifiers.edit(world.app, world.alice, notifier.id, wish)
    assert edited.type_data == {"emails": ["c@d.fr"]}


async def test_the_platform_of_a_notifier_cannot_change(world: World):
    notifier = await world.add_webhook()
    same = NotifierWish(platform_id=WEBHOOK_ID, type="webhook", name="Same")
    assert (await world.notifiers.edit(world.app, world.alice, notifier.id, same)).name == "Same"
    other = NotifierWish(platform_id=EMAIL_ID, type="email")
    with pytest.raises(InvalidInput) as refused:
        await world.notifiers.edit(world.app, world.alice, notifier.id, other)
    assert set(refused.value.fields) == {"platform_id", "type"}


async def test_events_tell_of_notifiers_with_secrets_masked(world: World):
    notifier = await world.add_webhook(selected_events=["app_deployed"])
    await world.notifiers.edit(world.app, world.bob, notifier.id, NotifierWish(name="Renamed"))
    await world.notifiers.remove(world.app, world.alice, notifier.id)
    removed, edited, added = await world.events()
    assert [event["type"] for event in (added, edited, removed)] == ["new_notifier", "edit_notifier", "delete_notifier"]
    assert edited["user"]["username"] == "bob"
    assert edited["type_data"] == {
        "notifier_id": notifier.id,
        "notifier_name": "Renamed",
        "active": True,
        "send_all_alerts": False,
        "send_all_events": False,
        "selected_events": ["app_deployed"],
        "notifier_type": "webhook",
        "notifier_type_data": {"webhook_url": "https://hooks.example.com/…"},
        "platform_name": "webhook",
    }


async def test_a_removed_notifier_is_gone_and_what_waited_is_cancelled(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    await world.deploy()
    await world.notifiers.remove(world.app, world.alice, notifier.id)
    with pytest.raises(NotFound):
        await world.notifiers.get(world.app, notifier.id)
    with pytest.raises(NotFound):
        await world.notifiers.remove(world.app, world.alice, notifier.id)
    left = await world.deliveries(notifier_id=notifier.id)
    assert {delivery.reason for delivery in left} == {DeliveryReason.NOTIFIER_REMOVED}


async def test_a_notifier_of_another_app_does_not_exist(world: World):
    notifier = await world.add_webhook()
    for attempt in (
        world.notifiers.get(world.other_app, notifier.id),
        world.notifiers.edit(world.other_app, world.charlie, notifier.id, NotifierWish(active=False)),
        world.notifiers.remove(world.other_app, world.charlie, notifier.id),
        world.notifiers.pause(world.other_app, notifier.id),
        world.notifiers.resume(world.other_app, notifier.id),
        world.notifiers.secrets(world.other_app, notifier.id),
        world.notifiers.rotate_secret(world.other_app, notifier.id),
        world.notifiers.revoke_previous_secret(world.other_app, notifier.id),
        world.notifiers.test(world.other_app, world.charlie, notifier.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_switching_a_notifier_off_cancels_what_waits(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    off = await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=False))
    assert (off.active, off.state) == (False, NotifierState.OFF)
    [delivery] = await world.deliveries(notifier_id=notifier.id, event_id=event_id)
    assert (delivery.state, delivery.reason) == (DeliveryState.CANCELLED, DeliveryReason.NOTIFIER_OFF)
    on = await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=True))
    assert (on.active, on.state) == (True, NotifierState.ACTIVE)


async def test_setting_active_enables_a_notifier_that_the_system_disabled(world: World):
    notifier = await world.add_webhook()
    disabled = msgspec.structs.replace(
        notifier, active=False, state=NotifierState.DISABLED, state_reason="gone", held_until=world.clock.now()
    )
    await world.store.write(notifier_verbs.edit_notifier, disabled)
    kept = await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(name="Kept"))
    assert (kept.active, kept.state, kept.state_reason) == (False, NotifierState.DISABLED, "gone")
    enabled = await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=True))
    assert (enabled.active, enabled.state, enabled.state_reason, enabled.held_until) == (
        True,
        NotifierState.ACTIVE,
        None,
        None,
    )


async def test_deliveries_of_a_paused_notifier_are_held_until_it_resumes(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    paused = await world.notifiers.pause(world.app, notifier.id)
    assert (paused.state, paused.active, paused.held_until) == (NotifierState.PAUSED, True, None)
    event_id = await world.deploy()
    [held] = await world.deliveries(event_id=event_id)
    assert (held.state, held.reason) == (DeliveryState.PENDING, DeliveryReason.HELD)
    assert (await world.store.claim({notifier.id: 9})).claims == ()
    resumed = await world.notifiers.resume(world.app, notifier.id)
    assert (resumed.state, resumed.state_reason) == (NotifierState.ACTIVE, None)
    assert event_id in {claim.event_id for claim in (await world.store.claim({notifier.id: 9})).claims}


async def test_editing_a_paused_notifier_does_not_resume_it(world: World):
    notifier = await world.add_webhook()
    await world.notifiers.pause(world.app, notifier.id)
    edited = await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(active=True, name="Still"))
    assert edited.state is NotifierState.PAUSED


async def test_resuming_a_notifier_that_is_not_paused_changes_nothing(world: World):
    notifier = await world.add_webhook(active=False)
    assert await world.notifiers.resume(world.app, notifier.id) == notifier


async def test_a_notifier_that_is_off_cannot_be_paused(world: World):
    notifier = await world.add_webhook(active=False)
    with pytest.raises(Conflict, match="is off"):
        await world.notifiers.pause(world.app, notifier.id)


async def test_a_pause_must_end_in_the_future(world: World):
    notifier = await world.add_webhook()
    with pytest.raises(InvalidInput) as refused:
        await world.notifiers.pause(world.app, notifier.id, until=world.clock.now())
    assert list(refused.value.fields) == ["until"]


async def test_a_pause_ends_at_its_time(world: World):
    first, second = await world.add_webhook(), await world.add_webhook()
    until = world.clock.now() + timedelta(hours=1)
    assert (await world.notifiers.pause(world.app, first.id, until=until)).held_until == until
    await world.notifiers.pause(world.app, second.id)
    await world.notifiers.resume_due()
    assert (await world.notifiers.get(world.app, first.id)).state is NotifierState.PAUSED
    world.clock.advance(3600)
    await world.notifiers.resume_due()
    resumed = await world.notifiers.get(world.app, first.id)
    assert (resumed.state, resumed.held_until) == (NotifierState.ACTIVE, None)
    assert (await world.notifiers.get(world.app, second.id)).state is NotifierState.PAUSED


async def test_a_platform_that_is_not_set_up_is_told(world: World):
    notifier = await world.notifiers.get(world.app, world.default.id)
    assert notifier.state is NotifierState.ACTIVE
    assert notifier.state_reason == "waiting for set-up: TOCSIN_SMTP_URL is not set"
    paused = await world.notifiers.pause(world.app, notifier.id)
    assert paused.state_reason == "paused by its owner"


async def test_the_default_notifier_sends_critical_events_to_the_owner(world: World):
    assert world.default.name == "Default 'my-app' notifier"
    assert world.default.type_data == {"user_ids": [world.alice.id], "emails": []}
    names = {world.catalogue.event_type_by_id(each).name for each in world.default.selected_event_ids}  # type: ignore[union-attr]
    assert {"app_crashed", "app_stopped", "app_alert_triggered"} <= names
    assert len(names) == 7


async def test_a_secret_can_be_rotated(world: World):
    notifier = await world.add_webhook()
    assert (await world.notifiers.secrets(world.app, notifier.id)).secret == notifier.secret
    rotated = await world.notifiers.rotate_secret(world.app, notifier.id)
    assert rotated.secret.startswith("whsec_")
    assert rotated.secret != notifier.secret
    assert rotated.previous_secret == notifier.secret
    assert await world.notifiers.secrets(world.app, notifier.id) == rotated


async def test_secrets_rotated_at_the_same_moment_leave_the_last_two(world: World):
    notifier = await world.add_webhook()
    both = await asyncio.gather(*(world.notifiers.rotate_secret(world.app, notifier.id) for _ in range(2)))
    found = await world.notifiers.secrets(world.app, notifier.id)
    assert {found.secret, found.previous_secret} == {each.secret for each in both}
    assert notifier.secret in {each.previous_secret for each in both}


async def test_a_platform_that_does_not_sign_has_no_secret(world: World):
    with pytest.raises(NotFound) as missing:
        await world.notifiers.secrets(world.app, world.default.id)
    assert missing.value.resource == "secret"
    with pytest.raises(NotFound):
        await world.notifiers.rotate_secret(world.app, world.default.id)
    with pytest.raises(NotFound):
        await world.notifiers.revoke_previous_secret(world.app, world.default.id)


async def test_a_test_sends_a_made_up_event_once_and_keeps_nothing(world: World):
    notifier = await world.add_webhook(active=False)
    before = await world.events()
    delivery, attempt = await world.notifiers.test(world.app, world.bob, notifier.id)
    assert (delivery.state, delivery.reason, delivery.attempt_count) == (DeliveryState.DELIVERED, None, 1)
    assert attempt.outcome is AttemptOutcome.DELIVERED
    [(sent_to, event)] = world.probe.sent
    assert sent_to == notifier
    assert (event["id"], event["type"], event["user"]["username"]) == (delivery.event_id, "deployment", "bob")
    assert (event["app_id"], event["app_name"]) == (world.app.id, "my-app")
    assert await world.events() == before
    assert await world.deliveries(notifier_id=notifier.id) == []


@pytest.mark.parametrize(
    ("outcome", "reason", "told"),
    [
        (AttemptOutcome.FAILED, Reason.GONE, DeliveryReason.GONE),
        (AttemptOutcome.FAILED, Reason.MISCONFIGURED, DeliveryReason.MISCONFIGURED),
        (AttemptOutcome.FAILED, Reason.EGRESS_BLOCKED, DeliveryReason.EGRESS_BLOCKED),
        (AttemptOutcome.FAILED, Reason.AUTH, DeliveryReason.REJECTED),
        (AttemptOutcome.FAILED, Reason.TIMEOUT, DeliveryReason.EXHAUSTED),
        (AttemptOutcome.RETRY, Reason.SERVER_ERROR, DeliveryReason.EXHAUSTED),
    ],
)
async def test_a_test_that_fails_says_why(world: World, outcome, reason, told):
    notifier = await world.add_webhook()
    world.probe.outcome, world.probe.reason = outcome, reason
    delivery, _ = await world.notifiers.test(world.app, world.alice, notifier.id)
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, told)


async def test_a_test_of_a_platform_that_is_not_set_up_fails_without_an_attempt(world: World):
    delivery, attempt = await world.notifiers.test(world.app, world.alice, world.default.id)
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, DeliveryReason.MISCONFIGURED)
    assert attempt.error == "TOCSIN_SMTP_URL is not set"
    assert world.probe.sent == []


async def test_edits_at_the_same_moment_are_all_kept(world: World):
    notifier = await world.add_webhook()
    wishes = (
        NotifierWish(name="Renamed"),
        NotifierWish(send_all_events=True),
        NotifierWish(selected_events=["app_deployed"]),
        NotifierWish(send_all_alerts=True),
    )
    await asyncio.gather(*(world.notifiers.edit(world.app, world.alice, notifier.id, wish) for wish in wishes))
    edited = await world.notifiers.get(world.app, notifier.id)
    assert (edited.name, edited.send_all_events, edited.send_all_alerts) == ("Renamed", True, True)
    assert len(edited.selected_event_ids) == 1
    assert [event["type"] for event in await world.events()].count("edit_notifier") == 4


async def test_a_notifier_removed_twice_at_once_is_told_of_once(world: World):
    notifier = await world.add_webhook()
    both = [world.notifiers.remove(world.app, world.alice, notifier.id) for _ in range(2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "NotFound"]
    assert [event["type"] for event in await world.events()].count("delete_notifier") == 1


async def test_rate_schedule_and_lifetime_are_kept_changed_and_given_back_to_the_platform(world: World):
    added = await world.add_webhook(rate_per_second=2.5, retry_schedule=[0, 60], expires_after=3600)
    assert (added.rate_per_second, added.retry_schedule, added.expires_after) == (2.5, (0, 60), 3600)
    kept = await world.notifiers.edit(world.app, world.alice, added.id, NotifierWish(name="Other"))
    assert (kept.rate_per_second, kept.retry_schedule, kept.expires_after) == (2.5, (0, 60), 3600)
    own = NotifierWish(rate_per_second=0, retry_schedule=[], expires_after=0)
    given_back = await world.notifiers.edit(world.app, world.alice, added.id, own)
    assert (given_back.rate_per_second, given_back.retry_schedule, given_back.expires_after) == (None, None, None)
    assert await world.notifiers.get(world.app, added.id) == given_back
