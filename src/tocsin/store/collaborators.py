"""Who else has access to an app. A row without a user waits for one with its e-mail address."""

from typing import Any

import sqlalchemy as sa

from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.model import App, Collaborator, User
from tocsin.store.apps import find_access
from tocsin.store.schema import collaborators, users

HAS_ACCESS = ["has access to the app already"]


def list_collaborators(connection: sa.Connection, app_id: str) -> list[Collaborator]:
    """An app's collaborators, oldest first."""
    statement = _named().where(collaborators.c.app_id == app_id).order_by(collaborators.c.id)
    return [_to_collaborator(row) for row in connection.execute(statement)]


def find_collaborator(connection: sa.Connection, app_id: str, collaborator_id: str) -> Collaborator | None:
    statement = _named().where(collaborators.c.app_id == app_id, collaborators.c.id == collaborator_id)
    row = connection.execute(statement).one_or_none()
    return None if row is None else _to_collaborator(row)


def add_collaborator(connection: sa.Connection, collaborator: Collaborator) -> None:
    """Raises InvalidInput when this e-mail address has access already, Conflict when its user is newer than that."""
    values = {name: getattr(collaborator, name) for name in ("id", "app_id", "email", "user_id", "is_limited")}
    known = sa.select(collaborators.c.id).where(
        collaborators.c.app_id == collaborator.app_id, collaborators.c.email == collaborator.email
    )
    if connection.execute(known).first():
        raise InvalidInput({"email": HAS_ACCESS})
    if (
        collaborator.user_id is None
        and connection.execute(sa.select(users.c.id).where(users.c.email == collaborator.email)).first()
    ):
        raise Conflict("a user with this e-mail address was added at this moment: try again")
    try:
        connection.execute(collaborators.insert().values(**values, created_at=collaborator.created_at))
    except sa.exc.IntegrityError as error:
        raise InvalidInput({"email": HAS_ACCESS}) from error


def limit_collaborator(connection: sa.Connection, collaborator: Collaborator) -> None:
    """Store whether a collaborator is limited. Raises NotFound when it was removed meanwhile."""
    statement = collaborators.update().where(collaborators.c.id == collaborator.id)
    if not connection.execute(statement.values(is_limited=collaborator.is_limited)).rowcount:
        raise NotFound("collaborator")


def remove_collaborator(connection: sa.Connection, collaborator_id: str) -> None:
    """Raises NotFound when it was removed meanwhile."""
    if not connection.execute(collaborators.delete().where(collaborators.c.id == collaborator_id)).rowcount:
        raise NotFound("collaborator")


def accept_invitations(connection: sa.Connection, user: User) -> list[tuple[App, Collaborator]]:
    """Make a new user a collaborator of the apps that wait for their e-mail address."""
    waiting = sa.and_(collaborators.c.email == user.email, collaborators.c.user_id.is_(None))
    ids = list(connection.execute(sa.select(collaborators.c.id).where(waiting).order_by(collaborators.c.id)).scalars())
    connection.execute(collaborators.update().where(waiting).values(user_id=user.id))
    rows = connection.execute(_named().where(collaborators.c.id.in_(ids)).order_by(collaborators.c.id))
    accepted = [_to_collaborator(row) for row in rows]
    found = [(find_access(connection, collaborator.app_id, user), collaborator) for collaborator in accepted]
    return [(access.app, collaborator) for access, collaborator in found if access is not None]


def _named() -> "sa.Select[Any]":
    return sa.select(collaborators, users.c.username).outerjoin_from(
        collaborators, users, users.c.id == collaborators.c.user_id
    )


def _to_collaborator(row: "sa.Row[Any]") -> Collaborator:
    values = {name: getattr(row, name) for name in Collaborator.__struct_fields__}
    return Collaborator(**values | {"username": row.username or ""})
