"""The webhook platform: the event's own bytes, signed."""

import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

import tocsin
from tests.platforms.cast import BODY, SECRET, make_outgoing
from tests.platforms.receiver import PlainNetwork, receiving, send
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Reason
from tocsin.platforms.signing import SECRET_PREFIX, Signer, new_secret, verify
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


@given(key=st.binary(min_size=1, max_size=200), body=st.binary(max_size=200))
def test_a_signature_is_the_hmac_of_the_library(key: bytes, body: bytes) -> None:
    signer = Signer(SECRET_PREFIX + b64encode(key).decode())
    expected = "v1," + b64encode(hmac.digest(key, b"id.1." + body, "sha256")).decode()
    assert [signer.sign("id", "1", body) for _ in range(2)] == [expected] * 2


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


def test_a_signature_is_verified_among_several_and_not_for_other_bytes() -> None:
    signature = Signer(SECRET).sign("id", "1", b"body")
    assert verify(SECRET, "id", "1", b"body", f"v1,AAAA {signature}")
    assert not verify(SECRET, "id", "1", b"Body", signature)
    assert not verify(SECRET, "id", "2", b"body", signature)
    assert not verify(new_secret(), "id", "1", b"body", signature)
    assert not verify(SECRET, "id", "1", b"body", "v1,é")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "plain words"])
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
