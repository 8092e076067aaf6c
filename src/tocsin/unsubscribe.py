"""Leaving an e-mail notifier by a signed link, in one click (RFC 8058)."""

import base64
import hmac
from collections.abc import Sequence

import msgspec

from tocsin.audit import Action, Note, actor
from tocsin.clock import Clock
from tocsin.errors import NotFound
from tocsin.store.members import remove_recipient
from tocsin.store.port import Store

SIGNATURE_BYTES = 16


class Unsubscribe:
    def __init__(self, *, store: Store, clock: Clock, keys: Sequence[bytes], public_url: str) -> None:
        """The first of `keys` signs; a link that any of them signed is good."""
        self._store = store
        self._clock = clock
        self._keys = tuple(keys)
        self._public_url = public_url

    def url(self, notifier_id: str, address: str) -> str:
        """The link by which this address leaves this notifier. It does not expire: old mails keep working."""
        text = f"{notifier_id} {address}".encode()
        signed = _sign(self._keys[0], text) + text
        return f"{self._public_url}/unsubscribe/{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"

    def read(self, code: str) -> tuple[str, str]:
        """The notifier id and address of a link. Raises NotFound for one that we did not sign."""
        try:
            signed = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
            signature, text = signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
            if not any(hmac.compare_digest(signature, _sign(key, text)) for key in self._keys):
                raise NotFound("subscription")
            notifier_id, _, address = text.decode().partition(" ")
        except ValueError as error:
            raise NotFound("subscription") from error
        return notifier_id, address

    async def leave(self, code: str) -> str:
        """Take the address off the notifier; answers with it. Harmless when it has left before."""
        notifier_id, address = self.read(code)
        by = msgspec.structs.replace(actor(), kind="recipient")
        note = Note(action=Action.RECIPIENT_LEFT, at=self._clock.now(), object_id=notifier_id, by=by)
        await self._store.write(remove_recipient, notifier_id, address, note)
        return address


def _sign(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")[:SIGNATURE_BYTES]
