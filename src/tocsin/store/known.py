"""Notifiers as the history knows them: those that were removed are still there."""

from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.model import Notifier
from tocsin.store.notifiers import to_notifier
from tocsin.store.reading import read_each
from tocsin.store.schema import notifiers


class Known(msgspec.Struct, frozen=True):
    """A notifier, and when it was removed, if it was."""

    notifier: Notifier
    removed_at: datetime | None = None


def find_known(connection: sa.Connection, app_id: str, notifier_id: str) -> Known | None:
    """None also for one that is damaged."""
    one = _of(app_id).where(notifiers.c.id == notifier_id)
    return read_each(connection, one, notifiers.c.id, partial(_to_known, connection)).get(notifier_id)


def list_known(connection: sa.Connection, app_id: str, at: datetime, *, limit: int, offset: int) -> list[Known]:
    """A page of the notifiers of an app that are there or were at that time, oldest first, without damaged ones."""
    page = _there(app_id, at).order_by(notifiers.c.id).limit(limit).offset(offset)
    ids = connection.execute(page.with_only_columns(notifiers.c.id)).scalars().all()
    # By their ids, for what is damaged is looked at one by one.
    named = sa.select(notifiers).where(notifiers.c.id.in_(ids)).order_by(notifiers.c.id)
    return [
        known
        for known in read_each(connection, named, notifiers.c.id, partial(_to_known, connection)).values()
        if known
    ]


def count_known(connection: sa.Connection, app_id: str, at: datetime) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(_there(app_id, at).subquery())).scalar_one()


def _to_known(connection: sa.Connection, row: "sa.Row[Any]") -> Known:
    return Known(to_notifier(connection, row), row.removed_at)


def _there(app_id: str, at: datetime) -> "sa.Select[Any]":
    return _of(app_id).where(sa.or_(notifiers.c.removed_at.is_(None), notifiers.c.removed_at > at))


def _of(app_id: str) -> "sa.Select[Any]":
    return sa.select(notifiers).where(notifiers.c.app_id == app_id, sa.not_(notifiers.c.is_fallback))
