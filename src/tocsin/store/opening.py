"""Which database an address names."""

from tocsin.clock import Clock
from tocsin.sealing import Sealer
from tocsin.store.port import Dispatch, Store
from tocsin.store.postgres import open_postgres
from tocsin.store.sqlite import SqliteStore


async def open_store(
    url: str,
    *,
    direct_url: str | None,
    clock: Clock,
    dispatch: Dispatch,
    sealer: Sealer,
    connections: int,
    is_migrating: bool,
) -> Store:
    """Open the database.

    `direct_url` leads past a pooler, `connections` bounds a pool, and an older schema is brought up to date when
    `is_migrating`: all three are PostgreSQL's alone. Raises ConfigError for a database that cannot be used as it is,
    StoreError for one that cannot be reached now.
    """
    if url.startswith("sqlite:"):
        return SqliteStore(url, clock=clock, dispatch=dispatch, sealer=sealer)
    return await open_postgres(
        url,
        direct_url=direct_url,
        clock=clock,
        dispatch=dispatch,
        sealer=sealer,
        pool_size=connections,
        is_migrating=is_migrating,
    )
