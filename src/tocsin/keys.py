"""Changing the key that secrets are sealed with, while everything runs."""

import msgspec

from tocsin.audit import Action, Note
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

    def __init__(self, *, store: Store, clock: Clock, sealer: Sealer) -> None:
        self._store = store
        self._clock = clock
        self._sealer = sealer

    async def rotate(self) -> Resealed:
        """Seal every secret with the first key, a few rows at a time. It may be broken off, and repeated."""
        total = 0
        for column in SEALED:
            last_id: str | None = ""
            while last_id is not None:
                count, last_id = await self._store.write(reseal, column, last_id)
                total += count
        # From this entry on, and so for all before it, the audit log is vouched for by the first key.
        note = Note(action=Action.KEYS_ROTATED, at=self._clock.now(), object_id=self._sealer.key_id)
        await self._store.write(add_note, note)
        return Resealed(total, self._sealer.key_id)
