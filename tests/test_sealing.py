"""Secrets at rest: what is sealed opens in its own place, with its own key, unchanged."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.sealing import Sealer, Unsealable, is_sealed

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLACE = "notifiers.secret.no-1"


@given(text=st.text(), place=st.text())
def test_what_is_sealed_is_opened_in_its_place(text: str, place: str) -> None:
    sealer = Sealer({"a": NEW})
    assert sealer.open(sealer.seal(text, place), place) == text


def test_the_same_value_is_never_sealed_alike() -> None:
    sealer = Sealer({"a": NEW})
    assert len({sealer.seal("same", PLACE) for _ in range(100)}) == 100


def test_a_value_does_not_open_in_another_place() -> None:
    sealer = Sealer({"a": NEW})
    with pytest.raises(Unsealable, match="sealed for another place"):
        sealer.open(sealer.seal("secret", PLACE), "notifiers.secret.no-2")


def test_the_first_key_seals_and_all_open() -> None:
    before = Sealer({"old": OLD}).seal("secret", PLACE)
    both = Sealer({"new": NEW, "old": OLD})
    assert both.open(before, PLACE) == "secret"
    assert not both.is_current(before)
    after = both.seal("secret", PLACE)
    assert both.is_current(after)
    with pytest.raises(Unsealable, match="sealed with the key new, which TOCSIN_SECRET_KEY does not name"):
        Sealer({"old": OLD}).open(after, PLACE)


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_changed_value_does_not_open(position: int, bit: int) -> None:
    sealer = Sealer({"a": NEW})
    mark, key_id, encoded = sealer.seal("secret", PLACE).split(":")
    raw = bytearray(base64.b64decode(encoded))
    raw[position % len(raw)] ^= 1 << bit
    with pytest.raises(Unsealable):
        sealer.open(f"{mark}:{key_id}:{base64.b64encode(raw).decode()}", PLACE)


@pytest.mark.parametrize("stored", ["", "whsec_c2VjcmV0", "sealed1:", "sealed1:a:", "sealed1:a:%%%", "sealed1:a:AAAA"])
def test_what_was_not_sealed_does_not_open(stored: str) -> None:
    with pytest.raises(Unsealable):
        Sealer({"a": NEW}).open(stored, PLACE)


@pytest.mark.parametrize("value", [None, 7, {"webhook_url": "http://example.com"}, "plain"])
def test_plain_values_are_told_from_sealed_ones(value: object) -> None:
    assert not is_sealed(value)


def test_neither_a_sealer_nor_its_errors_show_keys_or_values() -> None:
    sealer = Sealer({"a": NEW})
    assert repr(sealer) == "Sealer(a)"
    with pytest.raises(Unsealable) as raised:
        sealer.open(sealer.seal("the secret itself", PLACE), "elsewhere")
    assert "secret itself" not in str(raised.value)
