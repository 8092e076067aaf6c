"""Why an event was sent to a notifier, or was not: the steps, what came of it, and what would be sent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.verbs.conftest import EMAIL_ID, World
from tocsin.alerts import AlertWish
from tocsin.errors import InvalidInput, NotFound
from tocsin.explain import Details, Explained, Explanation
from tocsin.explanation import StepName
from tocsin.ingest import Draft
from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState, Notifier, NotifierState
from tocsin.notifier_rules import NotifierWish
from tocsin.platforms.signing import Algorithm
from tocsin.platforms.webhook import WebhookPlatform
from tocsin.routing import Way
from tocsin.store import notifiers as notifier_verbs
from tocsin.store import schema
from tocsin.store.events import add_event

GONE = {"outcome": AttemptOutcome.FAILED, "state": DeliveryState.FAILED, "reason": DeliveryReason.GONE}
DONE = {"outcome": AttemptOutcome.DELIVERED, "state": DeliveryState.DELIVERED}
SLACK_ID = "5982f145d48c3600273ef089"
PAGE = {"limit": 20, "offset": 0}


def draft(event_type: str = "deployment", type_data: bytes = b'{"status":"success"}') -> Draft:
    return Draft(type=event_type, type_data=msgspec.Raw(type_data))


async def report(world: World, event_type: str, **type_data: Any) -> str:
    accepted = await world.ingest.accept(world.app, world.alice, [draft(event_type, msgspec.json.encode(type_data))])
    event_id: str = msgspec.json.decode(accepted.bodies[0])["id"]
    return event_id


async def ask(world: World, event_id: str, notifier: Notifier) -> Explained:
    [explained] = (await world.explain.stored(world.app, event_id, notifier.id, **PAGE)).notifiers
    return explained


async def ask_draft(world: World, one: Draft, notifier: Notifier) -> Explained:
    [explained] = (await world.explain.draft(world.app, world.alice, one, notifier.id, **PAGE)).notifiers
    return explained


def passed(explained: Explained) -> dict[str, bool]:
    return {step.step.value: step.passed for step in explained.steps}


def detail(explained: Explained, name: StepName) -> str:
    [found] = [step.detail for step in explained.steps if step.step is name]
    return found


def details(explained: Explained) -> Details:
    assert explained.details is not None
    return explained.details


def headers(explained: Explained) -> Mapping[str, str]:
    request = details(explained).preview.request
    assert request is not None
    return request.headers


async def change(world: World, notifier: Notifier, **changes: Any) -> Notifier:
    changed = msgspec.structs.replace(notifier, **changes)
    await world.store.write(notifier_verbs.edit_notifier, changed)
    return changed


@pytest.mark.parametrize(
    ("wishes", "event_type", "leads"),
    [
        ({"selected_events": ["app_deployed"]}, "deployment", {"selected_event_ids"}),
        ({"selected_events": ["app_restarted"]}, "deployment", set()),
        ({"send_all_events": True}, "deployment", {"send_all_events"}),
        ({"send_all_events": True}, "of_our_own", {"send_all_events"}),
        ({"send_all_alerts": True}, "deployment", set()),
        ({"send_all_alerts": True}, "alert", {"send_all_alerts"}),
        ({}, "of_our_own", set()),
    ],
)
async def test_the_steps_come_to_what_routing_does(world: World, wishes, event_type, leads):
    notifier = await world.add_webhook(**wishes)
    event_id = await report(world, event_type)
    explained = await ask(world, event_id, notifier)
    assert list(passed(explained)) == [name.value for name in StepName]
    expected = dict.fromkeys(map(str, StepName), True) | {way.value: way.value in leads for way in Way}
    assert passed(explained) == expected | {"event_type": event_type != "of_our_own"}
    routed = {each.notifier_id for each in await world.deliveries(event_id=event_id)}
    assert explained.is_wanted == bool(leads) == (notifier.id in routed)
    assert (await ask_draft(world, draft(event_type), notifier)).is_wanted == explained.is_wanted
    assert explained.note is None


async def test_the_first_step_tells_whether_the_notifier_was_there(world: World):
    earlier = await world.deploy()
    world.clock.advance(60)
    notifier = await world.add_webhook(send_all_events=True)
    before = await ask(world, earlier, notifier)
    assert (passed(before)["exists"], before.is_wanted, before.delivery) == (False, False, None)
    assert before.summary.startswith("not sent: it was added at")
    event_id = await world.deploy()
    world.clock.advance(60)
    await world.notifiers.remove(world.app, world.alice, notifier.id)
    removed = await ask(world, event_id, notifier)
    assert passed(removed)["exists"]
    assert removed.summary.startswith("cancelled (notifier_removed)")
    assert removed.note is not None
    later = await ask(world, await world.deploy(), notifier)
    assert "was removed at" in later.summary
    assert not passed(await ask_draft(world, draft(), notifier))["exists"]


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        ({"active": False, "state": NotifierState.OFF}, "active", ["switched off"]),
        (
            {"active": False, "state": NotifierState.DISABLED, "state_reason": "five days of 500"},
            "state",
            ["it is disabled: five days of 500"],
        ),
        ({"state": NotifierState.PAUSED, "state_reason": "by its owner"}, "state", ["it is paused: by its owner"]),
        ({"state": NotifierState.HOLDING}, "state", ["it is holding", "until 20"]),
        ({"state": NotifierState.FAILING}, "state", ["it is failing", "until 20"]),
    ],
)
async def test_a_notifier_that_is_not_at_work_says_why_and_until_when(world: World, changes, step, words):
    notifier = await world.add_webhook(send_all_events=True)
    until = world.clock.now() + timedelta(minutes=5) if "until 20" in words else None
    await change(world, notifier, held_until=until, **changes)
    explained = await ask_draft(world, draft(), notifier)
    assert not passed(explained)[step]
    assert explained.is_wanted is (step == "state")
    for word in words:
        assert word in detail(explained, StepName(step))
        assert word in explained.summary
    planned = details(explained).schedule
    assert [each.due_at for each in planned[:1]] == ([until or world.clock.now()] if explained.is_wanted else [])


async def test_a_change_after_the_event_is_told_and_the_delivery_is_the_fact(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    assert (await ask(world, event_id, notifier)).note is None
    world.clock.advance(60)
    await world.notifiers.edit(world.app, world.alice, notifier.id, NotifierWish(send_all_events=False))
    explained = await ask(world, event_id, notifier)
    assert not explained.is_wanted
    assert explained.delivery is not None
    assert explained.summary.startswith("waiting: attempt 1 is due at")
    assert explained.note is not None
    assert "the notifier was changed at" in explained.note
    assert "the delivery is the fact" in explained.note
    other = await world.add_webhook()
    unsent = await world.deploy()
    world.clock.advance(60)
    await world.notifiers.edit(world.app, world.alice, other.id, NotifierWish(send_all_events=True))
    assert (await ask(world, unsent, other)).summary.startswith("not sent as far as is known")


async def test_what_is_told_of_a_notifier_goes_by_others_that_are_active(world: World):
    failing, well = [await world.add_webhook(name=name, send_all_events=True) for name in ("failing", "well")]
    paused = await world.add_webhook(name="paused", send_all_events=True)
    await world.notifiers.pause(world.app, paused.id)
    type_data = {"notifier_id": failing.id, "notifier_name": "failing"}
    event = world.ingest.own_event(event_type="notifier_failing", type_data=type_data, user=world.alice, app=world.app)
    event = msgspec.structs.replace(event, about=failing.id)
    await world.store.write(add_event, event, world.ingest._dispatch)
    told = {each.name: await ask(world, event.id, each) for each in (failing, well, paused)}
    assert [each.notifier_id for each in await world.deliveries(event_id=event.id)] == [well.id]
    assert {name: passed(each)["about"] for name, each in told.items()} == {
        "failing": False,
        "well": True,
        "paused": False,
    }
    assert {name: each.is_wanted for name, each in told.items()} == {"failing": False, "well": True, "paused": False}
    assert "this very notifier" in detail(told["failing"], StepName.ABOUT)
    assert (await ask_draft(world, draft("notifier_failing"), failing)).is_wanted


async def test_alert_rules_say_which_of_them_fits_and_by_what_the_others_differ(world: World):
    notifier = await world.add_webhook()
    wish = AlertWish(container_type="web", metric="cpu", limit=0.8, notifiers=[notifier.id])
    rule = await world.alerts.add(world.app, world.alice, wish)
    facts = {"metric": "cpu", "container_type": "web", "raw_limit": 0.8, "send_when_below": False}
    named = await ask(world, await report(world, "alert", **facts), notifier)
    assert named.is_wanted
    assert named.delivery is not None
    told = detail(named, StepName.ALERT_RULES)
    assert told == f"rule {rule.id} (cpu of web above 0.8) names it: the event can have come from this rule"
    other = await ask(
        world, await report(world, "alert", **facts | {"raw_limit": 0.5, "container_type": "w"}), notifier
    )
    assert (other.is_wanted, other.delivery) == (False, None)
    assert detail(other, StepName.ALERT_RULES).endswith("by its container_type, limit")
    for alert_id, words in ((rule.id, "comes from this rule"), ("al-0", "comes from rule al-0")):
        explained = await ask(world, await report(world, "alert", alert_id=alert_id), notifier)
        assert explained.is_wanted == (alert_id == rule.id)
        assert words in detail(explained, StepName.ALERT_RULES)
    assert "no alert rule names it" in detail(
        await ask_draft(world, draft("alert"), world.default), StepName.ALERT_RULES
    )
    world.clock.advance(60)
    event_id = await report(world, "alert", **facts)
    world.clock.advance(60)
    await world.alerts.edit(world.app, rule.id, AlertWish(limit=0.9))
    changed = await ask(world, event_id, notifier)
    assert changed.note is not None
    assert "alert rules were changed at" in changed.note


async def test_every_delivery_of_the_event_is_there_and_the_newest_with_its_attempts(world: World):
    notifier = await world.add_webhook(send_all_events=True, expires_after=3600)
    event_id = await world.deploy()
    await world.settle(notifier, lambda _: dict(GONE))
    failed = await ask(world, event_id, notifier)
    assert failed.summary.startswith("failed (gone) at")
    assert [each.outcome for each in details(failed).attempts] == [AttemptOutcome.FAILED]
    assert details(failed).schedule == ()
    assert failed.delivery is not None
    again = await world.history.replay(world.app, failed.delivery.id)
    waiting = await ask(world, event_id, notifier)
    assert waiting.delivery == again
    assert [each.id for each in details(waiting).deliveries] == [again.id, failed.delivery.id]
    assert (details(waiting).attempts, details(waiting).expires_at) == ([], again.expires_at)
    assert headers(waiting)["tocsin-delivery-id"] == again.id
    await world.settle(notifier, lambda _: dict(DONE))
    assert (await ask(world, event_id, notifier)).summary.endswith("after 1 attempt")


async def test_attempts_to_come_are_planned_by_the_schedule_until_the_delivery_expires(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    now = world.clock.now()
    minutes = [0, 1, 11]
    explained = await ask_draft(world, draft(), notifier)
    due = [(each.number, each.due_at) for each in details(explained).schedule]
    assert due == [(number + 1, now + timedelta(minutes=minute)) for number, minute in enumerate(minutes)]
    assert details(explained).expires_at == now + timedelta(days=7)
    slow = await world.add_webhook(send_all_events=True, retry_schedule=[0, 30, 60], expires_after=70)
    planned = details(await ask_draft(world, draft(), slow))
    assert [each.due_at for each in planned.schedule] == [now, now + timedelta(seconds=30)]
    assert planned.expires_at == now + timedelta(seconds=70)
    event_id = await world.deploy()
    [claim] = [each for each in (await world.store.claim({notifier.id: 9})).claims if each.event_id == event_id]
    under_way = await ask(world, event_id, notifier)
    assert under_way.summary == "being sent: attempt 1 is under way"
    assert [each.number for each in details(under_way).schedule] == [1, 2, 3]
    assert headers(under_way)["tocsin-attempt"] == str(claim.attempt)


async def test_a_request_is_shown_as_it_is_sent_and_nothing_in_it_can_be_used(world: World):
    notifier = await world.add_webhook(send_all_events=True)
    event_id = await world.deploy()
    explained = await ask(world, event_id, notifier)
    request = details(explained).preview.request
    assert request is not None
    assert (request.method, request.url) == ("POST", "https://hooks.example.com/…")
    assert request.headers["webhook-id"] == event_id
    assert request.headers["webhook-signature"] == "v1,…"
    assert request.body.encode() == await world.history.get_event(world.app, event_id)
    shown = repr(explained.details)
    assert "s3cret" not in shown
    assert notifier.secret not in shown
    rotated = await world.notifiers.rotate_secret(world.app, notifier.id, algorithm=Algorithm.ED25519)
    explained = await ask(world, event_id, await world.notifiers.get(world.app, notifier.id))
    request = details(explained).preview.request
    assert request is not None
    assert request.headers["webhook-signature"] == "v1a,… v1,…"
    assert rotated.secret not in repr(explained.details)
    slack = await world.add_webhook(platform_id=SLACK_ID, send_all_events=True)
    message = details(await ask(world, event_id, slack)).preview.request
    assert message is not None
    assert "blocks" in msgspec.json.decode(message.body)


async def test_mails_are_shown_with_their_recipients_and_a_link_that_cannot_be_used(world: World):
    settings = {"emails": ["ops@example.com"], "user_ids": [world.bob.id]}
    notifier = await world.add_webhook(platform_id=EMAIL_ID, type_data=settings, send_all_events=True)
    preview = details(await ask_draft(world, draft(), notifier)).preview
    assert preview.request is None
    assert preview.mails is not None
    [mail] = preview.mails
    assert mail.recipients == ("ops@example.com", "bob@example.com")
    assert "my-app" in mail.subject
    assert "https://tocsin.example.com/..." in mail.text
    assert notifier.id not in mail.text
    waiting = await ask_draft(world, draft(), notifier)
    assert not passed(waiting)["platform"]
    assert waiting.summary.endswith("it waits until the operator sets TOCSIN_SMTP_URL")


async def test_what_a_platform_cannot_make_is_told(world: World, monkeypatch: pytest.MonkeyPatch):
    notifier = await world.add_webhook(send_all_events=True)
    await change(world, notifier, type_data={})
    preview = details(await ask_draft(world, draft(), notifier)).preview
    assert (preview.request, preview.problem) == (None, "misconfigured: the notifier has no webhook_url")
    await change(world, notifier, secret="whsec_")
    unsigned = details(await ask_draft(world, draft(), notifier)).preview
    assert unsigned.problem == "misconfigured: a signing secret is whsec_ and base64"

    def crash(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(WebhookPlatform, "request", crash)
    crashed = details(await ask_draft(world, draft(), notifier)).preview
    assert crashed.problem == "Tocsin fails to make this: ZeroDivisionError"


async def test_every_example_of_the_catalogue_is_shown_as_a_notifier_would_send_it(world: World):
    wish = NotifierWish(
        platform_id=SLACK_ID, name="Chat", type_data={"webhook_url": "https://hooks.example.com/s3cret"}
    )
    draft_of_one = await world.notifiers.check(world.app, wish)
    for event_type in world.catalogue.events:
        preview = await world.explain.sample(world.app, world.alice, draft_of_one, event_type)
        assert preview.problem is None
        assert preview.request is not None
        assert preview.card is not None
        blocks = msgspec.json.decode(preview.request.body)["blocks"]
        assert preview.card.title == blocks[0]["text"]["text"]
        assert "s3cret" not in repr(preview)
    hook = await world.add_webhook()
    program = await world.explain.sample(world.app, world.alice, hook, "deployment")
    assert program.card is None
    assert program.request is not None
    assert msgspec.json.decode(program.request.body)["app_name"] == "my-app"
    assert (await world.events())[0]["type"] == "new_notifier"
    with pytest.raises(NotFound):
        await world.explain.sample(world.app, world.alice, hook, "nothing")


async def test_a_mail_for_nobody_is_told(world: World):
    settings = {"user_ids": [world.bob.id]}
    notifier = await world.add_webhook(platform_id=EMAIL_ID, type_data=settings, send_all_events=True)
    await change(world, notifier, type_data={"user_ids": [world.charlie.id]})
    preview = details(await ask_draft(world, draft(), notifier)).preview
    assert (preview.mails, preview.problem) == (None, "misconfigured: nobody is left to write to")


async def pages(world: World, event_id: str, size: int) -> list[Explanation]:
    first = await world.explain.stored(world.app, event_id, limit=size, offset=0)
    offsets = range(size, first.total, size)
    return [first, *[await world.explain.stored(world.app, event_id, limit=size, offset=each) for each in offsets]]


async def test_all_notifiers_of_the_app_are_told_of_in_pages(world: World):
    gone = await world.add_webhook(name="gone", send_all_events=True)
    await world.notifiers.remove(world.app, world.alice, gone.id)
    world.clock.advance(1)
    wanting, other = await world.add_webhook(send_all_events=True), await world.add_webhook()
    event_id = await world.deploy()
    world.clock.advance(1)
    late = await world.add_webhook(send_all_events=True)
    await world.notifiers.remove(world.app, world.alice, other.id)
    [whole] = await pages(world, event_id, 20)
    assert [each.known.notifier.id for each in whole.notifiers] == [world.default.id, wanting.id, other.id, late.id]
    assert [each.is_wanted for each in whole.notifiers] == [False, True, False, False]
    assert [each.delivery is not None for each in whole.notifiers] == [False, True, False, False]
    assert all(each.details is None for each in whole.notifiers)
    two = await pages(world, event_id, 3)
    assert [each.known.notifier.id for page in two for each in page.notifiers] == [
        each.known.notifier.id for each in whole.notifiers
    ]
    drafted = await world.explain.draft(world.app, world.alice, draft(), **PAGE)
    assert [each.known.notifier.id for each in drafted.notifiers] == [world.default.id, wanting.id, late.id]
    assert [each.summary for each in drafted.notifiers[1:]] == ["would be sent at once"] * 2


async def test_a_delivery_that_is_still_to_be_made_is_told(world: World):
    notifier = await world.add_webhook()
    event_id = await world.deploy()
    await change(world, notifier, send_all_events=True)
    owed = {"event_id": event_id, "app_id": world.app.id, "notifier_ids": ["no-0", notifier.id], "done_count": 1}
    row = owed | {"created_at": world.clock.now()}
    await world.store.write(lambda connection: connection.execute(schema.fanouts.insert().values(**row)) and None)
    assert (await ask(world, event_id, notifier)).summary == "to be sent: its delivery is still to be made"


async def test_nothing_of_another_app_is_told(world: World):
    event_id = await world.deploy()
    [foreign] = await world.notifiers.list(world.other_app)
    for app, event, notifier_id, resource in (
        (world.other_app, event_id, None, "event"),
        (world.app, "0" * 24, None, "event"),
        (world.app, event_id, foreign.id, "notifier"),
        (world.app, event_id, "no-0", "notifier"),
    ):
        with pytest.raises(NotFound) as missing:
            await world.explain.stored(app, event, notifier_id, **PAGE)
        assert missing.value.resource == resource
    with pytest.raises(NotFound):
        await world.explain.draft(world.app, world.alice, draft(), foreign.id, **PAGE)


async def test_a_draft_is_checked_as_an_event_is_and_stored_nowhere(world: World):
    before = await world.events()
    explained = await world.explain.draft(world.app, world.bob, draft(type_data=b'{"n":1.0}'), **PAGE)
    shown = msgspec.json.decode(explained.event.body)
    assert (shown["app_name"], shown["user"]["username"]) == ("my-app", "bob")
    assert b'"type_data":{"n":1.0}' in explained.event.body
    for wrong in (draft(""), draft(type_data=b"[]")):
        with pytest.raises(InvalidInput):
            await world.explain.draft(world.app, world.bob, wrong, **PAGE)
    assert await world.events() == before
    assert await world.deliveries() == []
