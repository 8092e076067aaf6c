"""Users and what they prove themselves with: passwords, sign-in links, API tokens and the JWTs given for them."""

import asyncio
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import argon2
import msgspec
import sqlalchemy as sa
import structlog

from tocsin.clock import Clock
from tocsin.credentials import (
    PREFIX,
    Basic,
    hash_secret,
    issue_jwt,
    mark_of,
    new_secret,
    read_authorization,
    read_jwt,
)
from tocsin.errors import InvalidInput, NotAuthenticated, NotFound, StoreError
from tocsin.ids import new_uuid7
from tocsin.ingest import Ingest
from tocsin.model import App, Collaborator, Token, User
from tocsin.platforms.settings import mail_address
from tocsin.remembered import Remembered
from tocsin.store import collaborators as collaborator_verbs
from tocsin.store import tokens as token_verbs
from tocsin.store import users as user_verbs
from tocsin.store.events import add_event
from tocsin.store.port import Dispatch, NewEvent, Store

LOG = structlog.get_logger()

LINK_LIFETIME = timedelta(minutes=10)
NOTE_USE_EVERY = timedelta(minutes=1)
MAX_NAME_LENGTH = 200
UNNAMED = "API token"
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1024

# Each hash takes 64 MiB and a core for a moment: two at a time leave room for deliveries.
HASHES_AT_ONCE = 2

_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


class Principal(msgspec.Struct, frozen=True):
    """Who asks, and with which of their API tokens."""

    user: User
    token_id: str


class NewToken(msgspec.Struct, frozen=True):
    """A token and its secret, which is shown this once."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.token.id})"


class Accounts:
    """Verbs over users and tokens."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ingest: Ingest,
        dispatch: Dispatch,
        bearer_keys: Sequence[bytes],
        issuer: str,
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        """`bearer_keys`, 32 random bytes each, are for the JWTs of `issuer`: the first signs, all verify.

        `hasher` hashes passwords (argon2id).
        """
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._dispatch = dispatch
        self._keys = tuple(bearer_keys)
        self._issuer = issuer
        self._hasher = hasher or argon2.PasswordHasher()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._decoy_hash: str | None = None
        self._principals: Remembered[str, Principal] = Remembered(clock)
        self._notes: dict[str, asyncio.Task[None]] = {}

    def forget(self) -> None:
        """Look everything up anew."""
        self._principals.drop(lambda _: True)

    async def authenticate(self, authorization: str | None) -> Principal:
        """Who sends this Authorization header: a JWT or an API token as bearer, or Basic with an API token.

        Raises NotAuthenticated. A good answer is kept for up to 5 seconds, and dropped when its token changes.
        """
        if authorization is None:
            raise NotAuthenticated
        return await self._principals.find(authorization, partial(self._look_up, authorization))

    def known(self, authorization: str | None) -> Principal | None:
        """As `authenticate`, when that was answered a moment ago."""
        return None if authorization is None else self._principals.known(authorization)

    async def _look_up(self, authorization: str) -> tuple[Principal, float | None]:
        sent = read_authorization(authorization)
        secret = _api_token(sent) if isinstance(sent, Basic) else sent.value
        lifetime_seconds = None
        if secret.startswith(PREFIX):
            found = await self._store.read(token_verbs.find_owner, secret_hash=hash_secret(secret))
        else:
            now = self._clock.now()
            claims = read_jwt(secret, keys=self._keys, issuer=self._issuer, now=now)
            lifetime_seconds = claims.expires_at - now.timestamp()
            found = await self._store.read(token_verbs.find_owner, token_id=claims.token_id)
            if found is not None and (found[1].id != claims.user_id or mark_of(found[2]) != claims.mark):
                found = None
        if found is None:
            raise NotAuthenticated("the token is not valid: it may have been removed or renewed")
        token, user, _ = found
        self._note_use(token)
        return Principal(user, token.id), lifetime_seconds

    def _note_use(self, token: Token) -> None:
        """Remember that a token is in use, to the minute and behind the request's back."""
        now = self._clock.now()
        is_noted = token.last_used_at is not None and now - token.last_used_at < NOTE_USE_EVERY
        if is_noted or token.id in self._notes:
            return
        task = asyncio.get_running_loop().create_task(self._write_use(token.id))
        self._notes[token.id] = task
        task.add_done_callback(lambda _: self._notes.pop(token.id, None))

    async def _write_use(self, token_id: str) -> None:
        try:
            await self._store.write(token_verbs.note_use, token_id, self._clock.now())
        except StoreError as error:
            LOG.warning("token.use_not_noted", token_id=token_id, error=error.message)

    async def finish(self) -> None:
        """Wait for what is written behind requests' backs; before the store is closed."""
        await asyncio.gather(*self._notes.values(), return_exceptions=True)

    async def exchange(self, authorization: str | None) -> str:
        """A JWT for the API token in this header; it lives an hour and dies with the token. Raises NotAuthenticated."""
        sent = read_authorization(authorization)
        secret = _api_token(sent) if isinstance(sent, Basic) else sent.value
        found = await self._store.read(token_verbs.find_owner, secret_hash=hash_secret(secret))
        if found is None:
            raise NotAuthenticated("the API token is not valid: it may have been removed or renewed")
        token, user, secret_hash = found
        self._note_use(token)
        return issue_jwt(
            key=self._keys[0],
            issuer=self._issuer,
            user_id=user.id,
            token_id=token.id,
            secret_hash=secret_hash,
            now=self._clock.now(),
        )

    async def sign_in(self, name: str, password: str) -> User:
        """The user with this name or e-mail address, when the password is theirs. Raises NotAuthenticated."""
        found = await self._store.read(user_verbs.find_password_hash, name)
        user, password_hash = found if found is not None else (None, None)
        # Somebody who does not exist takes as long as a wrong password.
        is_right = await self._is_password(password, password_hash or await self._decoy())
        if user is None or password_hash is None or not is_right:
            raise NotAuthenticated("the username or the password is wrong")
        return user

    async def authenticate_login(self, authorization: str | None) -> User:
        """The user behind a header that may also be Basic with username and password. Raises NotAuthenticated."""
        sent = read_authorization(authorization)
        if isinstance(sent, Basic) and sent.username:
            return await self.sign_in(sent.username, sent.password)
        return (await self.authenticate(authorization)).user

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

    async def list_tokens(self, user: User) -> list[Token]:
        return await self._store.read(token_verbs.list_tokens, user.id)

    async def get_token(self, user: User, token_id: str) -> Token:
        """Raises NotFound."""
        token = await self._store.read(token_verbs.find_token, user.id, token_id)
        if token is None:
            raise NotFound("token")
        return token

    async def add_token(self, user: User, name: str | None = None) -> NewToken:
        """Raises InvalidInput for a name that cannot be shown."""
        name = name or UNNAMED
        if len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise InvalidInput({"name": [f"must be at most {MAX_NAME_LENGTH} printable characters"]})
        secret = new_secret()
        token = Token(id=new_uuid7("tk"), user_id=user.id, name=name, created_at=self._clock.now())
        change = partial(token_verbs.add_token, token=token, secret_hash=hash_secret(secret))
        await self._ingest.write(change, self._token_event("new_token", user, token))
        return NewToken(token, secret)

    async def renew_token(self, user: User, token_id: str) -> NewToken:
        """Give a token another secret; the one before, and JWTs given for it, end at once. Raises NotFound."""
        token = await self.get_token(user, token_id)
        secret = new_secret()
        change = partial(token_verbs.renew_token, token=token, secret_hash=hash_secret(secret))
        await self._ingest.write(change, self._token_event("regenerate_token", user, token))
        self._principals.drop(lambda principal: principal.token_id == token_id)
        return NewToken(msgspec.structs.replace(token, last_used_at=None), secret)

    async def remove_token(self, user: User, token_id: str) -> None:
        """End a token and the JWTs given for it, at once. Raises NotFound."""
        token = await self.get_token(user, token_id)
        change = partial(token_verbs.remove_token, token_id=token_id)
        await self._ingest.write(change, self._token_event("delete_token", user, token))
        self._principals.drop(lambda principal: principal.token_id == token_id)

    def _token_event(self, event_type: str, user: User, token: Token) -> NewEvent:
        type_data = {"token_name": token.name, "token_id": token.id}
        return self._ingest.own_event(event_type=event_type, type_data=type_data, user=user)

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


def _api_token(sent: Basic) -> str:
    if sent.username or not sent.password.startswith(PREFIX):
        raise NotAuthenticated("use an empty username and an API token as password, or Authorization: Bearer TOKEN")
    return sent.password
