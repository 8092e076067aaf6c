"""Why an event was sent, or was not, over HTTP: of one that came and of a draft."""

import pytest

from tests.api.sent import FIELDS, add_hook, deploy, fail
from tocsin.explanation import StepName

EVENT = {"type": "deployment", "type_data": {"status": "success"}}
DRAFT = "/v1/apps/my-app/explain"
WHOLE = {"deliveries", "request", "mails", "problem", "schedule", "expires_at"}
NOTIFIER = {
    "id",
    "name",
    "platform",
    "active",
    "state",
    "state_reason",
    "held_until",
    "created_at",
    "updated_at",
    "removed_at",
}


@pytest.fixture
async def notifier(world):
    return await add_hook(world)


def of(event_id: str) -> str:
    return f"/v1/apps/my-app/events/{event_id}/explain"


async def test_one_notifier_is_explained_whole(world, client, bob, notifier):
    event_id = await deploy(world)
    await fail(world, notifier)
    response = await client.get(of(event_id), params={"notifier_id": notifier.id})
    assert response.status_code == 200
    assert list(response.json()) == ["explain", "meta"]
    explain = response.json()["explain"]
    assert explain["event"] == (await client.get(f"/v1/apps/my-app/events/{event_id}")).json()["event"]
    [told] = explain["notifiers"]
    assert set(told) == WHOLE | {"notifier", "is_wanted", "summary", "note", "steps", "delivery"}
    assert set(told["notifier"]) == NOTIFIER
    assert (told["notifier"]["id"], told["is_wanted"], told["note"]) == (notifier.id, True, None)
    assert [step["step"] for step in told["steps"]] == list(StepName)
    assert set(told["delivery"]) == FIELDS | {"attempts"}
    assert [attempt["response_status"] for attempt in told["delivery"]["attempts"]] == [410]
    [delivery] = told["deliveries"]
    assert delivery == (await client.get("/v1/apps/my-app/deliveries")).json()["deliveries"][0]
    assert told["request"]["url"] == "https://example.com/…"
    assert told["request"]["headers"]["webhook-signature"] == "v1,…"
    assert notifier.secret not in response.text
    assert (told["mails"], told["problem"], told["schedule"]) == (None, None, [])
    assert (await bob.get(of(event_id), params={"notifier_id": notifier.id})).json() == response.json()


async def test_all_notifiers_are_explained_in_short_and_in_pages(world, client, notifier):
    event_id = await deploy(world)
    response = await client.get(of(event_id), params={"notifier_id": ""})
    default, hook = response.json()["explain"]["notifiers"]
    assert (default["is_wanted"], default["delivery"]) == (False, None)
    assert (hook["is_wanted"], hook["delivery"]["state"], hook["delivery"]["attempts"]) == (True, "pending", None)
    assert {name for told in (default, hook) for name in WHOLE if told[name] is not None} == set()
    assert response.json()["meta"]["pagination"]["total_count"] == 2
    second = (await client.get(of(event_id), params={"per_page": 1, "page": 2})).json()
    assert second["explain"]["notifiers"] == [hook]
    assert second["meta"]["pagination"]["prev_page"] == 1


async def test_a_draft_is_explained_and_not_stored(world, client, notifier):
    before = await world.events(world.app.id)
    for body in (
        {"explain": {"event": EVENT, "notifier_id": notifier.id}},
        {"event": EVENT, "notifier_id": notifier.id},
    ):
        response = await client.post(DRAFT, json=body)
        assert response.status_code == 200
        explain = response.json()["explain"]
        assert (explain["event"]["type"], explain["event"]["app_name"]) == ("deployment", "my-app")
        [told] = explain["notifiers"]
        assert (told["is_wanted"], told["summary"], told["delivery"]) == (True, "would be sent at once", None)
        assert [planned["number"] for planned in told["schedule"]] == [1, 2, 3]
        assert told["schedule"][0]["due_at"] == "2026-01-02T03:04:05.000Z"
        assert told["expires_at"] == "2026-01-09T03:04:05.000Z"
    every = (await client.post(DRAFT, json={"explain": {"event": EVENT}})).json()
    assert [told["is_wanted"] for told in every["explain"]["notifiers"]] == [False, True]
    assert every["meta"]["pagination"]["total_count"] == 2
    assert await world.events(world.app.id) == before


async def test_mails_are_shown_by_their_words(world, client):
    [default] = (await client.get("/v1/apps/my-app/notifiers")).json()["notifiers"]
    body = {"event": EVENT | {"type": "crash", "type_data": {}}, "notifier_id": default["id"]}
    [told] = (await client.post(DRAFT, json={"explain": body})).json()["explain"]["notifiers"]
    [mail] = told["mails"]
    assert (mail["recipients"], set(mail)) == (["alice@example.com"], {"recipients", "subject", "text"})
    assert "unsubscribe/" not in mail["text"]
    assert told["request"] is None


async def test_type_data_of_a_draft_stays_as_it_came(client):
    text = '{"b":1.0,"a":[1e3,"\\u00e9",{"z":12345678901234567890}]}'
    response = await client.post(DRAFT, content=f'{{"explain":{{"event":{{"type_data":{text},"type":"x"}}}}}}')
    assert response.status_code == 200
    assert text in response.text


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("", 400, None),
        ("{", 400, None),
        ("[" * 100, 400, None),
        (b"\xff", 400, None),
        ('{"explain": {}}', 422, "event"),
        ('{"explain": []}', 422, "explain"),
        ('{"explain": {"event": []}}', 422, "event"),
        ('{"explain": {"event": {"type": 5, "type_data": {}}}}', 422, "event.type"),
        ('{"explain": {"event": {"type": "x"}}}', 422, "event.type_data"),
        ('{"event": {"type": "x"}}', 422, "event.type_data"),
        ('{"explain": {"event": {"type": "", "type_data": {}}}}', 422, "event.type"),
        ('{"explain": {"event": {"type": "x", "type_data": []}}}', 422, "event.type_data"),
        ('{"explain": {"event": {"type": "x", "type_data": {}, "created_at": "soon"}}}', 422, "event.created_at"),
        ('{"explain": {"event": {"type": "x", "type_data": {}}, "notifier_id": 5}}', 422, "notifier_id"),
        ('{"explain": {"event": {"type": "x", "type_data": {}}, "notifier_id": "a\\u0000"}}', 422, "notifier_id"),
        ('{"explain": {"event": {"type": "x", "type_data": {"a": "%s"}}}}' % ("x" * 300_000), 413, None),
    ],
)
async def test_a_draft_that_cannot_be_read_says_where(client, body, status, field):
    response = await client.post(DRAFT, content=body)
    assert response.status_code == status, response.text
    if field is not None:
        assert list(response.json()["errors"]) == [field]


async def test_what_is_not_there_is_not_found(world, client, charlie, anonymous, admin, notifier):
    event_id = await deploy(world)
    other_app = await world.verbs.apps.add_app(world.users["charlie"], "other-app")
    [foreign] = await world.verbs.notifiers.list(other_app)
    for path, params, resource in (
        (of("0" * 24), {}, "event"),
        (f"/v1/apps/other-app/events/{event_id}/explain", {}, "app"),
        (of(event_id), {"notifier_id": foreign.id}, "notifier"),
        (of(event_id), {"notifier_id": "no-0"}, "notifier"),
    ):
        response = await client.get(path, params=params)
        assert (response.status_code, response.json()["resource"]) == (404, resource)
    foreign_event = await admin.get(f"/v1/apps/other-app/events/{event_id}/explain")
    assert (foreign_event.status_code, foreign_event.json()["resource"]) == (404, "event")
    drafted = await client.post(DRAFT, json={"event": EVENT, "notifier_id": foreign.id})
    assert (drafted.status_code, drafted.json()["resource"]) == (404, "notifier")
    for ask in (lambda who: who.get(of(event_id)), lambda who: who.post(DRAFT, json={"event": EVENT})):
        assert (await ask(charlie)).json() == {"resource": "app", "error": "not found"}
        assert (await ask(anonymous)).status_code == 401
