"""Who of an app a notifier can name."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.audit import Note
from tocsin.model import DeliveryReason, NotifierState, User
from tocsin.store.audit import add_note
from tocsin.store.endings import cancel_pending
from tocsin.store.schema import apps, collaborators, notifiers, users
from tocsin.store.sealed import seal, unseal


def list_members(connection: sa.Connection, app_id: str, user_ids: Sequence[str]) -> list[User]:
    """The users of these ids who own an app or collaborate on it, by name."""
    owner = sa.select(apps.c.owner_id).where(apps.c.id == app_id)
    others = sa.select(collaborators.c.user_id).where(
        collaborators.c.app_id == app_id, collaborators.c.user_id.is_not(None)
    )
    statement = (
        sa.select(users)
        .where(users.c.id.in_(user_ids), sa.or_(users.c.id.in_(owner), users.c.id.in_(others)))
        .order_by(users.c.username)
    )
    return [
        User(**{name: getattr(row, name) for name in User.__struct_fields__}) for row in connection.execute(statement)
    ]


def remove_recipient(connection: sa.Connection, notifier_id: str, address: str, note: Note) -> None:
    """Take an e-mail address off a notifier, given there itself or as that of a user; `note` tells of it.

    A notifier that has nobody left is turned off.
    """
    columns = (notifiers.c.type_data, notifiers.c.app_id, notifiers.c.name)
    is_meant = (notifiers.c.id == notifier_id, notifiers.c.removed_at.is_(None))
    row = connection.execute(sa.select(*columns).where(*is_meant)).one_or_none()
    if row is None:
        return
    gone = address.casefold()
    of_users = sa.select(users.c.id).where(sa.func.lower(users.c.email) == gone)
    user_ids = set(connection.execute(of_users).scalars())
    before = unseal(connection, notifiers.c.type_data, notifier_id, row.type_data)
    type_data = dict(before)
    type_data["emails"] = [email for email in type_data.get("emails") or () if email.casefold() != gone]
    type_data["user_ids"] = [user_id for user_id in type_data.get("user_ids") or () if user_id not in user_ids]
    sealed = seal(connection, notifiers.c.type_data, notifier_id, type_data)
    changes: dict[str, Any] = {"type_data": sealed, "updated_at": note.at}
    if not type_data["emails"] and not type_data["user_ids"]:
        changes |= {"active": False, "state": NotifierState.OFF, "state_reason": "everyone has unsubscribed"}
        cancel_pending(connection, notifier_id, reason=DeliveryReason.NOTIFIER_OFF, at=note.at)
    if type_data != before:
        connection.execute(notifiers.update().where(notifiers.c.id == notifier_id).values(**changes))
        add_note(connection, msgspec.structs.replace(note, app_id=row.app_id, object_name=row.name))
