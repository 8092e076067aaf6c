"""What can be done with the audit log: read it, and prove that it is as it was written."""

from collections.abc import Sequence

import msgspec

from tocsin.audit import NO_DIGEST, Action, Entry
from tocsin.errors import RequestError, TocsinError
from tocsin.model import App
from tocsin.sealing import Sealer
from tocsin.store import audit as verbs
from tocsin.store.audit import Head, Link
from tocsin.store.port import Store

STEP = 500
"""Entries that one look into the database reads."""


class AuditBroken(TocsinError):
    """The audit log is not as it was written."""


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """What was found unchanged: so many entries up to the head, as a later call can be asked to find again."""

    count: int
    head: Head

    def __str__(self) -> str:
        return f"{self.count} entries are as they were written; the last is {self.head.number}:{self.head.digest.hex()}"


class Recorded(msgspec.Struct, frozen=True):
    """An entry and its digest in the chain."""

    entry: Entry
    digest: bytes


class AuditLog:
    def __init__(self, *, store: Store, sealer: Sealer) -> None:
        """`sealer` has the keys that entries are signed with."""
        self._store = store
        self._sealer = sealer

    async def list(
        self, app: App, *, limit: int, offset: int = 0, before: int | None = None
    ) -> tuple[Sequence[Recorded], int]:
        """A page of an app's entries, newest first, and their number as far as it is counted."""
        found, total = await self._store.read(verbs.list_entries, app.id, limit=limit, offset=offset, before=before)
        return [Recorded(entry, digest) for entry, digest in found], total

    async def list_newest(self, *, limit: int, app: str | None = None) -> Sequence[Entry]:
        """The newest entries of all apps and of none, newest first; those of one app when its id or name is given."""
        return await self._store.read(verbs.list_newest, limit=limit, app=app)

    async def verify(self, known: Head | None = None) -> Proved:
        """Go over the whole log; `known` is a head of before, which must be part of it.

        Raises AuditBroken with a sentence that names the first entry that is wrong, and RequestError when `known` was
        pruned.
        """
        try:
            return await self._verify(known)
        except AuditBroken:
            # Entries may have been pruned between two looks; what is wrong is wrong the second time too.
            return await self._verify(known)

    async def _verify(self, known: Head | None) -> Proved:
        end = await self._store.read(verbs.read_head)
        links = _Chain(self._sealer, await self._start(), known)
        while some := await self._store.read(verbs.read_links, after=links.number, limit=STEP):
            for link in some:
                links.add(link)
        links.check_end(end)
        return Proved(count=links.count, head=Head(links.number, links.digest))

    async def _start(self) -> Head:
        """Where the entries that are left begin: after the last that was pruned."""
        pruned = await self._store.read(verbs.find_last, Action.PRUNED)
        if pruned is None:
            return Head(0, NO_DIGEST)
        try:
            told = msgspec.json.decode(pruned.details, type=_Pruned)
            start = Head(told.through, bytes.fromhex(told.digest))
        except (msgspec.MsgspecError, ValueError) as error:
            raise AuditBroken(f"entry {pruned.number} of the audit log was changed") from error
        # It is among the entries that are left, and so is checked with them.
        if start.number >= pruned.number:
            raise AuditBroken(f"entry {pruned.number} of the audit log was changed: it tells of itself that it is gone")
        return start


class _Pruned(msgspec.Struct, frozen=True):
    through: int
    digest: str


class _Chain:
    """Entries one after the other, each checked against the one before."""

    def __init__(self, sealer: Sealer, start: Head, known: Head | None) -> None:
        self._sealer = sealer
        self._known = known
        self._unproved: int | None = None
        self.number = start.number
        self.digest = start.digest
        self.count = 0
        if known is not None and known.number < start.number:
            raise RequestError(f"the entries of the audit log up to {start.number} were pruned: give a later head")

    def add(self, link: Link) -> None:
        number = link.entry.number
        if number != self.number + 1:
            missing = self.number + 1
            raise AuditBroken(f"entry {missing} of the audit log is missing: the next one is {number}")
        if link.entry.digest(self.digest) != link.digest:
            raise AuditBroken(f"entry {number} of the audit log was changed, or the one before it")
        has_signed = self._sealer.has_signed(link.key_id, link.digest, link.signature)
        if has_signed is False:
            raise AuditBroken(f"entry {number} of the audit log was not written by Tocsin: its signature is wrong")
        # Whoever changed an entry could give it a key that nobody has. So one is taken without its key only if the
        # log was proved with that key, and rotated to one that is here, later on.
        if has_signed is None:
            self._unproved = self._unproved or number
        elif link.entry.action == Action.KEYS_ROTATED:
            self._unproved = None
        self.number, self.digest = number, link.digest
        self.count += 1
        self._check_known()

    def _check_known(self) -> None:
        if self._known is not None and self.number == self._known.number and self.digest != self._known.digest:
            raise AuditBroken(f"entry {self.number} of the audit log is another than the one that was given")

    def check_end(self, end: Head) -> None:
        """`end` was read before the entries, which may have become more since."""
        wanted = max(end.number, 0 if self._known is None else self._known.number)
        if self.number < wanted:
            raise AuditBroken(f"entries {self.number + 1} to {wanted} of the audit log are missing")
        if self.number == end.number and self.digest != end.digest:
            raise AuditBroken("the audit log ends with another entry than the one that was written last")
        if self._unproved is not None:
            raise AuditBroken(
                f"entry {self._unproved} of the audit log is signed with a key that is not among the keys here: "
                "put it back into TOCSIN_SECRET_KEY, or into the key file"
            )
