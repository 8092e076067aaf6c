"""The root secret and the one key a purpose that is derived from it."""

import base64
import binascii
import hmac
import os
from pathlib import Path

from tocsin.errors import ConfigError

KEY_BYTES = 32


class Keyring:
    """Keys by purpose. With several root keys the first makes new things; all are tried on old ones."""

    def __init__(self, roots: list[tuple[str, bytes]]) -> None:
        self._roots = roots

    def __repr__(self) -> str:
        return f"Keyring({', '.join(name for name, _ in self._roots)})"

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose: one block of HKDF-Expand with HMAC-SHA256 (RFC 5869, 2.3)."""
        return hmac.digest(self._roots[0][1], f"tocsin {purpose}\x01".encode(), "sha256")


def parse_keys(text: str) -> Keyring:
    """Read TOCSIN_SECRET_KEY: base64 of 32 bytes, or `ID:BASE64,ID:BASE64`. Raises ConfigError."""
    roots = []
    for position, part in enumerate(text.split(",")):
        name, has_name, encoded = part.strip().rpartition(":")
        roots.append((name if has_name else str(position), _decode(encoded)))
    if len({name for name, _ in roots}) != len(roots):
        raise ConfigError("TOCSIN_SECRET_KEY names a key id twice")
    return Keyring(roots)


def _decode(encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError("TOCSIN_SECRET_KEY must be base64 of 32 bytes, as from: openssl rand -base64 32")
    return key


def load_or_make(path: Path) -> Keyring:
    """Read the key file beside an embedded database, made with mode 0600 when it is not there yet."""
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(f"cannot read or make the key file {path}: {error.strerror}") from error
    return parse_keys(text)


def _make(path: Path) -> None:
    # Written whole before it gets its name, so that no half-written key is ever read.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
