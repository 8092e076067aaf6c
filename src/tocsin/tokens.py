"""API tokens: what each is good for, and the JWTs given for them."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import msgspec
import structlog

from tocsin.access import SCOPES, Principal, Right
from tocsin.audit import Action, Note, identify
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
from tocsin.limits import Allowances, Throttle
from tocsin.model import Token, User
from tocsin.remembered import Remembered
from tocsin.store import tokens as token_verbs
from tocsin.store.port import Store

LOG = structlog.get_logger()

NOTE_USE_EVERY = timedelta(minutes=1)
MAX_NAME_LENGTH = 200
UNNAMED = "API token"


class TokenWish(msgspec.Struct, frozen=True, kw_only=True):
    """A token to make: what it is called, and what it is limited to; None stands for no limit.

    `app_ids` are those of apps that its user sees.
    """

    name: str | None = None
    scopes: Sequence[str] | None = None
    app_ids: Sequence[str] | None = None
    expires_at: datetime | None = None
    lifetime: timedelta | None = None
    """From now on, in place of `expires_at`."""


class NewToken(msgspec.Struct, frozen=True):
    """A token and its secret, which is shown this once."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.token.id})"


class Exchange(msgspec.Struct, frozen=True):
    """The JWT that was given for a token, and who asked with it."""

    principal: Principal
    bearer: str

    def __repr__(self) -> str:
        return f"Exchange({self.principal.token_id})"


class SignIn(Protocol):
    async def __call__(self, name: str, password: str, *, address: str) -> User:
        """The user with this name and password. Raises NotAuthenticated or TooMany."""
        ...


class Tokens:
    """Verbs over tokens."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ingest: Ingest,
        sign_in: SignIn,
        throttle: Throttle,
        allowances: Allowances,
        bearer_keys: Sequence[bytes],
        issuer: str,
    ) -> None:
        """`bearer_keys`, 32 random bytes each, are for the JWTs of `issuer`: the first signs, all verify."""
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self._sign_in = sign_in
        self._throttle = throttle
        self._allowances = allowances
        self._keys = tuple(bearer_keys)
        self._issuer = issuer
        self._principals: Remembered[str, Principal] = Remembered(clock)
        self._notes: dict[str, asyncio.Task[None]] = {}

    def forget(self) -> None:
        """Look everything up anew."""
        self._principals.drop(lambda _: True)

    async def authenticate(self, authorization: str | None, *, address: str) -> Principal:
        """Who sends this Authorization header: a JWT or an API token as bearer, or Basic with an API token.

        Raises NotAuthenticated, or TooMany when that comes often from this address. A good answer is kept for up to
        5 seconds, and dropped when its token changes.
        """
        if authorization is None:
            raise NotAuthenticated
        try:
            principal = await self._principals.find(authorization, partial(self._look_up, authorization))
        except NotAuthenticated:
            self._throttle.count_bad_token(address)
            raise
        identify(principal.user, principal.token_id)
        return principal

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
        left_seconds = self._check_time(token)
        if left_seconds is not None:
            lifetime_seconds = left_seconds if lifetime_seconds is None else min(lifetime_seconds, left_seconds)
        self._note_use(token)
        return self._principal(user, token), lifetime_seconds

    def _check_time(self, token: Token) -> float | None:
        """For how many seconds a token is still good, if not for ever. Raises NotAuthenticated."""
        if token.expires_at is None:
            return None
        left_seconds = (token.expires_at - self._clock.now()).total_seconds()
        if left_seconds <= 0:
            raise NotAuthenticated("the API token has expired: make another")
        return left_seconds

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

    async def exchange(self, authorization: str | None, *, address: str) -> "Exchange":
        """A JWT for the API token in this header; it lives an hour and dies with the token.

        Raises NotAuthenticated, or TooMany when that comes often from this address.
        """
        if authorization is None:
            raise NotAuthenticated
        try:
            token, user, secret_hash = await self._find_exchanged(authorization)
        except NotAuthenticated:
            self._throttle.count_bad_token(address)
            raise
        self._note_use(token)
        bearer = issue_jwt(
            key=self._keys[0],
            issuer=self._issuer,
            user_id=user.id,
            token_id=token.id,
            secret_hash=secret_hash,
            now=self._clock.now(),
        )
        return Exchange(self._principal(user, token), bearer)

    async def _find_exchanged(self, authorization: str) -> tuple[Token, User, bytes]:
        sent = read_authorization(authorization)
        secret = _api_token(sent) if isinstance(sent, Basic) else sent.value
        found = await self._store.read(token_verbs.find_owner, secret_hash=hash_secret(secret))
        if found is None:
            raise NotAuthenticated("the API token is not valid: it may have been removed or renewed")
        self._check_time(found[0])
        return found

    async def sign_in_by_header(self, authorization: str | None, *, address: str) -> User | None:
        """Who sends username and password by Basic; None when the header is for `authenticate`.

        Raises NotAuthenticated or TooMany.
        """
        try:
            sent = read_authorization(authorization)
        except NotAuthenticated:
            return None
        if not isinstance(sent, Basic) or not sent.username:
            return None
        return await self._sign_in(sent.username, sent.password, address=address)

    async def list(self, user: User) -> Sequence[Token]:
        return await self._store.read(token_verbs.list_tokens, user.id)

    async def get(self, user: User, token_id: str) -> Token:
        """Raises NotFound."""
        token = await self._store.read(token_verbs.find_token, user.id, token_id)
        if token is None:
            raise NotFound("token")
        return token

    async def add(self, user: User, wish: TokenWish) -> NewToken:
        """Raises InvalidInput naming the field."""
        now = self._clock.now()
        if wish.lifetime is not None:
            wish = msgspec.structs.replace(wish, expires_at=now + wish.lifetime, lifetime=None)
        _check_token(wish, now)
        secret = new_secret()
        token = Token(
            id=new_uuid7("tk"),
            user_id=user.id,
            name=wish.name or UNNAMED,
            created_at=now,
            scopes=None if wish.scopes is None else tuple(sorted(set(wish.scopes))),
            app_ids=None if wish.app_ids is None else tuple(sorted(set(wish.app_ids))),
            expires_at=wish.expires_at,
        )
        change = partial(token_verbs.add_token, token=token, secret_hash=hash_secret(secret))
        await self._change(change, "new_token", Action.TOKEN_ADDED, user, token)
        return NewToken(token, secret)

    async def renew(self, user: User, token_id: str) -> NewToken:
        """Give a token another secret; the one before, and JWTs given for it, end at once. Raises NotFound."""
        token = await self.get(user, token_id)
        secret = new_secret()
        change = partial(token_verbs.renew_token, token=token, secret_hash=hash_secret(secret))
        await self._change(change, "regenerate_token", Action.TOKEN_RENEWED, user, token)
        self._principals.drop(lambda principal: principal.token_id == token_id)
        return NewToken(msgspec.structs.replace(token, last_used_at=None), secret)

    async def remove(self, user: User, token_id: str) -> None:
        """End a token and the JWTs given for it, at once. Raises NotFound."""
        token = await self.get(user, token_id)
        change = partial(token_verbs.remove_token, token_id=token_id)
        await self._change(change, "delete_token", Action.TOKEN_REMOVED, user, token)
        self._principals.drop(lambda principal: principal.token_id == token_id)

    def _principal(self, user: User, token: Token) -> Principal:
        return Principal(
            user,
            token.id,
            None if token.scopes is None else frozenset(map(Right, token.scopes)),
            None if token.app_ids is None else frozenset(token.app_ids),
            self._allowances.of(token.id),
        )

    async def _change(self, change: "partial[None]", event_type: str, action: Action, user: User, token: Token) -> None:
        """Write a change of a token, with its event and its entry in the audit log."""
        type_data = {"token_name": token.name, "token_id": token.id}
        details = {"username": user.username, "scopes": token.scopes, "apps": token.app_ids}
        note = Note(action=action, at=self._clock.now(), object_id=token.id, object_name=token.name, details=details)
        event = self._ingest.own_event(event_type=event_type, type_data=type_data, user=user)
        await self._ingest.write(change, event, note)


def _check_token(wish: TokenWish, now: datetime) -> None:
    if len(wish.name or "") > MAX_NAME_LENGTH or not (wish.name or "").isprintable():
        raise InvalidInput({"name": [f"must be at most {MAX_NAME_LENGTH} printable characters"]})
    if wish.scopes is not None and (not wish.scopes or set(wish.scopes) - set(SCOPES)):
        raise InvalidInput({"scopes": [f"must be some of {', '.join(SCOPES)}; without scopes it carries all"]})
    if wish.app_ids is not None and not wish.app_ids:
        raise InvalidInput({"apps": ["must name an app; without apps it is for all"]})
    if wish.expires_at is not None and wish.expires_at <= now:
        raise InvalidInput({"expires_at": ["must be in the future"]})


def _api_token(sent: Basic) -> str:
    if sent.username or not sent.password.startswith(PREFIX):
        raise NotAuthenticated("use an empty username and an API token as password, or Authorization: Bearer TOKEN")
    return sent.password
