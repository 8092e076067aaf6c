"""Users and what they prove themselves with: passwords, sign-in links, codes by mail."""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import argon2
import sqlalchemy as sa
import structlog

from tocsin.audit import Action, Actor, Note, identify
from tocsin.clock import Clock
from tocsin.credentials import hash_secret
from tocsin.errors import InvalidInput, NotAuthenticated, NotFound
from tocsin.ids import new_uuid7
from tocsin.ingest import Ingest
from tocsin.letters import Letter, Letters
from tocsin.limits import Throttle
from tocsin.model import App, Collaborator, User
from tocsin.platforms.settings import mail_address
from tocsin.store import codes as code_verbs
from tocsin.store import collaborators as collaborator_verbs
from tocsin.store import users as user_verbs
from tocsin.store.audit import add_note, with_note
from tocsin.store.events import add_event
from tocsin.store.port import Dispatch, NewEvent, Store
from tocsin.store.sessions import change_password

LOG = structlog.get_logger()

LINK_LIFETIME = timedelta(minutes=10)
LINK_OVER = "this sign-in link was used or is too old: ask for a new one"

CODE_LIFETIME = timedelta(minutes=10)
CODE_DIGITS = 8
CODE_TRIES = 5
"""With three codes of a name at once, one who guesses day and night has even odds after some 90 years."""

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
        throttle: Throttle,
        hasher: argon2.PasswordHasher | None = None,
        letters: Letters | None = None,
    ) -> None:
        """`hasher` hashes passwords (argon2id). Without `letters` no code is sent by mail."""
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._dispatch = dispatch
        self._throttle = throttle
        self._hasher = hasher or argon2.PasswordHasher()
        self._hashing = asyncio.Semaphore(HASHES_AT_ONCE)
        self._decoy_hash: str | None = None
        self._letters = letters

    async def sign_in(self, name: str, password: str, *, address: str) -> User:
        """The user with this name or e-mail address, when the password is theirs.

        `address` is the caller's, as `tocsin.proxies` tells it. Raises NotAuthenticated, and TooMany in place of
        looking at the password when too many were wrong.
        """
        with self._throttle.checking_password(name, address):
            return await self._sign_in(name, password, address)

    async def _sign_in(self, name: str, password: str, address: str) -> User:
        found = await self._store.read(user_verbs.find_password_hash, name)
        user, password_hash = found if found is not None else (None, None)
        # Somebody who does not exist takes as long as a wrong password.
        is_right = await self._is_password(password, password_hash or await self._decoy())
        if user is None or password_hash is None or not is_right:
            raise _refused("the username or the password is wrong", address)
        identify(user)
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
        note = self._note(Action.USER_ADDED, user, email=email, is_admin=is_admin)
        change = partial(self._add_user, user=user, password_hash=password_hash, by=note.by)
        await self._store.write(with_note(change, note))
        return user

    def _add_user(self, connection: sa.Connection, user: User, password_hash: str | None, by: Actor) -> None:
        user_verbs.add_user(connection, user, password_hash)
        for app, collaborator in collaborator_verbs.accept_invitations(connection, user):
            add_event(connection, self._accepted(user, app, collaborator), self._dispatch)
            add_note(connection, self._joined(app, collaborator, by))

    def _joined(self, app: App, collaborator: Collaborator, by: Actor) -> Note:
        return Note(
            action=Action.COLLABORATOR_JOINED,
            at=self._clock.now(),
            app_id=app.id,
            object_id=collaborator.id,
            object_name=collaborator.username,
            by=by,
        )

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

    async def set_password(self, user: User, password: str, *, keep_session: str | None = None) -> None:
        """Change a password; every session ends by this, but for one. Raises InvalidInput for one that is too short."""
        _check_password(password)
        password_hash = await self._hash(password)
        change = partial(change_password, user_id=user.id, password_hash=password_hash, keep_session=keep_session)
        await self._store.write(with_note(change, self._note(Action.PASSWORD_SET, user)))

    async def set_preferences(self, user: User, *, language: str | None, time_zone: str | None) -> None:
        """How a user likes to read pages; None leaves a language to the browser, and a zone to UTC."""
        change = partial(user_verbs.set_preferences, user_id=user.id, language=language, time_zone=time_zone)
        note = self._note(Action.USER_CHANGED, user, language=language, time_zone=time_zone)
        await self._store.write(with_note(change, note))

    async def has_password(self, user: User) -> bool:
        found = await self._store.read(user_verbs.find_password_hash, user.username)
        return found is not None and found[1] is not None

    async def add_link(self, user: User) -> str:
        """The secret of a link that signs this user in, once and within ten minutes."""
        secret = secrets.token_urlsafe(32)
        now = self._clock.now()
        change = partial(
            user_verbs.add_link,
            user_id=user.id,
            secret_hash=hash_secret(secret),
            expires_at=now + LINK_LIFETIME,
            now=now,
        )
        await self._store.write(with_note(change, self._note(Action.LINK_MADE, user)))
        return secret

    async def find_link(self, secret: str) -> User | None:
        """Whom a sign-in link would sign in; it is not used by this."""
        return await self._store.read(user_verbs.find_link, hash_secret(secret), now=self._clock.now())

    async def take_link(self, secret: str, *, address: str = "") -> User:
        """Whom a sign-in link signs in; it is used up by this. Raises NotAuthenticated or TooMany."""
        user = await self._store.write(user_verbs.take_link, hash_secret(secret), now=self._clock.now())
        if user is None:
            self._throttle.count_bad_token(address)
            raise _refused(LINK_OVER, address)
        identify(user)
        return user

    @property
    def sends_codes(self) -> bool:
        """Whether there is a mail server for codes."""
        return self._letters is not None

    async def ask_code(self, name: str, *, browser: str, write: Callable[[str], Letter], address: str) -> None:
        """Mail a code to the user with this name or e-mail address, if there is one: the same is done if there is none.

        The code is good for ten minutes, once, and together with the secret `browser`. `write` puts it into words.
        Raises TooMany.
        """
        if self._letters is None:
            raise NotFound("page")
        code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
        now = self._clock.now()
        new = code_verbs.NewCode(
            id=new_uuid7("sc"),
            browser_hash=hash_secret(browser),
            name_hash=hash_secret(name.casefold()),
            code_hash=_hash_code(code, browser),
            tries_left=CODE_TRIES,
            address=address,
            expires_at=now + CODE_LIFETIME,
        )
        letter = write(code)
        user = await self._store.write(code_verbs.add_code, new, name, now)
        if user is not None:
            self._letters.post(letter, user.email)

    async def take_code(self, code: str, *, browser: str, address: str) -> User:
        """Whom a code signs in that was asked for with this secret; it is used up by this.

        Raises NotAuthenticated or TooMany.
        """
        code_hash = _hash_code("".join(code.split()), browser)
        user = await self._store.write(code_verbs.take_code, hash_secret(browser), code_hash, self._clock.now())
        if user is None:
            self._throttle.count_bad_token(address)
            raise _refused("the code is wrong, was used, or is too old", address)
        identify(user)
        return user

    async def finish(self) -> None:
        """Let mails go that are under way; before the connections to the mail server are closed."""
        if self._letters is not None:
            await self._letters.finish()

    def _note(self, action: Action, user: User, **details: Any) -> Note:
        return Note(action=action, at=self._clock.now(), object_id=user.id, object_name=user.username, details=details)

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


def _refused(why: str, address: str) -> NotAuthenticated:
    LOG.info("sign_in.refused", address=address)
    return NotAuthenticated(why)


def _hash_code(code: str, browser: str) -> bytes:
    """A code has few digits: without the browser's secret, which is not stored, they could be tried one by one."""
    return hmac.digest(browser.encode(), code.encode("utf-8", "replace"), hashlib.sha256)


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
