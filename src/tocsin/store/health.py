"""Whether the database can do its work now."""

import asyncio

import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.errors import StoreError
from tocsin.store.migrate import is_current, is_newer
from tocsin.store.port import Conduct, Store, conducts

ANSWER_SECONDS = 1.0


class Readiness:
    """`check_store` for whoever asks, without a token: each look costs a commit, so that an answer stands a second."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._looking = asyncio.Lock()
        self._until = float("-inf")
        self._found: dict[str, str] = {}

    async def check(self) -> dict[str, str]:
        async with self._looking:
            if self._clock.monotonic() >= self._until:
                self._found = await check_store(self._store)
                self._until = self._clock.monotonic() + ANSWER_SECONDS
        return self._found


async def check_store(store: Store) -> dict[str, str]:
    """What stands in the way of serving, each by name with a sentence; nothing means ready."""
    try:
        if not await store.read(_is_usable):
            return {"schema": "the database's schema is not current: run tocsin migrate"}
        await store.write(_commit_nothing)
        shortage = await store.check_room()
    except StoreError as error:
        return {"database": str(error)}
    return {} if shortage is None else {"disk": shortage}


def _is_usable(connection: sa.Connection) -> bool:
    # A newer Tocsin's schema serves the processes that it has not replaced yet.
    return is_current(connection) or is_newer(connection)


@conducts(Conduct(takes_turn=False, brings_work=False, changes_nouns=False))
def _commit_nothing(connection: sa.Connection) -> None:
    """Take the write lock and commit: a full disk or a lost database shows here."""
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
    else:
        # A transaction with a number of its own is written and synced when it ends; no row is locked for it.
        connection.execute(sa.select(sa.func.pg_current_xact_id()))
