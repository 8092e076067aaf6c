"""Changing the key that secrets are sealed with, while everything runs."""

import msgspec

from tocsin.audit import Action, Note
from tocsin.audit_log import AuditLog
from tocsin.clock import Clock
from tocsin.sealing import Sealer
from tocsin.store.audit import add_note
from tocsin.store.port import Store
from tocsin.store.sealed import SEALED, reseal


class Resealed(msgspec.Struct, frozen=True):
    """How many values were sealed anew, and the id of the key that all are sealed with now."""

    count: int
    key_id: str


class Keys:
    """The verb over the keys of secrets at rest."""

    def __init__(self, *, store: Store, clock: Clock, sealer: Sealer, audit: AuditLog) -> None:
        """`audit` is proved before the first key vouches for it."""
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._audit = audit

    async def rotate(self) -> Resealed:
        """Seal every secret with the first key, a few rows at a time. It may be broken off, and repeated.

        Raises AuditBroken, when all is sealed, for an audit log that the first key must not vouch for.
        """
        total = 0
        for column in SEALED:
            last_id: str | None = ""
            while last_id is not None:
                count, last_id = await self._store.write(reseal, column, last_id)
                total += count
        # This entry vouches with the first key for all before it: so they are proved first, while the others are here.
        await self._audit.verify()
        note = Note(action=Action.KEYS_ROTATED, at=self._clock.now(), object_id=self._sealer.key_id)
        await self._store.write(add_note, note)
        return Resealed(total, self._sealer.key_id)
