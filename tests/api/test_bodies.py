import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.requests import Request

from tocsin.api.bodies import MAX_BODY_BYTES, Sent, described_body, parse_object, read_body, unwrap
from tocsin.errors import InvalidInput, Malformed, RequestError, TooLarge


class Inner(Sent):
    webhook_url: str | None = None


class Wish(Sent):
    name: str
    active: bool = True
    emails: tuple[str, ...] = ()
    type_data: Inner | None = None


def request(*parts: bytes) -> Request:
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return waiting.pop(0)

    return Request({"type": "http", "method": "POST", "headers": [], "path": "/"}, receive)


async def read(body: bytes, root: str | None = "notifier") -> Wish:
    return await read_body(request(body), Wish, root)


@pytest.mark.parametrize(
    "body",
    [
        b'{"notifier": {"name": "x"}}',
        b'{"notifiers": {"name": "x"}}',
        b'{"name": "x"}',
        b' \n{"notifier": {"name": "x", "unknown": [1], "id": "", "created_at": "0001-01-01T00:00:00Z"}}',
        b'{"notifier": {"name": "x", "active": "true", "emails": null, "type_data": ""}}',
    ],
)
async def test_a_body_is_read_wrapped_or_bare_with_zero_values(body):
    assert await read(body) == Wish(name="x")


async def test_what_stands_beside_the_root_key_is_ignored():
    assert await read(b'{"notifier": {"name": "x"}, "name": "y"}') == Wish(name="x")


@pytest.mark.parametrize(
    ("text", "active"), [(b"true", True), (b"false", False), (b'"true"', True), (b'"false"', False)]
)
async def test_booleans_may_be_texts(text, active):
    assert (await read(b'{"name": "x", "active": ' + text + b"}")).active is active


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", {"name": ["is required"]}),
        (b"{}", {"name": ["is required"]}),
        (b'{"name": ""}', {"name": ["is required"]}),
        (b'{"name": 1, "active": "x"}', {"name": ["must be a string"], "active": ["must be true or false"]}),
        (b'{"name": "x", "emails": "x"}', {"emails": ["must be a list"]}),
        (b'{"name": "x", "emails": ["a", 1]}', {"emails[1]": ["must be a string"]}),
        (b'{"name": "x", "type_data": {"webhook_url": 1}}', {"type_data.webhook_url": ["must be a string"]}),
        (b'{"name": "x", "type_data": [1]}', {"type_data": ["must be an object"]}),
        (b'{"notifier": [1]}', {"notifier": ["must be an object"]}),
        (b'{"notifier": null}', {"notifier": ["must be an object"]}),
        (b'{"name": "a\\u0000b"}', {"name": ["must not hold NUL characters"]}),
        (b'{"a": [{"b": "\\u0000"}]}', {"a[0].b": ["must not hold NUL characters"]}),
    ],
)
async def test_wrong_fields_are_named_with_the_reason(body, fields):
    with pytest.raises(InvalidInput) as caught:
        await read(body)
    assert caught.value.fields == fields


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a": }', b"[1]", b'"x"', b"null", b"\xff", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 5000, b'{"a":1}x'],
)
async def test_what_is_no_json_object_is_malformed(body):
    with pytest.raises(Malformed) as caught:
        await read(body)
    assert caught.value.message.startswith("the body ")


async def test_malformed_json_is_told_by_line_and_column():
    with pytest.raises(Malformed, match="at line 2 column 11"):
        await read(b'{\n  "name": }')


async def test_a_body_is_refused_as_soon_as_it_is_too_long():
    with pytest.raises(TooLarge, match="2048 KiB"):
        await read_body(request(b"x" * MAX_BODY_BYTES, b"x", b"never read"), Wish, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_object_or_refused_as_the_clients_fault(body):
    try:
        data = parse_object(body)
    except RequestError:
        return
    assert isinstance(data, dict)


@given(JSON)
def test_any_value_below_the_root_key_is_an_object_or_refused(value):
    try:
        found = unwrap({"notifier": value}, "notifier")
    except InvalidInput:
        assert not isinstance(value, dict)
        return
    assert found == value


def test_a_body_is_described_with_its_wrapper_and_without_references():
    class Outer(BaseModel):
        inner: Inner
        many: list[Inner]

    described = described_body(Outer, "outer", example={"inner": {}})["requestBody"]["content"]["application/json"]
    assert described["schema"]["properties"]["outer"]["properties"]["inner"]["type"] == "object"
    assert "$ref" not in json.dumps(described)
    assert described["example"] == {"outer": {"inner": {}}}
