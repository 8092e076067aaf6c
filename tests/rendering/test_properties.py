"""Whatever an event holds, it is told: nothing raises, limits hold, and no secret shows."""

import re
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rendering.telling import event, shown
from tocsin.catalogue import Catalogue
from tocsin.model import EventUser, Message
from tocsin.rendering import MAX_FIELDS, MAX_LABEL, MAX_TEXT, MAX_TITLE, MAX_VALUE, render
from tocsin.rendering.page import sample_event

CATALOGUE = Catalogue.load()
SECRET = "s3cr3t-XyZZy"
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    ANY_TEXT,
    st.sampled_from(
        [
            10**400,
            -(10**16),
            "\ud800",
            "\x00\x1b[31m",
            "x" * 50_000,
            "\n" * 9_000,
            "n/a",
            "success",
            "build-error",
            "https://[::1",
            "https://example.com/",
            "9999-12-31T23:59:59-23:59",
            "0001-01-01T00:00:00+23:59",
            "2026-01-02T03:04:05Z",
            "99999999999999999999",
            "0.1",
            "true",
            "cpu",
        ]
    ),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=8
)


def keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(keys(item) for item in value.values())) if value else set()
    return set().union(*(keys(item) for item in value)) if isinstance(value, list) and value else set()


KEYS = {kind.type: sorted(keys(kind.sample)) for kind in CATALOGUE.events.values()}
TYPES = st.sampled_from([*CATALOGUE.events, "something_new"])


@st.composite
def events(draw):
    event_type = draw(TYPES)
    names = st.sampled_from(KEYS.get(event_type) or ["message", "url"])
    inner = st.dictionaries(names, JSON, max_size=4)
    data = draw(st.dictionaries(names | ANY_TEXT, JSON | inner | st.lists(inner, max_size=3), max_size=8))
    user = EventUser(username=draw(st.just("alice") | ANY_TEXT), email=draw(ANY_TEXT))
    return msgspec.structs.replace(event(event_type, user=user, app_name=draw(st.none() | ANY_TEXT)), type_data=data)


def assert_sound(message: Message) -> None:
    assert 0 < len(message.title) <= MAX_TITLE
    assert len(message.text) <= MAX_TEXT
    assert len(message.fields) <= MAX_FIELDS
    for field in message.fields:
        assert 0 < len(field.label) <= MAX_LABEL
        assert 0 < len(field.value) <= MAX_VALUE
    everything = shown(message).replace("\0", "").replace(message.text, message.text.replace("\n", ""))
    assert not [char for char in everything if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}]
    everything.encode()
    assert message.title == " ".join(message.title.split())


@settings(max_examples=200, deadline=None)
@given(events())
def test_any_event_is_told_within_limits(told) -> None:
    assert_sound(render(told))


@pytest.mark.parametrize("kind", CATALOGUE.events.values(), ids=lambda kind: kind.type)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_sample_with_any_value_spoilt_is_told(kind, data) -> None:
    sample = sample_event(kind)
    name = data.draw(st.sampled_from([*KEYS[kind.type], "other"]))
    told = render(msgspec.structs.replace(sample, type_data={**sample.type_data, name: data.draw(JSON)}))
    assert_sound(told)


@pytest.mark.parametrize("junk", [None, 1, 1.5, True, [], {}, [None], [[]], {"a": None}, "", " ", float("nan")])
def test_wrong_types_leave_no_trace_in_the_sentence(junk) -> None:
    for kind in CATALOGUE.events.values():
        sample = sample_event(kind)
        message = render(msgspec.structs.replace(sample, type_data=dict.fromkeys(kind.sample, junk)))
        assert_sound(message)
        assert not re.search(r"\b(None|nan|True)\b|[{\[]|“”|\(\)| ,| :|\w\w:$", shown(message)), shown(message)


SECRETS = [
    ("new_variable", {"name": "A", "value": SECRET}),
    ("edit_variable", {"name": "A", "value": SECRET, "old_value": SECRET}),
    ("edit_variables", {key: [{"name": "A", "value": SECRET}] for key in ("new_vars", "updated_vars", "deleted_vars")}),
    ("delete_variable", {"name": "A", "value": SECRET}),
    ("new_token", {"token_name": "ci", "token": SECRET, "token_id": SECRET}),
    ("regenerate_token", {"token_name": "ci", "token": SECRET}),
    *(
        (kind, {"url": f"https://user:{SECRET}@logs.example.com/{SECRET}?token={SECRET}", "addon_name": "PostgreSQL"})
        for kind in ("new_log_drain", "delete_log_drain", "new_addon_log_drain", "delete_addon_log_drain")
    ),
    *(
        (kind, {"notifier_name": "Ops", "notifier_type_data": data})
        for kind in ("new_notifier", "edit_notifier", "delete_notifier", "notifier_failing", "notifier_disabled")
        for data in (
            {"webhook_url": f"https://hooks.example.com/{SECRET}", "phone_number": SECRET},
            {"webhook_url": SECRET, "bot_token": SECRET, "chat_id": SECRET, "emails": [SECRET]},
        )
    ),
    ("run", {"command": f"psql postgres://u:{SECRET}@db.example.com/x --password={SECRET}"}),
    ("crash", {"crash_logs": f"cannot reach redis://:{SECRET}@cache.example.com with AUTH_TOKEN={SECRET}"}),
    ("add_payment_method", {"payment_method_type": "stripe", "stripe": {"last4": "4242", "number": SECRET}}),
    ("edit_hds_contact", {"name": "Claire", "phone_number": SECRET, "address_line1": SECRET, "notes": SECRET}),
    ("new_thing", {"secret": SECRET, "accessToken": SECRET, "url": f"https://x:{SECRET}@example.com/"}),
]


@pytest.mark.parametrize(("event_type", "type_data"), SECRETS)
def test_no_secret_shows(event_type: str, type_data: dict) -> None:
    assert SECRET not in shown(render(event(event_type, **type_data), link=None))


def test_rendering_changes_nothing_of_the_event() -> None:
    for kind in CATALOGUE.events.values():
        sample = sample_event(kind)
        before = msgspec.json.encode(sample)
        assert render(sample) == render(sample)
        assert msgspec.json.encode(sample) == before
