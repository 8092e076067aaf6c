"""Users and what they prove themselves with: passwords and sign-in links."""

import asyncio
import re
import secrets
from datetime import timedelta

import argon2
import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.credentials import hash_secret
from tocsin.errors import InvalidInput, NotAuthenticated, NotFound
from tocsin.ids import new_uuid7
from tocsin.ingest import Ingest
from tocsin.model import App, Collaborator, User
from tocsin.platforms.settings import mail_address
from tocsin.store import collaborators as collaborator_verbs
from tocsin.store import users as user_verbs
from tocsin.store.events import add_event
from tocsin.store.port import Dispatch, NewEvent, Store

LINK_LIFETIME = timedelta(minutes=10)
MAX_NAME_LENGTH = 200
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024

# Each hash takes 64 MiB and a core for a moment: two at a time leave room for deliveries.
HASHES_AT_ONCE = 2

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


class Accounts:
    """Verbs over users."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ingest: Ingest,
        dispatch: Dispatch,
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        """`hasher` hashes passwords (argon2id)."""
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._dispatch = dispatch
        self._hasher = hasher or argon2.PasswordHasher()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._decoy_hash: str | None = None

    async def sign_in(self, name: str, password: str) -> User:
        """The user with this name or e-mail address, when the password is theirs. Raises NotAuthenticated."""
        found = await self._store.read(user_verbs.find_password_hash, name)
        user, password_hash = found if found is not None else (None, None)
        # Somebody who does not exist takes as long as a wrong password.
        is_right = await self._is_password(password, password_hash or await self._decoy())
        if user is None or password_hash is None or not is_right:
            raise NotAuthenticated("the username or the password is wrong")
        return user

    async def add_user(
        self, *, username: str, email: str, fullname: str = "", is_admin: bool = False, password: str | None = None
    ) -> User:
        """Raises InvalidInput. Invitations of this e-mail address are accepted by it."""
        email = email.strip().lower()
        _check_user(username, email, fullname)
        if password is not None:
            _check_password(password)
        user = User(
            id=new_uuid7("us"),
            username=username,
            email=email,
            fullname=fullname,
            is_admin=is_admin,
            created_at=self._clock.now(),
        )
        password_hash = None if password is None else await self._hash(password)
        await self._store.write(self._add_user, user, password_hash)
        return user

    def _add_user(self, connection: sa.Connection, user: User, password_hash: str | None) -> None:
        user_verbs.add_user(connection, user, password_hash)
        for app, collaborator in collaborator_verbs.accept_invitations(connection, user):
            add_event(connection, self._accepted(user, app, collaborator), self._dispatch)

    def _accepted(self, user: User, app: App, collaborator: Collaborator) -> NewEvent:
        return self._ingest.own_event(
            event_type="accept_collaborator",
            type_data={"collaborator": described(collaborator, inviter=app.owner)},
            user=user,
            app=app,
        )

    async def get_user(self, name: str) -> User:
        """The user with this username or e-mail address. Raises NotFound."""
        user = await self._store.read(user_verbs.find_user, name)
        if user is None:
            raise NotFound("user")
        return user

    async def set_password(self, user: User, password: str) -> None:
        """Raises InvalidInput for one that is too short or too long."""
        _check_password(password)
        await self._store.write(user_verbs.set_password_hash, user.id, await self._hash(password))

    async def add_link(self, user: User) -> str:
        """The secret of a link that signs this user in, once and within ten minutes."""
        secret = secrets.token_urlsafe(32)
        now = self._clock.now()
        await self._store.write(
            user_verbs.add_link, user.id, hash_secret(secret), expires_at=now + LINK_LIFETIME, now=now
        )
        return secret

    async def take_link(self, secret: str) -> User:
        """Whom a sign-in link signs in; it is used up by this. Raises NotAuthenticated."""
        user = await self._store.write(user_verbs.take_link, hash_secret(secret), now=self._clock.now())
        if user is None:
            raise NotAuthenticated("this sign-in link was used or is too old: ask for a new one")
        return user

    async def _hash(self, password: str) -> str:
        async with self._hashing:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def _is_password(self, password: str, password_hash: str) -> bool:
        if len(password) > MAX_PASSWORD_LENGTH:
            return False
        async with self._hashing:
            try:
                return await asyncio.to_thread(self._hasher.verify, password_hash, password)
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                return False

    async def _decoy(self) -> str:
        if self._decoy_hash is None:
            self._decoy_hash = await self._hash(secrets.token_urlsafe(16))
        return self._decoy_hash


def described(collaborator: Collaborator, *, inviter: User) -> dict[str, object]:
    """A collaborator as events tell of one."""
    return {
        "username": collaborator.username,
        "email": collaborator.email,
        "id": collaborator.user_id or "",
        "inviter": {"username": inviter.username, "email": inviter.email, "id": inviter.id},
        "is_limited": collaborator.is_limited,
    }


def check_email(email: str) -> None:
    """Raises InvalidInput naming `email`: one that mail could not be sent to would be found out too late."""
    try:
        mail_address(email)
    except ValueError as error:
        raise InvalidInput({"email": ["must be an e-mail address such as alice@example.com"]}) from error


def _check_user(username: str, email: str, fullname: str) -> None:
    if not _USERNAME.fullmatch(username):
        raise InvalidInput({"username": ["must be 1 to 63 letters, digits, dots, dashes or underscores"]})
    check_email(email)
    if len(fullname) > MAX_NAME_LENGTH or not fullname.isprintable():
        raise InvalidInput({"fullname": [f"must be at most {MAX_NAME_LENGTH} printable characters"]})


def _check_password(password: str) -> None:
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise InvalidInput({"password": [f"must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"]})
