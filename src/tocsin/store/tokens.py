"""API tokens: of the secret only its SHA-256 is here."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.errors import Conflict, NotFound
from tocsin.model import Token, User
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import tokens, users
from tocsin.store.users import to_user, user_columns

MAX_TOKENS = 500
"""Of a user: each has an allowance of requests of its own."""


def list_tokens(connection: sa.Connection, user_id: str) -> list[Token]:
    """A user's tokens, oldest first."""
    statement = sa.select(tokens).where(tokens.c.user_id == user_id).order_by(tokens.c.id)
    return [_to_token(row) for row in connection.execute(statement)]


def find_token(connection: sa.Connection, user_id: str, token_id: str) -> Token | None:
    statement = sa.select(tokens).where(tokens.c.user_id == user_id, tokens.c.id == token_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _to_token(row)


def find_owner(
    connection: sa.Connection, *, secret_hash: bytes | None = None, token_id: str | None = None
) -> tuple[Token, User, bytes] | None:
    """The token with this secret or this id, whose it is, and the secret's hash."""
    wanted = tokens.c.secret_hash == secret_hash if secret_hash is not None else tokens.c.id == token_id
    columns = [tokens.c[name].label(f"token_{name}") for name in Token.__struct_fields__]
    statement: sa.Select[Any] = (
        sa.select(*columns, tokens.c.secret_hash, *user_columns())
        .join_from(tokens, users, users.c.id == tokens.c.user_id)
        .where(wanted)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else (_to_token(row, "token_"), to_user(row), row.secret_hash)


def add_token(connection: sa.Connection, token: Token, secret_hash: bytes) -> None:
    """Raises Conflict when the user has as many as one may have."""
    counted = sa.select(sa.func.count()).select_from(tokens).where(tokens.c.user_id == token.user_id)
    if connection.execute(counted).scalar_one() >= MAX_TOKENS:
        raise Conflict(f"a user has {MAX_TOKENS} API tokens at most: remove those that are not needed")
    values = {name: getattr(token, name) for name in Token.__struct_fields__}
    lists = {name: None if values[name] is None else list(values[name]) for name in ("scopes", "app_ids")}
    connection.execute(tokens.insert().values(**values | lists, secret_hash=secret_hash))


def renew_token(connection: sa.Connection, token: Token, secret_hash: bytes) -> None:
    """Give a token another secret. Raises NotFound when it was removed meanwhile."""
    changed = tokens.update().where(tokens.c.id == token.id).values(secret_hash=secret_hash, last_used_at=None)
    if not connection.execute(changed).rowcount:
        raise NotFound("token")


def remove_token(connection: sa.Connection, token_id: str) -> None:
    """Remove a token. Raises NotFound when it was removed meanwhile."""
    if not connection.execute(tokens.delete().where(tokens.c.id == token_id)).rowcount:
        raise NotFound("token")


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def note_use(connection: sa.Connection, token_id: str, at: datetime) -> None:
    connection.execute(tokens.update().where(tokens.c.id == token_id).values(last_used_at=at))


def _to_token(row: "sa.Row[Any]", prefix: str = "") -> Token:
    return msgspec.convert({name: getattr(row, prefix + name) for name in Token.__struct_fields__}, Token)
