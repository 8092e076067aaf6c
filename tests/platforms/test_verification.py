"""How a webhook is checked, and what is said of one that does not fit."""

import json
import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.platforms.cast import AT
from tocsin.platforms.signing import Algorithm, new_secret, signer_of, verifying_key
from tocsin.platforms.verification import HEADERS, check, check_key, verify

ID = "6593a1b2c3d4e5f6a7b8c9d0"
BODY = f'{{"id":"{ID}","type":"deployment","type_data":{{"n":1.50,"name":"café"}}}}'.encode()
SECRETS = {algorithm: new_secret(algorithm) for algorithm in Algorithm}
HMAC, ED25519 = Algorithm.HMAC, Algorithm.ED25519
KEYS = {algorithm: verifying_key(secret) for algorithm, secret in SECRETS.items()}


def sign(algorithm: Algorithm = HMAC, *, body: bytes = BODY, at: datetime = AT, **changes: str) -> dict[str, str]:
    """The headers of a webhook."""
    timestamp = str(int(at.timestamp()))
    signature = signer_of(SECRETS[algorithm]).sign(ID, timestamp, body)
    made = {"webhook-id": ID, "webhook-timestamp": timestamp, "webhook-signature": signature}
    return made | {name.replace("_", "-"): value for name, value in changes.items()}


def told(headers: dict[str, str], body: bytes = BODY, **options: Any) -> str:
    """Why a webhook is not genuine."""
    verdict = check(headers, body, **{"key": KEYS[HMAC], "now": AT} | options)
    assert not verdict.is_genuine, verdict
    return verdict.sentence


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("age", [0, 1, 299, 300, -300])
def test_what_was_signed_lately_is_genuine(algorithm: Algorithm, age: int) -> None:
    now = AT + timedelta(seconds=age)
    assert check(sign(algorithm), BODY, key=KEYS[algorithm], now=now).is_genuine


@pytest.mark.parametrize("algorithm", Algorithm)
def test_one_that_fits_among_several_is_enough(algorithm: Algorithm) -> None:
    headers = sign(algorithm)
    others = [sign(other)["webhook-signature"] for other in Algorithm if other is not algorithm]
    others += [signer_of(new_secret(algorithm)).sign(ID, headers["webhook-timestamp"], BODY), "v2,AAAA"]
    for mixed in (" ".join([*others, headers["webhook-signature"]]), " ".join([headers["webhook-signature"], *others])):
        assert check(headers | {"webhook-signature": mixed}, BODY, key=KEYS[algorithm], now=AT).is_genuine
    assert "another" in told(headers | {"webhook-signature": " ".join(others)}, key=KEYS[algorithm])


@pytest.mark.parametrize(
    ("age", "sentence"),
    [
        (timedelta(seconds=301), "sent 5 minutes ago, and 300 s are allowed: somebody may have recorded it"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(seconds=-301), "5 minutes from now, and 300 s are allowed: the clock here or there is wrong"),
    ],
)
def test_the_right_signature_of_another_time_is_refused(age: timedelta, sentence: str) -> None:
    assert sentence.removeprefix("sent ") in told(sign(), now=AT + age)
    assert check(sign(), BODY, key=KEYS[HMAC], now=AT + age, tolerance_seconds=None).is_genuine
    assert check(sign(), BODY, key=KEYS[HMAC], now=AT + age, tolerance_seconds=abs(age.total_seconds())).is_genuine


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_missing_is_named(name: str) -> None:
    assert told({each: value for each, value in sign().items() if each != name}).startswith(f"{name} is missing")
    assert told(sign() | {name: ""}).startswith(f"{name} is missing")
    assert told({}).startswith("webhook-id and webhook-timestamp and webhook-signature are missing")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"webhook_timestamp": "yesterday"}, "webhook-timestamp is not a number"),
        ({"webhook_timestamp": "²"}, "webhook-timestamp is not a number"),
        ({"webhook_timestamp": "-1"}, "webhook-timestamp is not a number"),
        ({"webhook_timestamp": "1" * 13}, "webhook-timestamp is not a number"),
        ({"webhook_id": "a.b"}, "webhook-id is no id"),
        ({"webhook_id": "é"}, "webhook-id is no id"),
        ({"webhook_signature": "é"}, "webhook-signature was changed"),
        ({"webhook_signature": "sha256=abc"}, "webhook-signature holds no signature: it begins with v1, or v1a,"),
        ({"webhook_signature": "v1"}, "webhook-signature is cut or changed"),
        ({"webhook_signature": "v1,"}, "webhook-signature is cut or changed: after v1, there are 32 bytes in base64"),
        ({"webhook_signature": "v1,AAAA"}, "webhook-signature is cut or changed"),
        ({"webhook_signature": "v1,!"}, "webhook-signature is cut or changed"),
    ],
)
def test_a_header_that_cannot_be_read_is_named(changes: dict[str, str], sentence: str) -> None:
    assert told(sign(**changes)).startswith(sentence)


def test_the_other_kind_of_key_is_asked_for() -> None:
    assert "give the public key, whpk_..." in told(sign(ED25519), key=KEYS[HMAC])
    assert "give that, whsec_..." in told(sign(HMAC), key=KEYS[ED25519])


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (BODY + b"\n", "line ends were added at its end"),
        (BODY + b"\r\n", "line ends were added at its end"),
        (b"\xef\xbb\xbf" + BODY, "a byte order mark was put before it"),
        (BODY.replace(b",", b", ").replace(b":", b": "), "it was parsed and written again as JSON"),
        (BODY.replace(b",", b",\r\n  "), "it was parsed and written again as JSON"),
        (b'{"n":1,"name":"caf\\u00e9"}', "it was parsed and written again as JSON"),
    ],
)
def test_what_often_happens_to_a_body_is_recognised(algorithm: Algorithm, body: bytes, sentence: str) -> None:
    original = '{"n":1,"name":"café"}'.encode() if body.startswith(b'{"n"') else BODY
    why = told(sign(algorithm, body=original), body, key=KEYS[algorithm])
    word = "secret" if algorithm is HMAC else "public key"
    assert why.startswith(f"the {word} is right, but the body was changed: {sentence}")


def test_line_ends_that_were_changed_are_recognised() -> None:
    assert "line ends were changed" in told(sign(body=b'{"a":\n1}'), b'{"a":\r\n1}')


@pytest.mark.parametrize(
    ("body", "changes", "sentence"),
    [
        (BODY, {}, "it was made with another secret, or the body was changed"),
        (BODY[:-1], {}, "it is not JSON as it stands"),
        (b"", {}, "it is not JSON as it stands"),
        (b"[" * 100_000, {}, "it is not JSON as it stands"),
        (BODY[:-9], {"content_length": str(len(BODY))}, f"it has {len(BODY) - 9} bytes, and content-length says"),
        (BODY.replace(b"1.50", b"1.5 "), {}, "there are spaces or line ends in the JSON"),
        (BODY.replace(ID.encode(), b"0" * 24), {}, "belong to different messages"),
    ],
)
def test_what_cannot_be_told_apart_is_told_as_far_as_it_goes(
    body: bytes, changes: dict[str, str], sentence: str
) -> None:
    headers = sign(**changes)
    headers["webhook-signature"] = signer_of(new_secret()).sign(ID, headers["webhook-timestamp"], b"another")
    assert sentence in told(headers, body)


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_!", "plain words", "whpk_", "whpk_AAAA", "whsec_é", "é"])
def test_what_is_no_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="a signing secret is whsec_ and base64, a public key whpk_") as refused:
        check_key(key)
    assert not re.search("[!é]|plain", str(refused.value))


def test_a_private_key_and_an_api_token_are_told() -> None:
    with pytest.raises(ValueError, match="private key"):
        check_key(SECRETS[ED25519])
    with pytest.raises(ValueError, match="API token"):
        check_key("tk-us-abc")
    for key in (*KEYS.values(), b64encode(bytes(24)).decode()):
        check_key(key)


TEXTS = st.text() | st.sampled_from([ID, "1767323045", "v1,", "v1a,", "v1,AAAA v1a,", *sign().values()])


@given(
    headers=st.dictionaries(st.sampled_from([*HEADERS, "content-length"]), TEXTS),
    body=st.binary() | st.sampled_from([BODY, b"\\", b'"', b'{"id":1}', b"NaN", b'"\\ud800"']),
    key=st.sampled_from([*KEYS.values()]),
)
@example(headers=sign(), body=b'"\\ud800"', key=KEYS[HMAC])
def test_nothing_that_was_not_signed_is_genuine_and_everything_gets_a_sentence(
    headers: dict[str, str], body: bytes, key: str
) -> None:
    verdict = check(headers, body, key=key, now=AT)
    assert verdict.sentence
    assert verdict.is_genuine is (key == KEYS[HMAC] and headers | sign() == headers and body == BODY)
    assert key not in verdict.sentence


@given(body=st.binary(), where=st.integers(0), bit=st.integers(0, 7), algorithm=st.sampled_from(Algorithm))
def test_no_bit_can_be_changed(body: bytes, where: int, bit: int, algorithm: Algorithm) -> None:
    content = [ID, "1767323045"]
    signature = signer_of(SECRETS[algorithm]).sign(*content, body)
    changed = bytearray(body or b"\0")
    changed[where % len(changed)] ^= 1 << bit
    assert verify(KEYS[algorithm], *content, body, signature)
    assert not verify(KEYS[algorithm], *content, bytes(changed), signature)


def test_an_event_of_ours_looks_as_it_was_sent() -> None:
    assert json.loads(BODY)["id"] == ID
    assert datetime.fromtimestamp(int(sign()["webhook-timestamp"]), UTC) == AT
