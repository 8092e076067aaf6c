"""What ingest refuses and how it says so, in the server's short cut for posted events and beside it alike."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.system.refusals import World, check_refusal, open_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = "/v1/apps/my-app/events"
EVENT_BYTES = 256 * 1024
REQUEST_BYTES = 2 * 1024 * 1024
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(tmp_path_factory.mktemp("bad-events")) as world:
        yield world


async def post(world: World, body: str | bytes, headers: dict[str, str] | None = None, path: str = EVENTS):
    """The answer over a socket, once it is known to be that of the ASGI application too."""
    content = body.encode() if isinstance(body, str) else body
    sent = {"content-type": "application/json"} | (headers or {})
    response = await world.client.post(path, content=content, headers=sent)
    other = await world.line.client.post(path, content=content, headers=sent)
    assert other.status_code == response.status_code
    assert other.headers.keys() | {"date", "server"} == response.headers.keys() | {"date", "server"}
    if not response.is_success:
        assert other.content == response.content
    return response


async def refused(world: World, body: str | bytes, status: int, *names: str, headers: dict[str, str] | None = None):
    before = await world.stored()
    check_refusal(await post(world, body, headers), status, names)
    assert await world.stored() == before


def event(type_data: str = "{}", rest: str = "", event_type: str = "restart") -> str:
    return f'{{"event": {{"type": "{event_type}", "type_data": {type_data}{rest}}}}}'


def events(*listed: str) -> str:
    return f'{{"events": [{", ".join(listed)}]}}'


GOOD = '{"type": "restart", "type_data": {}}'


@pytest.mark.parametrize(
    "body",
    [
        "",
        " \n",
        "{",
        "text",
        "event=restart",
        event('{"a": NaN}'),
        event('{"a": -Infinity}'),
        event('{"a": 01}'),
        event('{"a": 1.}'),
        event('{"a": tru}'),
        event('{"a": "\\x"}'),
        event('{"a": "\\uZZZZ"}'),
        event('{"a": "\n"}'),
        event("{'a': 1}"),
        event('{"a": 1,}'),
        event("{} /* */"),
        event() + "x",
        event() * 2,
        "\ufeff" + event(),
        event('{"a": "\\ud800"}'),
        event('{"\\udc00": 1}'),
        event(event_type="\\ud800"),
        event('{"alert_id": "\\ud800"}', event_type="alert"),
        event('{"status": ["\\ud800", "b"]}', event_type="addon_updated"),
        event(rest=', "user": {"username": "\\ud800"}'),
        event(rest=', "created_at": "\\ud800"'),
    ],
)
async def test_a_body_that_is_not_json_is_refused_with_the_place(world: World, body: str) -> None:
    await refused(world, body, 400, "line" if body.strip() else "empty")


@pytest.mark.parametrize("body", [event('{"a": "é"}').encode("latin-1"), event().encode("utf-16"), b"\xff" * 10])
async def test_a_body_in_another_encoding_is_refused(world: World, body: bytes) -> None:
    await refused(world, body, 400, "UTF-8")


@pytest.mark.parametrize(
    "body",
    [
        "[" * 10_000,
        event("[" * 10_000 + "]" * 10_000),
        event('{"a": ' * 10_000 + "1" + "}" * 10_000),
        events(event('{"a": [' * 5_000)),
    ],
)
async def test_deep_nesting_is_refused_before_it_is_parsed(world: World, body: str) -> None:
    await refused(world, body, 400, "nested", "64")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("[]", "body"),
        ("null", "body"),
        ("1", "body"),
        ("{}", "event"),
        ('{"event": null}', "event"),
        ('{"event": "restart"}', "event"),
        ('{"event": []}', "event"),
        ('{"event": {"type_data": {}}}', "type"),
        ('{"event": {"type": "restart"}}', "type_data"),
        ('{"event": {"type": 1, "type_data": {}}}', "type"),
        ('{"event": {"type": null, "type_data": {}}}', "type"),
        (event(event_type=""), "type"),
        (event(event_type="x" * 256), "type"),
        (event(event_type="a\\nb"), "type"),
        (event(event_type="a\\u0000b"), "type"),
        (event("null"), "type_data"),
        (event("[]"), "type_data"),
        (event('"text"'), "type_data"),
        (event("1"), "type_data"),
        (event('{"a": 1e999}'), "type_data"),
        (event('{"limit": -1e999}', event_type="alert"), "type_data"),
        (event('{"status": [1e999, 1]}', event_type="addon_updated"), "type_data"),
        (event(event_type="addon_updated"), "type_data.status"),
        (event('{"status": null}', event_type="addon_updated"), "type_data.status"),
        (event('{"status": "ab"}', event_type="addon_updated"), "type_data.status"),
        (event('{"status": []}', event_type="addon_updated"), "type_data.status"),
        (event('{"status": ["running"]}', event_type="addon_updated"), "type_data.status"),
        (event('{"status": ["a", "b"], "status": ["a"]}', event_type="addon_updated"), "type_data.status"),
        (event(rest=', "created_at": "yesterday"'), "created_at"),
        (event(rest=', "created_at": 1767225600'), "created_at"),
        (event(rest=', "created_at": "2026-01-01T00:00:00"'), "created_at"),
        (event(rest=', "created_at": "2026-01-01 00:00:00Z"'), "created_at"),
        (event(rest=', "created_at": "2026-02-31T00:00:00Z"'), "created_at"),
        (event(rest=', "created_at": "9999-12-31T23:59:59-12:00"'), "created_at"),
        (event(rest=', "user": "alice"'), "user"),
        (event(rest=', "user": {"id": 1}'), "user.id"),
        ('{"events": {}}', "events"),
        ('{"events": null}', "events"),
        ('{"events": []}', "events"),
        ('{"event": {"type": "a", "type_data": {}}, "events": []}', "events"),
        (events("null"), "events[0]"),
        (events(GOOD, '{"type": "b"}'), "events[1].type_data"),
        (events(GOOD, '{"type": "b", "type_data": []}'), "events[1].type_data"),
        (events(GOOD, '{"type": 3, "type_data": {}}'), "events[1].type"),
        (events(GOOD, GOOD, '{"type": "", "type_data": {}}'), "events[2].type"),
        (events('{"type": "b", "type_data": []}'), "events[0].type_data"),
        (events(GOOD, '{"type": "b", "type_data": {}, "created_at": "x"}'), "events[1].created_at"),
        (events(GOOD, '{"type": "addon_updated", "type_data": {}}'), "events[1].type_data.status"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_of_the_request_is_stored(world: World, body: str, field: str) -> None:
    await refused(world, body, 422, field)


async def test_sizes_are_limited(world: World) -> None:
    await refused(world, events(*[GOOD] * 1001), 413, "1000")
    await refused(world, event(json.dumps({"a": "x" * EVENT_BYTES})), 413, "256 KiB")
    big = json.dumps({"type": "restart", "type_data": {"a": "x" * EVENT_BYTES}})
    await refused(world, events(GOOD, big), 413, "events[1]")
    await refused(world, event(json.dumps({"a": "x" * REQUEST_BYTES})), 413, "2 MiB")


async def test_a_request_of_every_allowed_size_is_accepted_to_the_byte(world: World) -> None:
    response = await post(world, event())
    frame = len(json.dumps(response.json()["event"], separators=(",", ":"), ensure_ascii=False)) - len("{}")
    content = json.dumps({"a": ""})
    filled = '{"a": "' + "x" * (EVENT_BYTES - frame - len(content)) + '"}'
    assert (await post(world, event(filled))).status_code == 201
    await refused(world, event(filled.replace("x", "xx", 1)), 413, "256 KiB")
    whole = event() + " " * (REQUEST_BYTES - len(event()))
    assert (await post(world, whole)).status_code == 201
    await refused(world, whole + " ", 413, "2 MiB")
    assert len((await post(world, events(*[GOOD] * 1000))).json()["events"]) == 1000


async def test_a_body_of_unknown_length_is_cut_off(world: World) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield event().encode()
        for _ in range(size // 65_536):
            yield b" " * 65_536

    before = await world.stored()
    response = await world.client.post(EVENTS, content=chunks(REQUEST_BYTES))
    check_refusal(response, 413, ("2 MiB",))
    assert await world.stored() == before
    assert (await world.client.post(EVENTS, content=chunks(65_536 * 3))).status_code == 201


@pytest.mark.parametrize("ref", ["nope", "My-App", "%ff", "%00", "%2e%2e", "x" * 3000, "0" * 24])
async def test_an_unknown_app_is_not_found(world: World, ref: str) -> None:
    before = await world.stored()
    for body in (event(), "{"):
        check_refusal(await post(world, body, path=f"/v1/apps/{ref}/events"), 404, ("app",))
    assert await world.stored() == before


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (event('{"a": 1, "a": 2}'), {"type_data": {"a": 2}}),
        ('{"event": {"type": "a", "type": "b", "type_data": {}, "type_data": {"x": 1}}}', {"type": "b"}),
        (event(rest=', "created_at": null, "user": null, "unknown": [{}]'), {"type": "restart"}),
        (event(rest=', "created_at": "2026-01-01T01:00:00+01:00"'), {"created_at": "2026-01-01T00:00:00.000Z"}),
        (event('{"status": ["a", "b"]}', event_type="addon_updated"), {"type": "addon_updated"}),
        (event('{"a": "' + "[" * 10_000 + '"}'), {"type": "restart"}),
        (event('{"a": "\\u0000", "b": 1' + "0" * 400 + "}"), {"type": "restart"}),
        (event('{"limit": 1' + "0" * 400 + "}", event_type="alert"), {"type": "alert"}),
        (event('{"limit": true, "alert_id": 5, "metric": []}', event_type="alert"), {"type": "alert"}),
    ],
)
async def test_what_is_odd_but_readable_is_accepted(world: World, body: str, shown: dict[str, Any]) -> None:
    response = await post(world, body)
    assert response.status_code == 201, response.text
    answered = response.json()["event"]
    assert {name: answered[name] for name in shown} == shown


@pytest.mark.parametrize(
    "type_data",
    [
        '{"a": 1, "a": 2}',
        '{ "a" :\t1.50, "b": 1E5, "c": -0 }',
        '{"n": 1' + "0" * 400 + ', "m": -9223372036854775809, "f": 0.1000000000000000055511151231257827}',
        '{"a": "\\u00e9\\ud83d\\ude00/\\/", "\\u0061": "é😀"}',
    ],
)
async def test_type_data_is_passed_on_byte_for_byte(world: World, type_data: str) -> None:
    """Repeated keys, numbers of any length and escapes: whoever receives it reads what the sender has written."""
    response = await post(world, event(type_data))
    assert f'"type_data":{type_data}'.encode() in response.content
    [stored] = [row for row in await world.stored() if row[0] == "events" and response.json()["event"]["id"] in row[1]]
    assert repr(type_data.encode())[2:-1] in " ".join(stored)


async def test_sixty_four_levels_are_the_deepest(world: World) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deepest = '{"a": ' + opening * 61 + "1" + closing * 61 + "}"
        assert (await post(world, event(deepest))).status_code == 201
        await refused(world, event(f"[{deepest}]"), 400, "nested", "64")


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00Z", ""])
async def test_a_zero_date_means_that_none_is_given(world: World, given: str) -> None:
    response = await post(world, event(rest=f', "created_at": "{given}"'))
    assert not response.json()["event"]["created_at"].startswith("0001")


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00Z", ""])
async def test_a_zero_time_of_a_cloud_event_means_that_none_is_given(world: World, given: str) -> None:
    body = json.dumps(cloud_event(id=f"zero-{given}", time=given))
    response = await post(world, body, STRUCTURED)
    assert response.status_code == 201, response.text
    assert not response.json()["event"]["created_at"].startswith("0001")


@pytest.mark.parametrize("given", ["{}", '{"username": "", "email": "", "id": ""}'])
async def test_a_user_of_zero_values_means_that_none_is_given(world: World, given: str) -> None:
    response = await post(world, event(rest=f', "user": {given}'))
    assert response.json()["event"]["user"]["username"] == "alice"


async def test_the_content_type_of_an_event_does_not_matter(world: World) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", "x"):
        assert (await post(world, event(), {"content-type": media})).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
async def test_a_bad_idempotency_key_is_refused(world: World, key: str) -> None:
    before = await world.stored()
    for client in (world.client, world.line.client):
        response = await client.post(EVENTS, content=event(), headers={"idempotency-key": key.encode()})
        check_refusal(response, 422, ("Idempotency-Key",))
    assert await world.stored() == before


async def test_an_idempotency_key_covers_the_attributes_of_a_binary_cloud_event(world: World) -> None:
    def sent(event_id: str) -> dict[str, str]:
        attributes = {"ce-specversion": "1.0", "ce-id": event_id, "ce-source": "/tests", "ce-type": "restart"}
        return attributes | {"content-type": "application/json", "idempotency-key": "one-key"}

    assert (await world.client.post(EVENTS, content="{}", headers=sent("1"))).status_code == 201
    assert (await post(world, "{}", sent("1"))).headers["idempotent-replayed"] == "true"
    assert (await post(world, "{}", sent("2"))).status_code == 409


async def test_an_idempotency_key_gives_the_first_answer_again_and_takes_no_other_body(world: World) -> None:
    headers = {"idempotency-key": "x" * 255}
    first = await world.client.post(EVENTS, content=event('{"a": 1}'), headers=headers)
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    before = await world.stored()
    again = await post(world, event('{"a": 1}'), headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    await refused(world, event('{"a": 2}'), 409, "Idempotency-Key", headers=headers)
    await refused(world, events(GOOD), 409, "Idempotency-Key", headers=headers)
    assert await world.stored() == before


async def test_a_refused_request_does_not_use_its_key_up(world: World) -> None:
    headers = {"idempotency-key": "once-more"}
    await refused(world, event("[]"), 422, "type_data", headers=headers)
    assert (await world.client.post(EVENTS, content=event(), headers=headers)).status_code == 201


def cloud_event(**fields: Any) -> dict[str, Any]:
    made = {"specversion": "1.0", "id": "1", "source": "tests", "type": "restart", "data": {"a": 1}} | fields
    return {name: value for name, value in made.items() if value is not ...}


def base64_of(content: str | bytes) -> str:
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"specversion": ...}, "specversion"),
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"id": ...}, "id"),
        ({"id": ""}, "id"),
        ({"id": 1}, "id"),
        ({"source": ...}, "source"),
        ({"source": ""}, "source"),
        ({"type": ...}, "type"),
        ({"type": "x" * 256}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"time": 5}, "time"),
        ({"datacontenttype": "text/plain"}, "datacontenttype"),
        ({"data": []}, "data"),
        ({"data": "text"}, "data"),
        ({"data_base64": base64_of("{}")}, "data_base64"),
        ({"data": ..., "data_base64": "!"}, "data_base64"),
        ({"data": ..., "data_base64": "é"}, "data_base64"),
        ({"data": ..., "data_base64": 5}, "data_base64"),
        ({"data": ..., "data_base64": base64_of("text")}, "data_base64"),
        ({"data": ..., "data_base64": base64_of("[]")}, "data_base64"),
        ({"data": ..., "data_base64": base64_of(b'{"a": "\xff"}')}, "data_base64"),
        ({"data": ..., "data_base64": base64_of('{"a": ' * 10_000 + "1" + "}" * 10_000)}, "data_base64"),
        ({"type": "addon_updated"}, "type_data.status"),
    ],
)
async def test_a_bad_cloud_event_is_refused_alone_and_in_a_batch(
    world: World, fields: dict[str, Any], field: str
) -> None:
    bad = cloud_event(**fields)
    await refused(world, json.dumps(bad), 422, field, headers=STRUCTURED)
    good = cloud_event(id="never-stored")
    await refused(world, json.dumps([good, bad]), 422, f"[1].{field}", headers=BATCH)


async def test_a_batch_must_be_a_list_and_a_single_one_must_not(world: World) -> None:
    await refused(world, "[]", 422, "events", headers=BATCH)
    await refused(world, json.dumps(cloud_event()), 422, "body", headers=BATCH)
    await refused(world, json.dumps([cloud_event()]), 422, "body", headers=STRUCTURED)
    await refused(world, "{", 400, "line", headers=STRUCTURED)
    await refused(world, json.dumps([cloud_event(id=str(number)) for number in range(1001)]), 413, headers=BATCH)


@pytest.mark.parametrize(
    ("attributes", "body", "status", "name"),
    [
        ({"specversion": "0.3"}, "{}", 422, "ce-specversion"),
        ({"id": None}, "{}", 422, "ce-id"),
        ({"source": None}, "{}", 422, "ce-source"),
        ({"type": None}, "{}", 422, "ce-type"),
        ({"time": "yesterday"}, "{}", 422, "ce-time"),
        ({}, "[]", 422, "body"),
        ({}, "{", 400, "line"),
        ({}, "text", 400, "line"),
    ],
)
async def test_a_bad_binary_cloud_event_is_refused(
    world: World, attributes: dict[str, str | None], body: str, status: int, name: str
) -> None:
    await refused(world, body, status, name, headers=binary(**attributes))


def binary(**attributes: str | None) -> dict[str, str]:
    given = {"specversion": "1.0", "id": "1", "source": "tests", "type": "restart"} | attributes
    return {f"ce-{name}": value for name, value in given.items() if value is not None}


async def test_a_cloud_event_is_known_again_by_source_and_id_however_it_comes(world: World) -> None:
    async def told(body: Any, headers: dict[str, str]) -> dict[str, Any]:
        content = body if isinstance(body, str) else json.dumps(body)
        response = await post(world, content, headers)
        assert response.status_code == 201, response.text
        answered = response.json()
        return answered["event"] if "event" in answered else answered["events"][0]

    one = cloud_event(id="same", source="/dedup")
    first = await told(one, STRUCTURED)
    assert (first["type"], first["type_data"]) == ("restart", {"a": 1})
    before = await world.stored()
    assert await told(one | {"data": {"a": 2}}, STRUCTURED) == first
    assert await told([one], BATCH) == first
    assert await told('{"a": 1}', binary(id="same", source="/dedup")) == first
    assert await told('{"a": 1}', binary(id="s%61me", source="/dedup")) == first
    assert await world.stored() == before
    assert (await told(one | {"source": "/other"}, STRUCTURED))["id"] != first["id"]
    twice = (await post(world, json.dumps([cloud_event(id="t", source="/dedup")] * 2), BATCH)).json()["events"]
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"data": ...}, {}),
        ({"data": None}, {}),
        ({"data": ..., "data_base64": base64_of(' {"b": 2}\n')}, {"b": 2}),
        ({"datacontenttype": "application/vnd.app+json", "subject": "x", "extension": 1}, {"a": 1}),
    ],
)
async def test_the_data_of_a_cloud_event_becomes_type_data(
    world: World, fields: dict[str, Any], shown: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    body = cloud_event(id=request.node.name, **fields)
    response = await post(world, json.dumps(body), STRUCTURED)
    assert response.status_code == 201, response.text
    assert response.json()["event"]["type_data"] == shown


async def test_a_binary_cloud_event_may_have_space_around_its_data_or_none(world: World) -> None:
    for body, shown in ((' {"a": 1}\n', {"a": 1}), ("", {})):
        headers = binary(id=f"binary-{len(body)}", time="2026-01-02T03:04:05Z")
        response = await post(world, body, headers)
        assert response.status_code == 201, response.text
        assert response.json()["event"]["type_data"] == shown
        assert response.json()["event"]["created_at"] == "2026-01-02T03:04:05.000Z"


async def test_an_answer_has_a_request_id_of_its_own_or_the_one_that_was_sent(world: World) -> None:
    for body in (event(), "{"):
        first, second = await post(world, body), await post(world, body)
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert (await post(world, body, {"x-request-id": "mine-1"})).headers["x-request-id"] == "mine-1"
        assert (await post(world, body, {"x-request-id": "not mine!"})).headers["x-request-id"] != "not mine!"
