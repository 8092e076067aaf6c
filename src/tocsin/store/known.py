"""Notifiers as the history knows them: those that were removed are still there."""

from datetime import datetime
from typing import Any

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
    row = connection.execute(_of(app_id).where(notifiers.c.id == notifier_id)).one_or_none()
    return None if row is None else Known(to_notifier(row), row.removed_at)


def list_known(connection: sa.Connection, app_id: str, at: datetime, *, limit: int, offset: int) -> list[Known]:
    """A page of the notifiers of an app that are there or were at that time, oldest first."""
    page = _there(app_id, at).order_by(notifiers.c.id).limit(limit).offset(offset)
    return [Known(to_notifier(row), row.removed_at) for row in connection.execute(page)]


def count_known(connection: sa.Connection, app_id: str, at: datetime) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(_there(app_id, at).subquery())).scalar_one()


def _there(app_id: str, at: datetime) -> "sa.Select[Any]":
    return _of(app_id).where(sa.or_(notifiers.c.removed_at.is_(None), notifiers.c.removed_at > at))


def _of(app_id: str) -> "sa.Select[Any]":
    return sa.select(notifiers).where(notifiers.c.app_id == app_id, sa.not_(notifiers.c.is_fallback))
