"""What proves who asks: API tokens, the short-lived JWT given for one, and the headers that carry them. Pure."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

import jwt
import msgspec

from tocsin.errors import NotAuthenticated
from tocsin.ids import new_uuid7

PREFIX = "tk-us-"
SECRET_BYTES = 32
JWT_LIFETIME = timedelta(hours=1)
MAX_HEADER_CHARACTERS = 4096
ALGORITHM = "HS256"


class Bearer(msgspec.Struct, frozen=True):
    value: str

    def __repr__(self) -> str:
        return "Bearer(...)"


class Basic(msgspec.Struct, frozen=True):
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Basic({self.username!r}, ...)"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a JWT says: whose it is, for which API token it was given, and until when."""

    user_id: str = msgspec.field(name="sub")
    token_id: str = msgspec.field(name="tid")
    mark: str = msgspec.field(name="mrk")
    expires_at: float = msgspec.field(name="exp")


def new_secret() -> str:
    """The secret of an API token: the prefix and 43 URL-safe characters of 32 random bytes."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_secret(secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so that a fast hash is right (passwords need a slow one)."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def mark_of(secret_hash: bytes) -> str:
    """What ties a JWT to the secret it was given for, so that renewing the token ends it."""
    return hashlib.sha256(b"jwt:" + secret_hash).hexdigest()[:16]


def issue_jwt(*, key: bytes, issuer: str, user_id: str, token_id: str, secret_hash: bytes, now: datetime) -> str:
    """A JWT for an hour. Existing clients parse it and cannot do without `exp`, `sub`, `iss` and `jti`."""
    claims = {
        "sub": user_id,
        "iss": issuer,
        "jti": new_uuid7("jt"),
        "iat": int(now.timestamp()),
        "exp": int((now + JWT_LIFETIME).timestamp()),
        "tid": token_id,
        "mrk": mark_of(secret_hash),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def read_jwt(text: str, *, keys: Sequence[bytes], issuer: str, now: datetime) -> Claims:
    """Check a JWT's signature by any of the keys, its issuer and its time. Raises NotAuthenticated."""
    for key in keys:
        claims = _read_jwt(text, key, issuer)
        if claims is not None:
            break
    else:
        raise NotAuthenticated("the bearer token is not valid: exchange your API token again")
    if now.timestamp() >= claims.expires_at:
        raise NotAuthenticated("the bearer token has expired: exchange your API token again")
    return claims


def _read_jwt(text: str, key: bytes, issuer: str) -> Claims | None:
    try:
        payload = jwt.decode(
            text,
            key,
            algorithms=[ALGORITHM],
            issuer=issuer,
            # The time is checked by the clock that everything else goes by.
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "sub", "iss", "jti"]},
        )
        return msgspec.convert(payload, Claims)
    except (jwt.InvalidTokenError, msgspec.ValidationError):
        return None


def read_authorization(header: str | None) -> Bearer | Basic:
    """What an Authorization header carries. Raises NotAuthenticated."""
    if not header:
        raise NotAuthenticated
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if value and len(header) <= MAX_HEADER_CHARACTERS:
        match scheme.lower():
            case "bearer":
                return Bearer(value)
            case "basic":
                return _read_basic(value)
    raise NotAuthenticated


def _read_basic(value: str) -> Basic:
    try:
        text = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise NotAuthenticated("the Authorization header is not valid Basic authentication") from None
    username, colon, password = text.partition(":")
    if not colon or "\0" in text:
        raise NotAuthenticated("the Authorization header is not valid Basic authentication")
    return Basic(username, password)
