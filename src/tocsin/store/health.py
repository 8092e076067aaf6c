"""Whether the database can do its work now."""

import sqlalchemy as sa

from tocsin.errors import StoreError
from tocsin.store.migrate import is_current
from tocsin.store.port import Store


async def check_store(store: Store) -> dict[str, str]:
    """What stands in the way of serving, each by name with a sentence; nothing means ready."""
    try:
        if not await store.read(is_current):
            return {"schema": "the database's schema is not current: run tocsin migrate"}
        await store.write(_commit_nothing)
    except StoreError as error:
        return {"database": str(error)}
    return {}


def _commit_nothing(connection: sa.Connection) -> None:
    """Take the write lock and commit: a full disk or a lost database shows here."""
    connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
