"""Users, how they sign in, and the links that sign them in once."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.errors import InvalidInput
from tocsin.model import User
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import sign_in_links, users

TAKEN = ["is already taken"]


def user_columns(prefix: str = "") -> list[sa.Label[Any]]:
    """A user's columns under names of their own, for a join."""
    return [users.c[name].label(prefix + name) for name in User.__struct_fields__]


def to_user(row: "sa.Row[Any]", prefix: str = "") -> User:
    return User(**{name: getattr(row, prefix + name) for name in User.__struct_fields__})


def add_user(connection: sa.Connection, user: User, password_hash: str | None) -> None:
    """Store a new user. Raises InvalidInput when the name or the e-mail address is taken."""
    taken = {
        name: TAKEN
        for name in ("username", "email")
        if connection.execute(sa.select(users.c.id).where(users.c[name] == getattr(user, name))).first()
    }
    if taken:
        raise InvalidInput(taken)
    values = {name: getattr(user, name) for name in User.__struct_fields__}
    try:
        connection.execute(users.insert().values(**values, password_hash=password_hash))
    except sa.exc.IntegrityError as error:
        # Another process was quicker, between the look and the insert.
        raise InvalidInput({"username": TAKEN}) from error


def find_user(connection: sa.Connection, name: str) -> User | None:
    """The user with this username or, where it looks like one, this e-mail address."""
    row = connection.execute(sa.select(users).where(_named(name))).one_or_none()
    return None if row is None else to_user(row)


def find_user_by_email(connection: sa.Connection, email: str) -> User | None:
    row = connection.execute(sa.select(users).where(users.c.email == email)).one_or_none()
    return None if row is None else to_user(row)


def find_password_hash(connection: sa.Connection, name: str) -> tuple[User, str | None] | None:
    """The user that signs in under this name or e-mail address, and the password's hash if there is one."""
    row = connection.execute(sa.select(users).where(_named(name))).one_or_none()
    return None if row is None else (to_user(row), row.password_hash)


def set_password_hash(connection: sa.Connection, user_id: str, password_hash: str) -> None:
    connection.execute(users.update().where(users.c.id == user_id).values(password_hash=password_hash))


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def set_preferences(connection: sa.Connection, user_id: str, *, language: str | None, time_zone: str | None) -> None:
    changed = users.update().where(users.c.id == user_id).values(language=language, time_zone=time_zone)
    connection.execute(changed)


def _named(name: str) -> sa.ColumnElement[bool]:
    return users.c.email == name.lower() if "@" in name else users.c.username == name


def add_link(
    connection: sa.Connection, user_id: str, secret_hash: bytes, *, expires_at: datetime, now: datetime
) -> None:
    """Store a sign-in link, and forget those that were never used."""
    connection.execute(sign_in_links.delete().where(sign_in_links.c.expires_at <= now))
    connection.execute(sign_in_links.insert().values(secret_hash=secret_hash, user_id=user_id, expires_at=expires_at))


def find_link(connection: sa.Connection, secret_hash: bytes, *, now: datetime) -> User | None:
    """Whose a sign-in link is; None when there is none, or no longer."""
    statement = (
        sa.select(*user_columns())
        .join_from(sign_in_links, users, users.c.id == sign_in_links.c.user_id)
        .where(sign_in_links.c.secret_hash == secret_hash, sign_in_links.c.expires_at > now)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else to_user(row)


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def take_link(connection: sa.Connection, secret_hash: bytes, *, now: datetime) -> User | None:
    """Use a sign-in link up; None when there is none, or no longer."""
    user = find_link(connection, secret_hash, now=now)
    # Of two that come at once only the one whose delete finds the row may sign in.
    taken = connection.execute(sign_in_links.delete().where(sign_in_links.c.secret_hash == secret_hash)).rowcount
    return user if taken else None
