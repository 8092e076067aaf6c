"""The webhook platform: the event's own bytes, signed."""

import hmac
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

import tocsin
from tests.platforms.cast import BODY, SECRET, make_outgoing
from tests.platforms.receiver import PlainNetwork, receiving, send
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Reason
from tocsin.platforms.signing import (
    PUBLIC_PREFIX,
    SECRET_PREFIX,
    Algorithm,
    Signer,
    algorithm_of,
    new_secret,
    signer_of,
    verifying_key,
)
from tocsin.platforms.verification import verify
from tocsin.platforms.webhook import WebhookPlatform

WEBHOOK = WebhookPlatform()


def test_the_signature_is_that_of_the_specification() -> None:
    # The vector of the Standard Webhooks specification.
    signature = Signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_ed25519_signature_is_that_of_the_specification_s_own_library() -> None:
    # The vector that the reference library tests itself with.
    secret = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
    content = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    signature = signer_of(secret).sign(*content)
    assert signature == "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    assert verify(verifying_key(secret), *content, signature)


@given(key=st.binary(min_size=1, max_size=200), body=st.binary(max_size=200))
def test_a_signature_is_the_hmac_of_the_library(key: bytes, body: bytes) -> None:
    signer = Signer(SECRET_PREFIX + b64encode(key).decode())
    expected = "v1," + b64encode(hmac.digest(key, b"id.1." + body, "sha256")).decode()
    assert [signer.sign("id", "1", body) for _ in range(2)] == [expected] * 2


@given(secret=st.binary(min_size=32, max_size=32), other=st.binary(min_size=32, max_size=32), body=st.binary())
def test_an_ed25519_signature_fits_its_own_key_and_bytes_alone(secret: bytes, other: bytes, body: bytes) -> None:
    signing = "whsk_" + b64encode(secret).decode()
    public = Ed25519PrivateKey.from_private_bytes(secret).public_key()
    assert verifying_key(signing) == PUBLIC_PREFIX + b64encode(public.public_bytes_raw()).decode()
    signature = signer_of(signing).sign("id", "1", body)
    public.verify(b64decode(signature.removeprefix("v1a,")), b"id.1." + body)
    assert verify(verifying_key(signing), "id", "1", body, signature)
    assert not verify(verifying_key(signing), "id", "1", body + b" ", signature)
    assert not verify(verifying_key(signing), "id", "2", body, signature)
    if other != secret:
        assert not verify(verifying_key("whsk_" + b64encode(other).decode()), "id", "1", body, signature)


@pytest.mark.parametrize("present", Algorithm)
@pytest.mark.parametrize("previous", Algorithm)
async def test_while_two_secrets_are_good_receivers_with_either_verify(present: Algorithm, previous: Algorithm) -> None:
    secrets = (new_secret(present), new_secret(previous))
    async with receiving((204, b"")) as receiver:
        settings = {"webhook_url": receiver.url}
        now = datetime.now(UTC)
        outgoing = make_outgoing(settings, secret=secrets[0], previous_secret=secrets[1], sent_at=now)
        await send(WEBHOOK, outgoing, PlainNetwork())
    [(_, headers, body)] = receiver.received
    signatures = headers["webhook-signature"].split(" ")
    versions = {Algorithm.HMAC: "v1", Algorithm.ED25519: "v1a"}
    assert [each.partition(",")[0] for each in signatures] == [versions[present], versions[previous]]
    content = (headers["webhook-id"], headers["webhook-timestamp"], body)
    for secret, signature in zip(secrets, signatures, strict=True):
        assert verify(verifying_key(secret), *content, signature)
        assert verify(verifying_key(secret), *content, headers["webhook-signature"])
        if algorithm_of(secret) is Algorithm.HMAC:
            assert Webhook(secret).verify(body, headers) == json.loads(BODY)
    assert not verify(verifying_key(new_secret(present)), *content, headers["webhook-signature"])


async def test_a_receiver_gets_the_bytes_and_can_verify_them() -> None:
    secret = new_secret()
    async with receiving((204, b"")) as receiver:
        outgoing = make_outgoing({"webhook_url": receiver.url}, secret=secret, sent_at=datetime.now(UTC))
        await send(WEBHOOK, outgoing, PlainNetwork())
    [(line, headers, body)] = receiver.received
    assert line.startswith("POST /hooks/")
    assert body == BODY
    assert Webhook(secret).verify(body, headers) == json.loads(BODY)


def test_the_headers_are_exactly_the_documented_ones() -> None:
    request = WEBHOOK.request(make_outgoing({"webhook_url": "https://x.test/"}, attempt=3))
    assert request.headers == (
        ("content-type", "application/json"),
        ("user-agent", f"Tocsin/{tocsin.__version__}"),
        ("webhook-id", "6593a1b2c3d4e5f6a7b8c9d0"),
        ("webhook-timestamp", "1767323045"),
        ("webhook-signature", Signer(SECRET).sign("6593a1b2c3d4e5f6a7b8c9d0", "1767323045", BODY)),
        ("tocsin-delivery-id", "de-01890000-0000-7000-8000-000000000001"),
        ("tocsin-attempt", "3"),
    )


def test_a_retry_is_signed_anew_over_the_same_bytes() -> None:
    first = make_outgoing({"webhook_url": "https://x.test/"})
    later = make_outgoing({"webhook_url": "https://x.test/"}, attempt=2, sent_at=first.sent_at + timedelta(hours=1))
    one, two = dict(WEBHOOK.request(first).headers), dict(WEBHOOK.request(later).headers)
    assert one["webhook-id"] == two["webhook-id"]
    assert one["webhook-signature"] != two["webhook-signature"]
    assert WEBHOOK.request(first).body is WEBHOOK.request(later).body


def test_secrets_are_long_random_and_of_the_documented_form() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("whsec_") and len(secret) == 6 + 44 for secret in secrets)
    pairs = {new_secret(Algorithm.ED25519) for _ in range(100)}
    assert len(pairs) == 100
    assert all(secret.startswith("whsk_") and len(secret) == 5 + 44 for secret in pairs)


def test_a_signature_is_verified_among_several_and_not_for_other_bytes() -> None:
    signature = Signer(SECRET).sign("id", "1", b"body")
    assert verify(SECRET, "id", "1", b"body", f"v1,AAAA {signature}")
    assert not verify(SECRET, "id", "1", b"Body", signature)
    assert not verify(SECRET, "id", "2", b"body", signature)
    assert not verify(new_secret(), "id", "1", b"body", signature)
    assert not verify(SECRET, "id", "1", b"body", "v1,é")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "plain words", "whsk_", "whsk_!", "whsk_AAAA"])
def test_a_broken_secret_is_a_misconfiguration_that_does_not_show_it(secret: str) -> None:
    with pytest.raises(PermanentFailure) as failed:
        WEBHOOK.request(make_outgoing({"webhook_url": "https://x.test/"}, secret=secret))
    assert failed.value.reason is Reason.MISCONFIGURED
    assert "!" not in str(failed.value)


async def test_a_receiver_that_hangs_up_is_tried_again() -> None:
    async with receiving(None) as receiver:
        with pytest.raises(TemporaryFailure):
            await send(WEBHOOK, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())


async def test_a_receiver_that_is_gone_is_not_tried_again() -> None:
    async with receiving((410, b"")) as receiver:
        with pytest.raises(PermanentFailure) as failed:
            await send(WEBHOOK, make_outgoing({"webhook_url": receiver.url}), PlainNetwork())
    assert failed.value.reason is Reason.GONE


def test_deliveries_outlive_the_retries() -> None:
    assert WEBHOOK.expires_after > timedelta(hours=76)
