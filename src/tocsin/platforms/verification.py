"""How a receiver checks a webhook, and what is wrong with one that does not fit. Pure."""

import hmac
import json
import re
from binascii import a2b_base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tocsin.platforms.signing import (
    PRIVATE_PREFIX,
    PUBLIC_PREFIX,
    SECRET_PREFIX,
    Signer,
    decode_key,
    signed_bytes,
)

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
TOLERANCE_SECONDS = 300
"""What the specification's libraries allow."""

_SIGNATURE_BYTES = {"v1": 32, "v1a": 64}
_JSON_SPACE = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


class Verdict(msgspec.Struct, frozen=True):
    is_genuine: bool
    sentence: str


def verify(key: str, message_id: str, timestamp: str, body: bytes, signature: str) -> bool:
    """Whether one of the space-separated signatures fits; how old the timestamp may be is the caller's matter.

    `key` is a secret (`whsec_`) or a public key (`whpk_`). Raises ValueError when it is neither.
    """
    if key.startswith(PUBLIC_PREFIX):
        public = Ed25519PublicKey.from_public_bytes(decode_key(key, PUBLIC_PREFIX))
        signed = signed_bytes(message_id, timestamp, body)
        return any(_fits(public, each, signed) for each in signature.split(" "))
    expected = Signer(key).sign(message_id, timestamp, body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signature.split(" "))


def check_key(key: str) -> None:
    """Raise ValueError, with a sentence that does not show it, for what nobody can verify with."""
    if key.startswith(PRIVATE_PREFIX):
        raise ValueError("this is a private key, which signs; what verifies is the public one, whpk_...")
    if key.startswith("tk-"):
        raise ValueError("this is an API token; a signing secret begins with whsec_, a public key with whpk_")
    try:
        if key.startswith(PUBLIC_PREFIX):
            Ed25519PublicKey.from_public_bytes(decode_key(key, PUBLIC_PREFIX))
        else:
            decode_key(key, SECRET_PREFIX)
    except ValueError:
        raise ValueError("a signing secret is whsec_ and base64, a public key whpk_ and 32 bytes in base64") from None


def check(
    headers: Mapping[str, str],
    body: bytes,
    *,
    key: str,
    now: datetime,
    tolerance_seconds: float | None = TOLERANCE_SECONDS,
) -> Verdict:
    """Whether a webhook, as it came, was signed with the key of `key`, and lately; and if not, why.

    Header names are in lower case. Without a tolerance any age will do. Raises ValueError when the key is none.
    """
    problem = _problem_of_headers(headers, key)
    if problem is not None:
        return Verdict(is_genuine=False, sentence=problem)
    message_id, timestamp, signature = (headers[name] for name in HEADERS)
    if not verify(key, message_id, timestamp, body, signature):
        return Verdict(is_genuine=False, sentence=_difference(headers, body, key))
    age_seconds = round(now.timestamp()) - int(timestamp)
    word = _word(key)
    if tolerance_seconds is None or abs(age_seconds) <= tolerance_seconds:
        return Verdict(is_genuine=True, sentence=f"signed with this {word}, {_told(age_seconds)}")
    allowed = f"{tolerance_seconds:g} s are allowed"
    if age_seconds < 0:
        why = "the clock here or there is wrong"
    else:
        why = "somebody may have recorded it and sent it again, or a clock is wrong"
    sentence = f"signed with this {word}, but {_told(age_seconds)}, and {allowed}: {why}"
    return Verdict(is_genuine=False, sentence=sentence)


def _problem_of_headers(headers: Mapping[str, str], key: str) -> str | None:
    missing = [name for name in HEADERS if not headers.get(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return f"{' and '.join(missing)} {verb} missing: it was not sent by a webhook notifier, or lost them on its way"
    message_id, timestamp, signature = (headers[name] for name in HEADERS)
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return "webhook-timestamp is not a number of seconds since 1970"
    if not (message_id.isascii() and message_id.isprintable()) or set(message_id) & set(". "):
        return "webhook-id is no id: it holds a dot, a space, or what is not ASCII"
    return _problem_of_signature(signature, key)


def _problem_of_signature(signature: str, key: str) -> str | None:
    if not signature.isascii():
        return "webhook-signature was changed: it holds what is not ASCII"
    wanted = _version(key)
    given = [each.partition(",") for each in signature.split(" ")]
    versions = {version for version, *_ in given}
    if wanted in versions:
        if all(_decoded(text, wanted) is None for version, _, text in given if version == wanted):
            size = _SIGNATURE_BYTES[wanted]
            return f"webhook-signature is cut or changed: after {wanted}, there are {size} bytes in base64"
        return None
    if "v1a" in versions:
        return "it is signed with a key pair (v1a): give the public key, whpk_..., not a secret"
    if "v1" in versions:
        return "it is signed with a secret (v1): give that, whsec_..., not a public key"
    return "webhook-signature holds no signature: it begins with v1, or v1a,"


def _difference(headers: Mapping[str, str], body: bytes, key: str) -> str:
    """Why the signature does not fit, as far as the bytes tell."""
    message_id, timestamp, signature = (headers[name] for name in HEADERS)
    word = _word(key)
    for what, original in _originals(body):
        if verify(key, message_id, timestamp, original, signature):
            return f"the {word} is right, but the body was changed: {what}"
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 12 and int(length) != len(body):
        return f"the body was changed: it has {len(body)} bytes, and content-length says {length}"
    try:
        event = _loaded(body)
    except ValueError:
        return "the body was changed: it is not JSON as it stands, so it was cut, or something was added"
    if isinstance(event, dict) and event.get("id", message_id) != message_id:
        return "headers and body belong to different messages: webhook-id is not the id in the body"
    if _without_space(body) != body:
        return (
            f"the signature fits neither this body nor this {word}; there are spaces or line ends in the JSON, so it "
            "was probably parsed and written again: verify the bytes as they came"
        )
    return (
        f"the signature does not fit: it was made with another {word}, or the body was changed; the body looks as it "
        f"was sent, so compare the {word} with the notifier's first"
    )


def _originals(body: bytes) -> Iterator[tuple[str, bytes]]:
    """What the body may have been before something that often happens happened to it."""
    parsed = "it was parsed and written again as JSON; verify the bytes as they came, before anything reads them"
    yield "line ends were added at its end", body.rstrip(b"\r\n")
    yield "line ends were changed", body.replace(b"\r\n", b"\n")
    yield "a byte order mark was put before it", body.removeprefix(b"\xef\xbb\xbf")
    yield parsed, _without_space(body)
    try:
        yield parsed, json.dumps(_loaded(body), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError:
        return


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _without_space(body: bytes) -> bytes:
    return _JSON_SPACE.sub(lambda found: found[1] or b"", body)


def _fits(public: Ed25519PublicKey, given: str, signed: bytes) -> bool:
    version, _, text = given.partition(",")
    signature = _decoded(text, version) if version == "v1a" else None
    if signature is None:
        return False
    try:
        public.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _decoded(text: str, version: str) -> bytes | None:
    """The bytes of a signature; None for what cannot be one."""
    try:
        signature = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return signature if len(signature) == _SIGNATURE_BYTES[version] else None


def _version(key: str) -> str:
    return "v1a" if key.startswith(PUBLIC_PREFIX) else "v1"


def _word(key: str) -> str:
    return "public key" if key.startswith(PUBLIC_PREFIX) else "secret"


def _told(age_seconds: int) -> str:
    return f"{_span(age_seconds)} ago" if age_seconds >= 0 else f"{_span(-age_seconds)} from now"


def _span(seconds: int) -> str:
    for size, word in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
