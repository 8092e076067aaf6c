"""CloudEvents 1.0 as they come in: structured, binary and batched.

Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md and its HTTP and JSON bindings.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from tocsin.api.instants import read_instant
from tocsin.api.nesting import check_depth
from tocsin.errors import InvalidInput, Malformed
from tocsin.ingest import Draft

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NO_DATA = msgspec.Raw(b"{}")


class _CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    specversion: str = ""
    id: str = ""
    source: str = ""
    type: str = ""
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None


_ONE = msgspec.json.Decoder(_CloudEvent)
_MANY = msgspec.json.Decoder(list[_CloudEvent])


def is_binary(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request carries an event in binary mode: its attributes are headers."""
    return b"ce-specversion" in headers


def read_structured(body: bytes) -> Draft:
    """One event as JSON. Raises InvalidInput, and msgspec's errors for the caller to translate."""
    return _draft(_ONE.decode(body), "")


def read_batch(body: bytes) -> list[Draft]:
    """Several events as a JSON array."""
    return [_draft(event, f"[{position}].") for position, event in enumerate(_MANY.decode(body))]


def read_binary(headers: Mapping[bytes, bytes], body: bytes) -> Draft:
    """One event whose attributes are `ce-` headers, percent-encoded (HTTP binding, 3.1.3.2)."""

    def attribute(name: str) -> str:
        return unquote(headers.get(b"ce-" + name.encode(), b"").decode("latin-1"))

    text = body.strip()
    if text:
        msgspec.json.decode(text)  # raises for what is not JSON
    event = _CloudEvent(
        specversion=attribute("specversion"),
        id=attribute("id"),
        source=attribute("source"),
        type=attribute("type"),
        time=attribute("time"),
        datacontenttype=headers.get(b"content-type", b"").decode("latin-1") or None,
        data=msgspec.Raw(text) if text else msgspec.UNSET,
    )
    return _draft(event, "ce-")


def _draft(event: _CloudEvent, where: str) -> Draft:
    if event.specversion != "1.0":
        raise InvalidInput({f"{where}specversion": ['must be "1.0"']})
    missing = [name for name in ("id", "source", "type") if not getattr(event, name)]
    if missing:
        raise InvalidInput({f"{where}{name}": ["is required"] for name in missing})
    if not _is_json(event.datacontenttype):
        raise InvalidInput({f"{where}datacontenttype": ["must be JSON: type_data is an object"]})
    return Draft(
        type=event.type,
        type_data=_data(event, where),
        created_at=read_instant(event.time, f"{where}time"),
        dedup_key=_dedup_key(event),
        where=where,
    )


def _dedup_key(event: _CloudEvent) -> str:
    """Source and id together name an event (CloudEvents 1.0, "Uniqueness")."""
    named = b"\0".join((event.source.encode(), event.id.encode()))
    return f"ce:{hashlib.sha256(named).hexdigest()}"


def _is_json(content_type: str | None) -> bool:
    media = (content_type or "application/json").partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


def _data(event: _CloudEvent, where: str) -> msgspec.Raw:
    if event.data_base64 is not None:
        if event.data is not msgspec.UNSET:
            raise InvalidInput({f"{where}data_base64": ["cannot stand beside data"]})
        try:
            decoded = base64.b64decode(event.data_base64, validate=True).strip()
            check_depth(decoded)
            msgspec.json.decode(decoded, type=dict)
        except (binascii.Error, msgspec.DecodeError, ValueError, Malformed) as error:
            raise InvalidInput({f"{where}data_base64": ["must be base64 of a JSON object"]}) from error
        return msgspec.Raw(decoded)
    if event.data is msgspec.UNSET or bytes(event.data) == b"null":
        return NO_DATA
    if not bytes(event.data).startswith(b"{"):
        raise InvalidInput({"body" if where == "ce-" else f"{where}data": ["must be an object"]})
    return event.data
