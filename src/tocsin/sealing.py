"""Sealing what a copy of the database must not tell: AES-256-GCM, with keys that the database does not hold."""

import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = "sealed1"
"""What every sealed value begins with: the format, then the key's id, then nonce and ciphertext in base64."""

NONCE_BYTES = 12
"""Random ones, so that one key is good for 2^32 values (NIST SP 800-38D, 8.3)."""

_SIGNING = b"tocsin signatures"


class Unsealable(ValueError):
    """A value that no key here opens, or that was sealed for another place."""


class Sealer:
    """Seals with the first of its keys, and opens with whichever the value names.

    Each value is bound to its place, as in `notifiers.secret.no-...`: moved to another row or column it does not open.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys` are 32 bytes each, by their ids, the one to seal with first."""
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._signing_keys = {key_id: hmac.digest(key, _SIGNING, "sha256") for key_id, key in keys.items()}
        self.key_ids = tuple(self._ciphers)
        self.key_id = self.key_ids[0]

    def __repr__(self) -> str:
        return f"Sealer({', '.join(self._ciphers)})"

    def seal(self, text: str, place: str) -> str:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.key_id].encrypt(nonce, text.encode(), _bound_to(self.key_id, place))
        return f"{MARK}:{self.key_id}:{b64encode(nonce + sealed).decode('ascii')}"

    def open(self, sealed: str, place: str) -> str:
        """Raises Unsealable."""
        if not is_sealed(sealed):
            raise Unsealable(f"{place} is not sealed")
        _, key_id, encoded = sealed.split(":", 2)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unsealable(f"{place} is sealed with the key {key_id}, which TOCSIN_SECRET_KEY does not name")
        try:
            raw = b64decode(encoded, validate=True)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(key_id, place)).decode()
        except (Base64Error, InvalidTag, ValueError):
            raise Unsealable(f"{place} was changed, or sealed for another place") from None

    def sign(self, message: bytes) -> bytes:
        """A signature (32 bytes) that only the first key makes: HMAC-SHA256, with a key derived from it."""
        return hmac.digest(self._signing_keys[self.key_id], message, "sha256")

    def has_signed(self, key_id: str, message: bytes, signature: bytes) -> bool | None:
        """Whether a key made this signature; None when that key is not here."""
        key = self._signing_keys.get(key_id)
        return None if key is None else hmac.compare_digest(hmac.digest(key, message, "sha256"), signature)

    def is_current(self, sealed: str) -> bool:
        """Whether it is sealed with the first key."""
        return is_sealed(sealed) and sealed.split(":", 2)[1] == self.key_id


def is_sealed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(f"{MARK}:") and value.count(":") == 2


def _bound_to(key_id: str, place: str) -> bytes:
    return f"{key_id} {place}".encode()
