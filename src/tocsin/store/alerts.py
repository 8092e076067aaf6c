"""Alert rules of an app."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tocsin.errors import NotFound
from tocsin.model import Alert
from tocsin.store.notifiers import to_alert
from tocsin.store.schema import alerts, notifiers


def list_alerts(connection: sa.Connection, app_id: str) -> list[Alert]:
    """The alert rules of an app, oldest first."""
    statement = sa.select(alerts).where(alerts.c.app_id == app_id).order_by(alerts.c.id)
    return [to_alert(row) for row in connection.execute(statement)]


def find_alert(connection: sa.Connection, app_id: str, alert_id: str) -> Alert | None:
    row = connection.execute(_one(app_id, alert_id)).one_or_none()
    return None if row is None else to_alert(row)


def find_alert_to_change(connection: sa.Connection, app_id: str, alert_id: str) -> Alert | None:
    """The same, kept from others until the transaction ends."""
    row = connection.execute(_one(app_id, alert_id).with_for_update()).one_or_none()
    return None if row is None else to_alert(row)


def add_alert(connection: sa.Connection, alert: Alert) -> None:
    connection.execute(alerts.insert().values(**_values(alert)))


def edit_alert(connection: sa.Connection, alert: Alert) -> None:
    connection.execute(alerts.update().where(alerts.c.id == alert.id).values(**_values(alert)))


def remove_alert(connection: sa.Connection, app_id: str, alert_id: str) -> None:
    """Raises NotFound when someone else removed it meanwhile."""
    statement = alerts.delete().where(alerts.c.app_id == app_id, alerts.c.id == alert_id)
    if not connection.execute(statement).rowcount:
        raise NotFound("alert")


def drop_notifier(connection: sa.Connection, app_id: str, notifier_id: str, *, at: datetime) -> None:
    """Take a notifier's name out of the alert rules of its app."""
    for alert in list_alerts(connection, app_id):
        if notifier_id in alert.notifiers:
            left = [each for each in alert.notifiers if each != notifier_id]
            connection.execute(alerts.update().where(alerts.c.id == alert.id).values(notifiers=left, updated_at=at))


def list_foreign_notifiers(connection: sa.Connection, app_id: str, notifier_ids: tuple[str, ...]) -> list[str]:
    """Those of the ids that are not notifiers of the app, in the order given."""
    own = sa.select(notifiers.c.id).where(notifiers.c.app_id == app_id, notifiers.c.removed_at.is_(None))
    known = set(connection.execute(own).scalars())
    return [notifier_id for notifier_id in notifier_ids if notifier_id not in known]


def _one(app_id: str, alert_id: str) -> "sa.Select[Any]":
    return sa.select(alerts).where(alerts.c.app_id == app_id, alerts.c.id == alert_id)


def _values(alert: Alert) -> dict[str, Any]:
    values = {name: getattr(alert, name) for name in alert.__struct_fields__}
    return values | {"notifiers": list(alert.notifiers)}
