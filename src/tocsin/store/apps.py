"""Apps, and who may see them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.access import Access, Role
from tocsin.errors import InvalidInput, NotFound
from tocsin.model import App, Notifier, User
from tocsin.store.events import add_event
from tocsin.store.notifiers import add_notifier, remove_all_notifiers
from tocsin.store.port import Dispatch, NewEvent
from tocsin.store.schema import apps, collaborators, users
from tocsin.store.users import TAKEN, to_user, user_columns


def list_apps(connection: sa.Connection, user: User) -> list[App]:
    """The apps that a user may see, by name: own ones and those shared with them; all for an admin."""
    statement = _present().where(_visible_to(user)).order_by(apps.c.name)
    return [_to_app(row) for row in connection.execute(statement)]


def list_some(connection: sa.Connection, user: User, app_ids: Collection[str]) -> list[App]:
    """Those of these apps that a user may see, by name."""
    statement = _present().where(_visible_to(user), apps.c.id.in_(app_ids)).order_by(apps.c.name)
    return [_to_app(row) for row in connection.execute(statement)]


def list_accesses(connection: sa.Connection, user: User, *, search: str, after: str, limit: int) -> list[Access]:
    """Some of the apps that a user may see, and what they are to each: by name, from beyond the name `after`.

    A search finds the apps whose names hold it.
    """
    statement = _with_limits(user).where(_visible_to(user), apps.c.name > after)
    if search:
        statement = statement.where(apps.c.name.contains(search, autoescape=True))
    return [_to_access(row, user) for row in connection.execute(statement.order_by(apps.c.name).limit(limit))]


def find_access(connection: sa.Connection, ref: str, user: User) -> Access | None:
    """The app with this id or name and what this user is to it, if anything."""
    statement = _with_limits(user).where(_visible_to(user), sa.or_(apps.c.id == ref, apps.c.name == ref))
    row = connection.execute(statement).one_or_none()
    return None if row is None else _to_access(row, user)


def _with_limits(user: User) -> "sa.Select[Any]":
    """Apps, each with whether this user is limited as a collaborator."""
    limit = sa.select(collaborators.c.is_limited).where(
        collaborators.c.app_id == apps.c.id, collaborators.c.user_id == user.id
    )
    return _present().add_columns(limit.scalar_subquery().label("is_limited"))


def _to_access(row: "sa.Row[Any]", user: User) -> Access:
    app = _to_app(row)
    if user.is_admin or app.owner.id == user.id:
        return Access(app, Role.OWNER)
    return Access(app, Role.LIMITED if row.is_limited else Role.COLLABORATOR)


def find_app_by_id(connection: sa.Connection, app_id: str) -> App | None:
    row = connection.execute(_present().where(apps.c.id == app_id)).one_or_none()
    return None if row is None else _to_app(row)


def add_app(connection: sa.Connection, app: App, first_notifier: Notifier) -> None:
    """Store a new app with its first notifier. Raises InvalidInput when the name is taken."""
    refuse_taken(connection, app.name)
    values = {"id": app.id, "name": app.name, "owner_id": app.owner.id}
    try:
        connection.execute(apps.insert().values(**values, created_at=app.created_at, updated_at=app.updated_at))
    except sa.exc.IntegrityError as error:
        # Another process was quicker, between the look and the insert.
        raise InvalidInput({"name": TAKEN}) from error
    add_notifier(connection, first_notifier)


def rename_app(connection: sa.Connection, app_id: str, name: str, *, at: datetime) -> None:
    """Raises InvalidInput when the name is taken, NotFound when the app was removed meanwhile."""
    refuse_taken(connection, name)
    statement = apps.update().where(apps.c.id == app_id, apps.c.removed_at.is_(None)).values(name=name, updated_at=at)
    try:
        changed = connection.execute(statement).rowcount
    except sa.exc.IntegrityError as error:
        raise InvalidInput({"name": TAKEN}) from error
    if not changed:
        raise NotFound("app")


def remove_app(connection: sa.Connection, app_id: str, last_event: NewEvent, dispatch: Dispatch) -> None:
    """Take an app away, with an event that tells of it and is still delivered. Its name is free at once."""
    statement = apps.update().where(apps.c.id == app_id, apps.c.removed_at.is_(None))
    at = last_event.received_at
    if not connection.execute(statement.values(name=None, removed_at=at, updated_at=at)).rowcount:
        raise NotFound("app")
    # Routed while its notifiers are still there.
    add_event(connection, last_event, dispatch)
    remove_all_notifiers(connection, app_id, last_event_id=last_event.id, at=at)


def refuse_taken(connection: sa.Connection, name: str) -> None:
    """Raises InvalidInput when an app has this name."""
    if connection.execute(sa.select(apps.c.id).where(apps.c.name == name)).first():
        raise InvalidInput({"name": TAKEN})


def _present() -> "sa.Select[Any]":
    own = [apps.c.id, apps.c.name, apps.c.created_at, apps.c.updated_at]
    statement = sa.select(*own, *user_columns("owner_")).join_from(apps, users, users.c.id == apps.c.owner_id)
    return statement.where(apps.c.removed_at.is_(None))


def _visible_to(user: User) -> sa.ColumnElement[bool]:
    if user.is_admin:
        return sa.true()
    shared = sa.select(collaborators.c.app_id).where(collaborators.c.user_id == user.id)
    return sa.or_(apps.c.owner_id == user.id, apps.c.id.in_(shared))


def _to_app(row: "sa.Row[Any]") -> App:
    return App(
        id=row.id,
        name=row.name,
        owner=to_user(row, "owner_"),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
