"""Standard Webhooks signatures (https://www.standardwebhooks.com), symmetric `v1`."""

import hmac
import os
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret
_SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + b64encode(os.urandom(_SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of the `webhook-signature` header. Raises ValueError when the secret is not one of ours."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    # Not hmac.digest: it gives up the interpreter's lock, which costs more than the hash of so short a text.
    digest = hmac.new(_key(secret), signed, "sha256").digest()
    return "v1," + b2a_base64(digest, newline=False).decode("ascii")


def verify(secret: str, message_id: str, timestamp: str, body: bytes, signature: str) -> bool:
    """Whether one of the space-separated signatures is ours; how old the timestamp may be is the caller's matter."""
    expected = sign(secret, message_id, timestamp, body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signature.split(" "))


def _key(secret: str) -> bytes:
    try:
        key = a2b_base64(secret.removeprefix(SECRET_PREFIX), strict_mode=True)
    except Base64Error:
        key = b""
    if not key:
        raise ValueError("a signing secret is whsec_ and base64") from None
    return key
