"""The delivery log, each delivery, and why an event was sent or not: pages and what can be done on them."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import sqlalchemy as sa

from tests.api.conftest import World
from tests.api.sent import add_hook, fail
from tests.dashboard.browser import Browser, open_browser
from tests.dashboard.conftest import PASSWORD
from tests.dashboard.payloads import PAYLOADS
from tests.dashboard.test_pages import FOREIGN, check, check_headers
from tests.store.cast import settle
from tocsin.ingest import Draft
from tocsin.model import Attempt, AttemptOutcome, Delivery, DeliveryState, Notifier, Reason
from tocsin.notifier_rules import NotifierWish
from tocsin.store import schema, walks
from tocsin.store.deliveries import DeliveryFilter
from tocsin.store.port import Settlement

LOG = "/apps/my-app/deliveries"
LATER = timedelta(minutes=1)


@pytest.fixture
async def notifier(world: World) -> Notifier:
    return await add_hook(world, selected_events=["app_deployed", "app_scaled"])


async def report(world: World, event_type: str = "deployment", **type_data: Any) -> str:
    draft = Draft(type=event_type, type_data=msgspec.Raw(msgspec.json.encode(type_data)))
    accepted = await world.verbs.ingest.accept(world.app, world.users["alice"], [draft])
    event_id: str = msgspec.json.decode(accepted.bodies[0])["id"]
    return event_id


async def deliveries(world: World, **only: Any) -> list[Delivery]:
    found, _ = await world.verbs.history.list_deliveries(world.app, DeliveryFilter(**only), limit=100, offset=0)
    return found


async def delivery(world: World) -> Delivery:
    [only] = await deliveries(world)
    return only


async def try_once(world: World, notifier: Notifier, *, body: str = "no", error: str = "500") -> None:
    """Let the due deliveries fail for now."""
    now = world.clock.now()
    for claim in (await world.store.claim({notifier.id: 100})).claims:
        attempt = Attempt(
            number=claim.attempt,
            started_at=now,
            duration_ms=1234,
            outcome=AttemptOutcome.RETRY,
            reason=Reason.SERVER_ERROR,
            response_status=500,
            response_body=body,
            error=error,
        )
        settlement = Settlement(
            delivery_id=claim.delivery_id,
            lease_token=claim.lease_token,
            attempt=attempt,
            state=DeliveryState.PENDING,
            next_attempt_at=now + LATER,
        )
        await settle(world.store, settlement)


def remove_events(connection: sa.Connection) -> None:
    connection.execute(schema.events.delete())


def shown(browser: Browser) -> list[str]:
    """The deliveries of the log, by what their links lead to."""
    links = [each.get("href", "") for each in browser.page.iter("a")]
    found = [re.fullmatch(rf"{LOG}/(de-[0-9a-f-]+)", link) for link in links]
    return [each[1] for each in found if each]


class TestLog:
    async def test_each_row_says_what_went_to_whom_and_leads_on(
        self, world: World, alice: Browser, notifier: Notifier
    ) -> None:
        event_id = await report(world)
        [made] = await deliveries(world)
        await alice.open(LOG)
        check(alice, "en")
        check_headers(alice)
        assert shown(alice) == [made.id]
        assert "pending" in alice.text
        links = {each.get("href") for each in alice.page.iter("a")}
        assert {f"/apps/my-app/events/{event_id}", f"/apps/my-app/notifiers/{notifier.id}"} <= links
        await fail(world, notifier)
        await alice.open(LOG)
        assert "failed" in alice.text
        assert "no longer there" in alice.text or "gone" in alice.text

    async def test_it_is_filtered(self, world: World, alice: Browser, notifier: Notifier) -> None:
        other = await add_hook(world, name="Other", selected_events=["app_deployed", "app_scaled"])
        await report(world, "deployment", message="the Basket")
        await fail(world, other)
        await report(world, "scale")
        by = {(each.event_type, each.notifier_name): each.id for each in await deliveries(world)}
        for query, expected in (
            ({"state": "pending"}, {("deployment", "Hook"), ("scale", "Hook"), ("scale", "Other")}),
            ({"state": "failed"}, {("deployment", "Other")}),
            ({"state": "undelivered"}, {("deployment", "Other")}),
            ({"state": "under_way", "type": "deployment"}, {("deployment", "Hook")}),
            ({"notifier": other.id, "type": "scale"}, {("scale", "Other")}),
            ({"q": "basket"}, {("deployment", "Hook"), ("deployment", "Other")}),
            ({"q": "other"}, {("deployment", "Other"), ("scale", "Other")}),
            ({"since": "2020-01-01T00:00", "type": "scale"}, {("scale", "Hook"), ("scale", "Other")}),
            ({"until": "2020-01-01T00:00"}, set()),
            ({"notifier": "no-such"}, set()),
            ({"type": "nothing of the kind"}, set()),
        ):
            await alice.open(f"{LOG}?{urlencode(query)}")
            assert alice.answer.status_code == 200
            assert set(shown(alice)) == {by[each] for each in expected}, query
            form = next(form for form in alice.forms() if form.action == LOG)
            assert {name: form.fields[name] for name in query} == query
            assert ("No delivery fits" in alice.text) is (not expected)

    @pytest.mark.parametrize("name", ["since", "until", "state"])
    async def test_what_cannot_be_looked_for_is_told_at_its_field(self, alice: Browser, name: str) -> None:
        for wrong in ("yesterday", "9999-99-99T99:99", "1"):
            await alice.open(f"{LOG}?{urlencode({name: wrong, 'q': 'kept'})}")
            assert alice.answer.status_code == 422
            check(alice, "en")
            [field] = [each for each in alice.page.iter() if each.get("id") == name]
            assert (field.get("aria-invalid"), field.get("aria-describedby")) == ("true", f"{name}-problem")
            # A field for times would be empty in a browser, and what was typed lost.
            assert field.get("type") != "datetime-local"
            fields = next(form for form in alice.forms() if form.action == LOG).fields
            assert (fields["q"], fields[name]) == ("kept", "" if name == "state" else wrong)

    async def test_a_long_log_stands_on_several_pages(self, world: World, alice: Browser, notifier: Notifier) -> None:
        for _ in range(35):
            await report(world)
        every = [each.id for each in await deliveries(world)]
        await alice.open(f"{LOG}?state=pending")
        assert shown(alice) == every[:30]
        [older] = [each.get("href", "") for each in alice.page.iter("a") if each.get("rel") == "next"]
        await alice.open(older)
        assert shown(alice) == every[30:]
        assert f"{LOG}?state=pending" in {each.get("href") for each in alice.page.iter("a")}
        assert "data-live-from" not in alice.answer.text

    async def test_how_far_it_looked_is_told(
        self, world: World, alice: Browser, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(walks, "MAX_ROWS", 2)
        await report(world, "scale")
        for _ in range(3):
            await report(world)
        await alice.open(f"{LOG}?type=scale")
        assert "No delivery fits so far." in alice.text
        assert "2 deliveries were looked through, back to" in alice.text
        [further] = [each.get("href", "") for each in alice.page.iter("a") if each.text == "Look further back"]
        await alice.open(further)
        assert len(shown(alice)) == 1

    async def test_an_empty_log_says_what_to_do(self, world: World, alice: Browser) -> None:
        for each in await world.verbs.notifiers.list(world.app):
            await world.verbs.notifiers.remove(world.app, world.users["alice"], each.id)
        await alice.open(LOG)
        assert "/apps/my-app/notifiers/new" in {each.get("href") for each in alice.page.iter("a")}
        await add_hook(world)
        await alice.open(LOG)
        assert "/apps/my-app/events/new" in {each.get("href") for each in alice.page.iter("a")}

    async def test_it_speaks_french(self, world: World, alice: Browser, notifier: Notifier) -> None:
        await report(world)
        await alice.open(LOG, **{"accept-language": "fr"})
        check(alice, "fr")
        assert "Livraisons" in alice.text
        assert "en attente" in alice.text

    async def test_what_others_wrote_is_text(self, world: World, alice: Browser) -> None:
        payloads = [payload for payload in PAYLOADS if payload.isprintable()][:20]
        for payload in payloads:
            await add_hook(world, name=payload, send_all_events=True)
        await report(world, payloads[0][:50], text=payloads[1])
        await alice.open(LOG)
        check(alice, "en")
        assert not {each.tag for each in alice.page.iter()} & FOREIGN
        assert all(" ".join(payload.split()) in alice.text for payload in payloads)
        for payload in PAYLOADS[:10]:
            await alice.open(f"{LOG}?{urlencode({'q': payload[:200], 'type': payload[:200]})}")
            check(alice, "en")


class TestDelivery:
    async def test_it_tells_what_became_of_it_and_what_comes(
        self, world: World, alice: Browser, notifier: Notifier
    ) -> None:
        event_id = await report(world)
        await try_once(world, notifier, body="come back later", error="the receiver answered 500")
        made = await delivery(world)
        await alice.open(f"{LOG}/{made.id}")
        check(alice, "en")
        check_headers(alice)
        for said in (
            "Attempt 1 to be tried again",
            "took 1.2 s",
            "status 500",
            "error at the receiver",
            "the receiver answered 500",
            "come back later",
            "Attempts to come",
            "waiting: attempt 2 is due",
            "Selected events : yes it selected app_deployed",
            "Takes all events : no it does not take all events",
            "POST https://example.com/",
            made.id,
        ):
            assert said in alice.text, said
        assert f"/apps/my-app/events/{event_id}" in {each.get("href") for each in alice.page.iter("a")}
        assert notifier.secret not in alice.answer.text
        assert "/hook" not in alice.text

    async def test_it_speaks_french_and_says_what_is_english(
        self, world: World, alice: Browser, notifier: Notifier
    ) -> None:
        await report(world)
        await try_once(world, notifier)
        await alice.open(f"{LOG}/{(await delivery(world)).id}", **{"accept-language": "fr"})
        check(alice, "fr")
        assert "Prend tous les événements : non" in alice.text
        english = " ".join("".join(each.itertext()) for each in alice.page.iter() if each.get("lang") == "en")
        assert "it does not take all events" in english
        assert "waiting: attempt 2 is due" in english

    async def test_what_receivers_answer_is_text(self, world: World, alice: Browser, notifier: Notifier) -> None:
        await report(world)
        for payload in PAYLOADS[:12]:
            await try_once(world, notifier, body=payload, error=payload)
            world.clock.advance(2 * LATER)
        await alice.open(f"{LOG}/{(await delivery(world)).id}")
        check(alice, "en")
        assert not {each.tag for each in alice.page.iter()} & FOREIGN
        for payload in PAYLOADS[:12]:
            assert " ".join(payload.split()) in alice.text

    @pytest.mark.parametrize("path", ["", "/replay", "/cancel", "/live"])
    async def test_one_that_is_not_there_is_a_page_that_says_so(self, world: World, alice: Browser, path: str) -> None:
        for delivery_id in ("de-0", "x" * 300, "%3Cscript%3E"):
            answer = await alice.open(f"{LOG}/{delivery_id}{path}", accept="text/html")
            assert answer.status_code == 404
            check(alice, "en")

    async def test_one_whose_event_is_gone_is_still_shown(
        self, world: World, alice: Browser, notifier: Notifier
    ) -> None:
        await report(world)
        made = await delivery(world)
        await world.store.write(remove_events)
        await alice.open(f"{LOG}/{made.id}")
        assert alice.answer.status_code == 200
        assert "no longer kept" in alice.text
        await alice.open(f"{LOG}/{made.id}/replay")
        await alice.submit(f"{LOG}/{made.id}/replay")
        assert alice.answer.status_code == 422
        assert "it is older than what is kept" in alice.text


class TestActions:
    async def test_it_is_sent_again(self, world: World, alice: Browser, notifier: Notifier) -> None:
        await report(world)
        await fail(world, notifier)
        first = await delivery(world)
        await alice.open(f"{LOG}/{first.id}/replay")
        check(alice, "en")
        await alice.submit(f"{LOG}/{first.id}/replay")
        newest, _ = await deliveries(world)
        assert alice.path == f"{LOG}/{newest.id}?done=replayed"
        assert "this is the new delivery" in alice.text
        assert (newest.replay_of, newest.notifier_id) == (first.id, notifier.id)
        links = {each.get("href") for each in alice.page.iter("a")}
        assert f"{LOG}/{first.id}" in links
        await alice.open(f"{LOG}/{first.id}")
        assert f"{LOG}/{newest.id}" in {each.get("href") for each in alice.page.iter("a")}

    async def test_it_is_sent_to_another(self, world: World, alice: Browser, notifier: Notifier) -> None:
        await report(world)
        first = await delivery(world)
        other = await add_hook(world, name="Other")
        await alice.open(f"{LOG}/{first.id}")
        [link] = [each.get("href", "") for each in alice.page.iter("a") if each.text == "Send to another notifier"]
        await alice.open(f"{LOG}/{first.id}/replay?to={other.id}" if other.id not in link else link)
        assert alice.form(f"{LOG}/{first.id}/replay").fields["target"] == other.id
        await alice.submit(f"{LOG}/{first.id}/replay")
        [made] = await deliveries(world, notifier_id=other.id)
        assert made.replay_of == first.id

    async def test_it_is_not_sent_to_one_that_is_off_or_of_somebody_else(
        self, world: World, alice: Browser, notifier: Notifier
    ) -> None:
        await report(world)
        first = await delivery(world)
        off = await add_hook(world, name="Off", active=False)
        for to, said in ((off.id, "the notifier is off"), ("no-such", "is not a notifier of this app")):
            await alice.open(f"{LOG}/{first.id}/replay")
            await alice.submit(f"{LOG}/{first.id}/replay", target=to)
            assert alice.answer.status_code == 422
            assert said in alice.text.lower()
        assert len(await deliveries(world)) == 1

    async def test_it_is_cancelled_after_a_question(self, world: World, alice: Browser, notifier: Notifier) -> None:
        await report(world)
        made = await delivery(world)
        await alice.open(f"{LOG}/{made.id}")
        assert f"{LOG}/{made.id}/cancel" in {each.get("href") for each in alice.page.iter("a")}
        await alice.open(f"{LOG}/{made.id}/cancel")
        check(alice, "en")
        assert (await delivery(world)).state == "pending"
        await alice.submit(f"{LOG}/{made.id}/cancel")
        assert alice.path == f"{LOG}/{made.id}?done=cancelled"
        assert "The delivery was cancelled." in alice.text
        assert ((await delivery(world)).state, (await delivery(world)).reason) == ("cancelled", "by_user")
        assert f"{LOG}/{made.id}/cancel" not in {each.get("href") for each in alice.page.iter("a")}

    async def test_one_that_was_claimed_meanwhile_is_not_cancelled(
        self, world: World, alice: Browser, notifier: Notifier
    ) -> None:
        await report(world)
        made = await delivery(world)
        await alice.open(f"{LOG}/{made.id}/cancel")
        await world.store.claim({notifier.id: 1})
        await alice.submit(f"{LOG}/{made.id}/cancel")
        assert alice.answer.status_code == 422
        assert "This delivery is being sent at this moment" in alice.text
        assert (await delivery(world)).state == "sending"

    async def test_whoever_may_only_read_is_offered_nothing_and_refused(
        self, world: World, limited: Browser, notifier: Notifier
    ) -> None:
        await report(world)
        made = await delivery(world)
        await limited.open(f"{LOG}/{made.id}")
        assert limited.answer.status_code == 200
        links = {each.get("href", "") for each in limited.page.iter("a")}
        assert not [link for link in links if link.endswith(("/replay", "/cancel"))]
        token = {"form_token": limited.form("/logout").fields["form_token"]}
        for path in (
            f"{LOG}/{made.id}/replay",
            f"{LOG}/{made.id}/cancel",
            f"/apps/my-app/notifiers/{notifier.id}/recover",
        ):
            assert (await limited.open(path)).status_code == 403
            assert (await limited.client.post(path, data=token)).status_code == 403
        assert await deliveries(world) == [made]

    async def test_a_stranger_finds_nothing(self, world: World, notifier: Notifier) -> None:
        event_id = await report(world)
        made = await delivery(world)
        await world.verbs.accounts.set_password(world.users["charlie"], PASSWORD)
        async with open_browser(world.api) as charlie:
            await charlie.sign_in("charlie", PASSWORD)
            await charlie.open("/account")
            token = {"form_token": charlie.form("/logout").fields["form_token"]}
            for path in (
                LOG,
                f"{LOG}/live",
                f"{LOG}/{made.id}",
                f"{LOG}/{made.id}/live",
                f"{LOG}/{made.id}/cancel",
                f"/apps/my-app/events/{event_id}/explain",
                f"/apps/my-app/notifiers/{notifier.id}/recover",
            ):
                assert (await charlie.open(path, accept="text/html")).status_code == 404
            for path in (f"{LOG}/{made.id}/cancel", f"{LOG}/{made.id}/replay"):
                assert (await charlie.client.post(path, data=token)).status_code == 404
        assert await deliveries(world) == [made]


class TestExplaining:
    async def test_each_notifier_is_told_of(self, world: World, alice: Browser, notifier: Notifier) -> None:
        deaf = await add_hook(world, name="Deaf", selected_events=["app_crashed"])
        event_id = await report(world)
        await alice.open(f"/apps/my-app/events/{event_id}/explain")
        check(alice, "en")
        check_headers(alice)
        assert "Hook gets it" in alice.text
        assert "Deaf does not get it" in alice.text
        assert "nothing in its settings asks for it" in alice.text
        [made] = await deliveries(world, notifier_id=notifier.id)
        links = {each.get("href") for each in alice.page.iter("a")}
        assert {f"{LOG}/{made.id}", f"/apps/my-app/notifiers/{deaf.id}"} <= links

    async def test_many_stand_on_several_pages(self, world: World, alice: Browser) -> None:
        for number in range(30):
            await add_hook(world, name=f"number {number:02}")
        event_id = await report(world)
        await alice.open(f"/apps/my-app/events/{event_id}/explain")
        assert "number 29" not in alice.text
        [following] = [each.get("href", "") for each in alice.page.iter("a") if each.get("rel") == "next"]
        await alice.open(following)
        assert "number 29" in alice.text
        for skip in ("-1", "x", "99999999999999999999"):
            assert (await alice.open(f"/apps/my-app/events/{event_id}/explain?skip={skip}")).status_code == 404

    async def test_it_speaks_french(self, world: World, alice: Browser, notifier: Notifier) -> None:
        event_id = await report(world)
        await alice.open(f"/apps/my-app/events/{event_id}/explain", **{"accept-language": "fr"})
        check(alice, "fr")
        assert "Hook le reçoit" in alice.text

    async def test_an_event_that_is_not_there_is_a_page_that_says_so(self, alice: Browser) -> None:
        for event_id in ("0" * 24, "x", "x" * 300):
            assert (await alice.open(f"/apps/my-app/events/{event_id}/explain")).status_code == 404


class TestRecovering:
    @pytest.fixture
    async def missed(self, world: World, notifier: Notifier) -> str:
        """The address of the page, of a notifier that missed two deployments and a scaling."""
        for event_type in ("deployment", "deployment", "scale"):
            await report(world, event_type)
        await fail(world, notifier)
        return f"/apps/my-app/notifiers/{notifier.id}/recover"

    async def test_they_are_counted_and_then_sent(self, world: World, alice: Browser, missed: str) -> None:
        await alice.open(missed)
        check(alice, "en")
        await alice.submit(f"{missed}#content", to=missed, since="2020-01-01T00:00", types="deployment")
        check(alice, "en")
        assert "2 deliveries would be sent again." in alice.text
        assert len(await deliveries(world)) == 3
        await alice.submit(missed, confirmed="yes")
        assert alice.path == f"{missed}?done=2"
        assert "2 deliveries are sent again." in alice.text
        again = [each for each in await deliveries(world) if each.replay_of]
        assert [each.event_type for each in again] == ["deployment"] * 2

    async def test_nothing_that_was_chosen_is_lost_on_the_way(self, world: World, alice: Browser, missed: str) -> None:
        other = await add_hook(world, name="Other")
        await alice.open(missed)
        chosen = {
            "since": "2020-01-01T00:00",
            "until": "2100-01-01T00:00",
            "types": "scale",
            "target": other.id,
            "rate": "2,5",
        }
        sent = alice.form(f"{missed}#content").fields | chosen
        body = urlencode({**sent, "states": ["failed", "cancelled"], "reasons": ["gone", "expired"]}, doseq=True)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        alice.answer = await alice.client.post(missed, content=body, headers=headers)
        assert "1 delivery would be sent again." in alice.text
        assert "2.50 a second at most" in alice.text
        form = alice.form(f"{missed}#content")
        assert {name: form.fields[name] for name in chosen} == chosen
        hidden = [
            (each.get("name"), each.get("value")) for each in alice.page.iter("input") if each.get("type") == "hidden"
        ]
        assert {("states", "failed"), ("states", "cancelled"), ("reasons", "gone"), ("reasons", "expired")} <= set(
            hidden
        )
        body = urlencode([*hidden, ("confirmed", "yes")])
        answer = await alice.client.post(missed, content=body, headers=headers)
        assert answer.headers["location"] == f"{missed}?done=1"
        assert len(await deliveries(world, notifier_id=other.id)) == 1

    async def test_what_is_wrong_stands_at_its_field(self, alice: Browser, missed: str) -> None:
        for wrong in (
            {"since": ""},
            {"since": "soon"},
            {"since": "2020-01-01T00:00", "until": "2019-01-01T00:00"},
            {"rate": "fast"},
            {"rate": "nan"},
            {"rate": "1e9"},
            {"target": "no-such"},
            {"states": "delivered"},
            {"reasons": "none"},
            {"types": "x " * 101},
        ):
            await alice.open(missed)
            await alice.submit(f"{missed}#content", to=missed, **({"since": "2020-01-01T00:00"} | wrong))
            assert alice.answer.status_code == 422, wrong
            check(alice, "en")
            assert "This did not work yet" in alice.text

    async def test_a_notifier_that_is_off_is_switched_on_first(
        self, world: World, alice: Browser, notifier: Notifier, missed: str
    ) -> None:
        await world.verbs.notifiers.edit(world.app, world.users["alice"], notifier.id, NotifierWish(active=False))
        await alice.open(missed)
        await alice.submit(f"{missed}#content", to=missed, since="2020-01-01T00:00")
        await alice.submit(missed, confirmed="yes")
        assert alice.answer.status_code == 422
        assert "The notifier is off" in alice.text
        await alice.submit(f"{missed}#content", to=missed, enable="yes")
        await alice.submit(missed, confirmed="yes")
        assert "3 deliveries are sent again." in alice.text
        assert (await world.verbs.notifiers.get(world.app, notifier.id)).active

    async def test_there_may_be_nothing_to_send(self, alice: Browser, missed: str) -> None:
        await alice.open(missed)
        await alice.submit(f"{missed}#content", to=missed, since="2020-01-01T00:00", types="nothing")
        assert "There is nothing to send again." in alice.text
        for done in ("x", "-1", "9" * 30, "²"):
            assert (await alice.open(f"{missed}?{urlencode({'done': done})}")).status_code == 200

    async def test_a_notifier_that_is_not_there_is_a_page_that_says_so(self, alice: Browser) -> None:
        assert (await alice.open("/apps/my-app/notifiers/no-such/recover")).status_code == 404
