"""The signing secrets of a notifier: the present one, and for a day the one before it. Pure."""

from datetime import datetime, timedelta

import msgspec

from tocsin.model import Notifier
from tocsin.platforms.signing import Algorithm, algorithm_of, new_secret, verifying_key

OVERLAP = timedelta(hours=24)


class SigningSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver verifies with: secrets, or the public halves of key pairs. `previous_until` is its end."""

    secret: str
    algorithm: Algorithm
    previous_secret: str | None = None
    previous_until: datetime | None = None

    def __repr__(self) -> str:
        return f"SigningSecrets({self.algorithm})"


def secrets_of(notifier: Notifier, at: datetime) -> SigningSecrets:
    """The secrets that a message which is sent at this time is signed with."""
    previous = notifier.previous_secret_at(at)
    return SigningSecrets(
        secret=verifying_key(notifier.secret),
        algorithm=algorithm_of(notifier.secret),
        previous_secret=None if previous is None else verifying_key(previous),
        previous_until=None if previous is None else notifier.previous_secret_until,
    )


def rotated(notifier: Notifier, *, algorithm: Algorithm | None, revoke_now: bool, at: datetime) -> Notifier:
    """The notifier with a new secret; without an algorithm it stays the same. One that was previous is forgotten."""
    return msgspec.structs.replace(
        notifier,
        secret=new_secret(algorithm or algorithm_of(notifier.secret)),
        previous_secret=None if revoke_now else notifier.secret,
        previous_secret_until=None if revoke_now else at + OVERLAP,
        updated_at=at,
    )


def without_previous(notifier: Notifier, at: datetime) -> Notifier:
    return msgspec.structs.replace(notifier, previous_secret=None, previous_secret_until=None, updated_at=at)
