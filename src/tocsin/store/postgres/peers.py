"""Which part of the deliveries a worker comes first with, so that several do not claim the same at once.

A preference, nothing more: when it is wrong for a moment, for a worker has come or gone, the locks decide.
"""

from tocsin.store.postgres.connections import Connection

WORKER_NAME = "tocsin worker"
"""What a worker's listening connection is called in pg_stat_activity."""

FIND_WORKERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"


class Peers:
    """The workers on one database, told apart by the process ids of their listening connections."""

    def __init__(self) -> None:
        self.is_worker = False
        self._own = 0
        self._pids: list[int] = []

    async def look(self, connection: Connection) -> None:
        """Show that this is a worker, and see who else is one."""
        self._own = connection.get_server_pid()
        if not self.is_worker:
            return
        await connection.execute(f"SET application_name = '{WORKER_NAME}'")
        self._pids = sorted(row["pid"] for row in await connection.fetch(FIND_WORKERS, WORKER_NAME))

    def share(self) -> tuple[int, int]:
        """How many workers there are, and which of them, from 0, this one is."""
        if self._own not in self._pids:
            return 1, 0
        return len(self._pids), self._pids.index(self._own)
