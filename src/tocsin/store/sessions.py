"""Sessions of browsers: of the secret in a cookie only its SHA-256 is here. And what is over of all that signs in."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.errors import NotFound
from tocsin.model import Session, User
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import sessions, sign_in_codes, sign_in_links, users
from tocsin.store.users import set_password_hash, to_user, user_columns

_ALONE = Conduct(takes_turn=False, brings_work=False, changes_nouns=False)


@conducts(_ALONE)
def add_session(connection: sa.Connection, session: Session, secret_hash: bytes, *, replaces: bytes | None) -> None:
    """Store a new session, in place of the one that the same browser had before, if any."""
    if replaces is not None:
        connection.execute(sessions.delete().where(sessions.c.secret_hash == replaces))
    values = {name: getattr(session, name) for name in Session.__struct_fields__}
    connection.execute(sessions.insert().values(**values, secret_hash=secret_hash))


def find_session(connection: sa.Connection, secret_hash: bytes, now: datetime) -> tuple[Session, User] | None:
    """The session with this secret and whose it is, unless it is over."""
    columns = [sessions.c[name].label(f"session_{name}") for name in Session.__struct_fields__]
    statement: sa.Select[Any] = (
        sa.select(*columns, *user_columns())
        .join_from(sessions, users, users.c.id == sessions.c.user_id)
        .where(sessions.c.secret_hash == secret_hash, sessions.c.expires_at > now)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else (_to_session(row, "session_"), to_user(row))


def list_sessions(connection: sa.Connection, user_id: str, now: datetime) -> list[Session]:
    """A user's sessions that are not over, last used first."""
    statement = sa.select(sessions).where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
    return [_to_session(row) for row in connection.execute(statement.order_by(sessions.c.last_used_at.desc()))]


@conducts(_ALONE)
def note_use(connection: sa.Connection, session_id: str, *, at: datetime, expires_at: datetime) -> None:
    changed = sessions.update().where(sessions.c.id == session_id).values(last_used_at=at, expires_at=expires_at)
    connection.execute(changed)


@conducts(_ALONE)
def remove_session(connection: sa.Connection, user_id: str, session_id: str) -> None:
    """End a session of this user. Raises NotFound."""
    statement = sessions.delete().where(sessions.c.user_id == user_id, sessions.c.id == session_id)
    if not connection.execute(statement).rowcount:
        raise NotFound("session")


@conducts(_ALONE)
def remove_other_sessions(connection: sa.Connection, user_id: str, keep: str | None) -> None:
    """End every session of a user but for one."""
    statement = sessions.delete().where(sessions.c.user_id == user_id)
    connection.execute(statement if keep is None else statement.where(sessions.c.id != keep))


@conducts(_ALONE)
def remove_expired(connection: sa.Connection, *, at: datetime, limit: int) -> int:
    """Forget sessions, sign-in links and codes that are over, so many of each; answers with the most that went."""
    keys: tuple[sa.Column[Any], ...] = (
        sessions.c.id,
        sign_in_links.c.secret_hash,
        sign_in_codes.c.id,
    )
    counts = []
    for key in keys:
        over = sa.select(key).where(key.table.c.expires_at <= at).limit(limit)
        counts.append(connection.execute(sa.delete(key.table).where(key.in_(over))).rowcount)
    return max(counts)


def change_password(connection: sa.Connection, user_id: str, password_hash: str, *, keep_session: str | None) -> None:
    """Store another password, and end what the one before let in: sessions but for one, sign-in links and codes."""
    set_password_hash(connection, user_id, password_hash)
    remove_other_sessions(connection, user_id, keep_session)
    for table in (sign_in_links, sign_in_codes):
        connection.execute(table.delete().where(table.c.user_id == user_id))


def _to_session(row: "sa.Row[Any]", prefix: str = "") -> Session:
    return msgspec.convert({name: getattr(row, prefix + name) for name in Session.__struct_fields__}, Session)
