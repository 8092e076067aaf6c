"""The root secret and the one key a purpose that is derived from it."""

import base64
import binascii
import hashlib
import hmac
import os
import re
from pathlib import Path

from tocsin.errors import ConfigError

KEY_BYTES = 32

SECRETS_AT_REST = "secrets at rest"
"""The purpose of the key that seals what the database holds."""

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)


class Keyring:
    """Keys by purpose. With several root keys the first makes new things; all are tried on old ones."""

    def __init__(self, roots: list[tuple[str, bytes]]) -> None:
        self._roots = roots

    def __repr__(self) -> str:
        return f"Keyring({', '.join(name for name, _ in self._roots)})"

    def derive(self, purpose: str) -> dict[str, bytes]:
        """32 bytes of each root for one purpose, by the ids of the roots, in their order.

        One block of HKDF-Expand with HMAC-SHA256 (RFC 5869, 2.3).
        """
        info = f"tocsin {purpose}\x01".encode()
        return {name: hmac.digest(root, info, "sha256") for name, root in self._roots}


def parse_keys(text: str) -> Keyring:
    """Read TOCSIN_SECRET_KEY: base64 of 32 bytes, or `ID:BASE64,ID:BASE64`. Raises ConfigError.

    A key without an id is called by its fingerprint, which stays the same wherever in the list it stands.
    """
    roots = []
    for part in text.split(","):
        name, has_name, encoded = part.strip().rpartition(":")
        key = _decode(encoded)
        if has_name and not _KEY_ID.fullmatch(name):
            raise ConfigError("TOCSIN_SECRET_KEY: a key id has 1 to 32 letters, digits, dots, dashes or underscores")
        roots.append((name if has_name else hashlib.sha256(b"tocsin key id" + key).hexdigest()[:8], key))
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


def add_key(path: Path) -> str:
    """Put a new key before those of the key file, and give its id. Raises ConfigError."""
    new = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    try:
        old = path.read_text(encoding="ascii").strip()
        parse_keys(old)
        _draft(path, f"{new},{old}").replace(path)
        _sync_folder(path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read or write the key file {path}: {error}") from error
    return next(iter(parse_keys(new).derive("its id")))


def _make(path: Path) -> None:
    draft = _draft(path, base64.b64encode(os.urandom(KEY_BYTES)).decode())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A new name survives a power cut once its folder was synced; what is sealed with a lost key is lost too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _draft(path: Path, text: str) -> Path:
    """A file beside that one with this text, synced: written whole before it gets its name, so nobody reads half."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft
