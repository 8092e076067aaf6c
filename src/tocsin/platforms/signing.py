"""Standard Webhooks signatures (https://www.standardwebhooks.com), symmetric `v1`."""

import hashlib
import hmac
import os
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret
_BLOCK_BYTES = 64
_SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + b64encode(os.urandom(_SECRET_BYTES)).decode()


class Signer:
    """Signs with one secret. HMAC-SHA256 (RFC 2104) with what depends on the key alone hashed beforehand."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: str) -> None:
        """Raises ValueError when the secret is not one of ours."""
        key = _key(secret)
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, message_id: str, timestamp: str, body: bytes) -> str:
        """The value of the `webhook-signature` header."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(f"{message_id}.{timestamp}.".encode() + body)
        outer.update(inner.digest())
        return "v1," + b2a_base64(outer.digest(), newline=False).decode("ascii")


def verify(secret: str, message_id: str, timestamp: str, body: bytes, signature: str) -> bool:
    """Whether one of the space-separated signatures is ours; how old the timestamp may be is the caller's matter."""
    expected = Signer(secret).sign(message_id, timestamp, body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signature.split(" "))


def _key(secret: str) -> bytes:
    try:
        key = a2b_base64(secret.removeprefix(SECRET_PREFIX), strict_mode=True)
    except Base64Error:
        key = b""
    if not key:
        raise ValueError("a signing secret is whsec_ and base64") from None
    return key
