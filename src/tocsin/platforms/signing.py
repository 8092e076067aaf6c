"""Standard Webhooks signatures (https://www.standardwebhooks.com): HMAC-SHA256 is `v1`, ed25519 is `v1a`.

A stored secret tells its algorithm by its prefix. How receivers check signatures is in `verification`.
"""

import hashlib
import os
from base64 import b64encode
from binascii import a2b_base64, b2a_base64
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
_BLOCK_BYTES = 64
_SECRET_BYTES = 32  # the specification asks for 24 to 64; and the length of every ed25519 key (RFC 8032, 5.1.5)


class Algorithm(StrEnum):
    HMAC = "hmac-sha256"
    ED25519 = "ed25519"


def new_secret(algorithm: Algorithm = Algorithm.HMAC) -> str:
    """A fresh secret to sign with: a prefix and 32 random bytes in base64."""
    prefix = PRIVATE_PREFIX if algorithm is Algorithm.ED25519 else SECRET_PREFIX
    return prefix + b64encode(os.urandom(_SECRET_BYTES)).decode()


def algorithm_of(secret: str) -> Algorithm:
    return Algorithm.ED25519 if secret.startswith(PRIVATE_PREFIX) else Algorithm.HMAC


def verifying_key(secret: str) -> str:
    """What a receiver verifies with: the secret itself, or the public half of a key pair. Raises ValueError."""
    if algorithm_of(secret) is Algorithm.HMAC:
        return secret
    return PUBLIC_PREFIX + b64encode(_private_key(secret).public_key().public_bytes_raw()).decode()


class Signer:
    """Signs with one secret. HMAC-SHA256 (RFC 2104) with what depends on the key alone hashed beforehand."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: str) -> None:
        """Raises ValueError when the secret is not one of ours."""
        key = decode_key(secret, SECRET_PREFIX)
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, message_id: str, timestamp: str, body: bytes) -> str:
        """One signature, as the `webhook-signature` header holds it."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(signed_bytes(message_id, timestamp, body))
        outer.update(inner.digest())
        return "v1," + b2a_base64(outer.digest(), newline=False).decode("ascii")


class KeyPairSigner:
    """Signs with the private half of an ed25519 key pair."""

    __slots__ = ("_key",)

    def __init__(self, secret: str) -> None:
        """Raises ValueError when the secret is not one of ours."""
        self._key = _private_key(secret)

    def sign(self, message_id: str, timestamp: str, body: bytes) -> str:
        """One signature, as the `webhook-signature` header holds it."""
        signature = self._key.sign(signed_bytes(message_id, timestamp, body))
        return "v1a," + b2a_base64(signature, newline=False).decode("ascii")


def signer_of(secret: str) -> Signer | KeyPairSigner:
    """What signs with this secret. Raises ValueError when it is not one of ours."""
    return KeyPairSigner(secret) if algorithm_of(secret) is Algorithm.ED25519 else Signer(secret)


def signed_bytes(message_id: str, timestamp: str, body: bytes) -> bytes:
    """What is signed: unambiguous, for neither id nor timestamp holds a dot."""
    return f"{message_id}.{timestamp}.".encode() + body


def decode_key(text: str, prefix: str) -> bytes:
    """The bytes of a key after its prefix. Raises ValueError, without the text in it."""
    try:
        key = a2b_base64(text.removeprefix(prefix), strict_mode=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError(f"a signing secret is {prefix} and base64") from None
    return key


def _private_key(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(decode_key(secret, PRIVATE_PREFIX))
