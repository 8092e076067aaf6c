"""Codes that sign in by mail. Who asks under a name that nobody has gets a row too, which no code fits."""

import hmac
from datetime import datetime

import msgspec
import sqlalchemy as sa

from tocsin.errors import TooMany
from tocsin.model import User
from tocsin.store.port import Conduct, conducts
from tocsin.store.schema import sign_in_codes, users
from tocsin.store.users import find_user, to_user

MAX_PER_NAME = 3
"""Codes of one name, and of one user under all names, that are kept at once: so many mails in ten minutes."""

MAX_PER_ADDRESS = 30


class NewCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code to be stored: for the browser that asked from an address, under the name that was given."""

    id: str
    browser_hash: bytes
    name_hash: bytes
    code_hash: bytes
    tries_left: int
    address: str
    expires_at: datetime


@conducts(Conduct(brings_work=False, changes_nouns=False))
def add_code(connection: sa.Connection, code: NewCode, name: str, now: datetime) -> User | None:
    """Store a code, the only one that is good in its browser from now on; answers with whom to write to, if anybody.

    Raises TooMany, whether the name is somebody's or not.
    """
    of_name = sign_in_codes.c.name_hash == code.name_hash
    of_address = sign_in_codes.c.address == code.address
    for those, most in ((of_name, MAX_PER_NAME), (of_address, MAX_PER_ADDRESS)):
        if len(ends := _ends(connection, those, now)) >= most:
            raise TooMany("enough codes were asked for", (ends[-most] - now).total_seconds())
    user = find_user(connection, name)
    if user is not None and len(_ends(connection, sign_in_codes.c.user_id == user.id, now)) >= MAX_PER_NAME:
        user = None  # they had enough under another of their names, which is nobody's business
    values = {each: getattr(code, each) for each in NewCode.__struct_fields__}
    connection.execute(sign_in_codes.insert().values(**values, user_id=user.id if user else None))
    return user


def _ends(connection: sa.Connection, those: sa.ColumnElement[bool], now: datetime) -> list[datetime]:
    """When those that are not over will be, soonest first."""
    ends = sign_in_codes.c.expires_at
    return list(connection.execute(sa.select(ends).where(those, ends > now).order_by(ends)).scalars())


@conducts(Conduct(brings_work=False, changes_nouns=False))
def take_code(connection: sa.Connection, browser_hash: bytes, code_hash: bytes, now: datetime) -> User | None:
    """Whom a code signs in, which uses it up; a wrong one costs a try."""
    newest = sa.select(sign_in_codes).where(sign_in_codes.c.browser_hash == browser_hash)
    row = connection.execute(newest.order_by(sign_in_codes.c.id.desc()).limit(1)).one_or_none()
    if row is None or row.expires_at <= now or row.tries_left == 0:
        return None
    is_right = hmac.compare_digest(row.code_hash, code_hash) and row.user_id is not None
    left = 0 if is_right else row.tries_left - 1
    connection.execute(sign_in_codes.update().where(sign_in_codes.c.id == row.id).values(tries_left=left))
    found = connection.execute(sa.select(users).where(users.c.id == row.user_id)).one_or_none()
    return to_user(found) if is_right and found is not None else None
