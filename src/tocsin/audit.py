"""What the audit log records: who did what to which object, from where; and the chain that shows if it was changed.

Pure. Entries are numbered without a gap; each carries a digest of itself and of the digest before it, so that none can
be changed, taken out or put in unseen. Whoever could write to the database could make all of these anew: so each digest
is also signed with a key that the database does not hold.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.model import User

NO_DIGEST = bytes(32)
"""What stands before the first entry."""


class Action(StrEnum):
    """What was done. An object's name comes first; adding one is a line in the changelog."""

    USER_ADDED = "user.added"
    USER_CHANGED = "user.changed"
    PASSWORD_SET = "user.password_set"  # noqa: S105 - a word
    LINK_MADE = "user.link_made"
    SIGNED_IN = "user.signed_in"
    SIGNED_OUT = "user.signed_out"
    TOKEN_ADDED = "token.added"  # noqa: S105 - a word
    TOKEN_RENEWED = "token.renewed"  # noqa: S105 - a word
    TOKEN_REMOVED = "token.removed"  # noqa: S105 - a word
    APP_ADDED = "app.added"
    APP_RENAMED = "app.renamed"
    APP_REMOVED = "app.removed"
    COLLABORATOR_ADDED = "collaborator.added"
    COLLABORATOR_JOINED = "collaborator.joined"
    COLLABORATOR_CHANGED = "collaborator.changed"
    COLLABORATOR_REMOVED = "collaborator.removed"
    VARIABLES_SET = "variable.set"
    VARIABLE_REMOVED = "variable.removed"
    NOTIFIER_ADDED = "notifier.added"
    NOTIFIER_CHANGED = "notifier.changed"
    NOTIFIER_REMOVED = "notifier.removed"
    NOTIFIER_PAUSED = "notifier.paused"
    NOTIFIER_RESUMED = "notifier.resumed"
    NOTIFIER_TESTED = "notifier.tested"
    NOTIFIER_DISABLED = "notifier.disabled"
    RECIPIENT_LEFT = "notifier.recipient_left"
    SECRET_READ = "secret.read"  # noqa: S105 - a word
    SECRET_ROTATED = "secret.rotated"  # noqa: S105 - a word
    SECRET_REVOKED = "secret.revoked"  # noqa: S105 - a word
    ALERT_ADDED = "alert.added"
    ALERT_CHANGED = "alert.changed"
    ALERT_REMOVED = "alert.removed"
    DELIVERY_REPLAYED = "delivery.replayed"
    DELIVERY_CANCELLED = "delivery.cancelled"
    DELIVERIES_REPLAYED = "notifier.replayed"
    KEYS_ROTATED = "keys.rotated"
    PRUNED = "audit.pruned"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts, from which address, by which token: a user, the operator on the command line, the recipient of a mail,
    a visitor, or Tocsin itself.
    """

    kind: str
    user_id: str | None = None
    username: str | None = None
    token_id: str | None = None
    address: str | None = None
    request_id: str | None = None


SYSTEM = Actor(kind="system")
OPERATOR = Actor(kind="operator")

_ACTOR: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


def actor() -> Actor:
    """Who acts in this task."""
    return _ACTOR.get()


def set_actor(who: Actor) -> None:
    """Say who acts in this task from here on, and in those that it starts."""
    _ACTOR.set(who)


def identify(user: User, token_id: str | None = None) -> None:
    """Say that it is this user who acts in this task, from where is known already."""
    who = {"kind": "user", "user_id": user.id, "username": user.username, "token_id": token_id}
    _ACTOR.set(msgspec.structs.replace(_ACTOR.get(), **who))


@contextmanager
def acting(as_whom: Actor) -> Iterator[None]:
    token = _ACTOR.set(as_whom)
    try:
        yield
    finally:
        _ACTOR.reset(token)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be recorded; `details` holds no secrets. Made in the task of whoever acts."""

    action: Action
    at: datetime
    app_id: str | None = None
    object_id: str | None = None
    object_name: str | None = None
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)
    by: Actor = msgspec.field(default_factory=actor)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded note, as the chain holds it; `details` is its JSON text."""

    number: int
    at: datetime
    actor: str
    user_id: str | None
    username: str | None
    token_id: str | None
    address: str | None
    request_id: str | None
    app_id: str | None
    action: str
    object_id: str | None
    object_name: str | None
    details: str

    def digest(self, before: bytes) -> bytes:
        """SHA-256 of the digest before this entry and of all that it says (32 bytes)."""
        said = [getattr(self, name) for name in self.__struct_fields__ if name != "at"]
        return hashlib.sha256(before + msgspec.json.encode([self.at.astimezone(UTC), *said])).digest()


def entry_of(note: Note, number: int) -> Entry:
    return Entry(
        number=number,
        at=note.at,
        actor=note.by.kind,
        user_id=note.by.user_id,
        username=note.by.username,
        token_id=note.by.token_id,
        address=note.by.address,
        request_id=note.by.request_id,
        app_id=note.app_id,
        action=note.action.value,
        object_id=note.object_id,
        object_name=note.object_name,
        details=msgspec.json.encode(dict(note.details), order="sorted").decode(),
    )


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What of these facts is another now, as `{name: {"from": ..., "to": ...}}`."""
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: {"from": before.get(name), "to": after.get(name)} for name in names if before.get(name) != after.get(name)
    }
