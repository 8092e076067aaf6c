"""Sessions: who is signed in, in which browser, and until when."""

import secrets
from datetime import datetime, timedelta
from functools import partial

import msgspec
import structlog

from tocsin.audit import Action, Note, identify
from tocsin.clock import Clock
from tocsin.credentials import hash_secret
from tocsin.errors import StoreError
from tocsin.ids import new_uuid7
from tocsin.model import Session, User
from tocsin.store import sessions as session_verbs
from tocsin.store.audit import with_note
from tocsin.store.port import Store

LOG = structlog.get_logger()

IDLE = timedelta(days=7)
"""Who looks in once a week stays signed in; a laptop that was left behind does not."""

LIFETIME = timedelta(days=30)
"""However often it is used: a cookie that was copied is of no use for longer."""

NOTE_USE_EVERY = timedelta(minutes=1)
MAX_DEVICE_CHARACTERS = 300
SECRET_BYTES = 32


class SignedIn(msgspec.Struct, frozen=True):
    """A session and whose it is."""

    session: Session
    user: User


class Sessions:
    """Verbs over sessions. They are read anew for each request: one that is ended is over everywhere at once."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self.clock = clock

    async def begin(self, user: User, *, address: str | None, device: str, replaces: str | None = None) -> str:
        """The secret of a new session. `replaces` is that of a session that the same browser had; it ends by this."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = self.clock.now()
        session = Session(
            id=new_uuid7("se"),
            user_id=user.id,
            created_at=now,
            last_used_at=now,
            expires_at=now + IDLE,
            address=address,
            device=_printable(device),
        )
        old = None if replaces is None else hash_secret(replaces)
        change = partial(session_verbs.add_session, session=session, secret_hash=hash_secret(secret), replaces=old)
        await self._store.write(with_note(change, self._note(Action.SIGNED_IN, user, session.id)))
        LOG.info("session.began", user_id=user.id, session_id=session.id)
        return secret

    async def find(self, secret: str, *, is_use: bool = True) -> SignedIn | None:
        """Who is signed in with this secret, if anybody still is. Only what is a use of it makes a session last."""
        now = self.clock.now()
        found = await self._store.read(session_verbs.find_session, hash_secret(secret), now)
        if found is None:
            return None
        session, user = found
        identify(user)
        if is_use and now - session.last_used_at >= NOTE_USE_EVERY:
            await self._note_use(session, now)
        return SignedIn(session, user)

    async def _note_use(self, session: Session, now: datetime) -> None:
        """To the minute, for most requests shall not write. A database that takes no writes signs nobody out."""
        expires_at = min(now + IDLE, session.created_at + LIFETIME)
        try:
            await self._store.write(session_verbs.note_use, session.id, at=now, expires_at=expires_at)
        except StoreError as error:
            LOG.warning("session.use_not_noted", session_id=session.id, error=error.message)

    async def list(self, user: User) -> list[Session]:
        """Where a user is signed in, last used first."""
        return await self._store.read(session_verbs.list_sessions, user.id, self.clock.now())

    async def end(self, user: User, session_id: str) -> None:
        """Raises NotFound."""
        change = partial(session_verbs.remove_session, user_id=user.id, session_id=session_id)
        await self._store.write(with_note(change, self._note(Action.SIGNED_OUT, user, session_id)))
        LOG.info("session.ended", user_id=user.id, session_id=session_id)

    async def end_others(self, user: User, keep: Session) -> None:
        change = partial(session_verbs.remove_other_sessions, user_id=user.id, keep=keep.id)
        await self._store.write(with_note(change, self._note(Action.SIGNED_OUT, user, "others")))
        LOG.info("session.others_ended", user_id=user.id, session_id=keep.id)

    def _note(self, action: Action, user: User, session: str) -> Note:
        details = {"session": session}
        return Note(action=action, at=self.clock.now(), object_id=user.id, object_name=user.username, details=details)


def _printable(device: str) -> str:
    return "".join(character for character in device if character.isprintable())[:MAX_DEVICE_CHARACTERS]
