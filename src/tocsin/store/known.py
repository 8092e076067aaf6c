"""Notifiers as the history knows them: those that were removed are still there."""

from datetime import datetime

import msgspec
import sqlalchemy as sa

from tocsin.model import Notifier
from tocsin.store.notifiers import to_notifier
from tocsin.store.schema import notifiers


class Known(msgspec.Struct, frozen=True):
    """A notifier, and when it was removed, if it was."""

    notifier: Notifier
    removed_at: datetime | None = None


def find_known(connection: sa.Connection, app_id: str, notifier_id: str) -> Known | None:
    statement = sa.select(notifiers).where(
        notifiers.c.id == notifier_id, notifiers.c.app_id == app_id, sa.not_(notifiers.c.is_fallback)
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else Known(to_notifier(row), row.removed_at)
