"""Which worker comes first with which notifier, so that several do not claim the same at once.

A preference, nothing more: when it is wrong for a moment, for a worker has come or gone, the locks decide.
"""

from zlib import crc32

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
        self._pids = [row["pid"] for row in await connection.fetch(FIND_WORKERS, WORKER_NAME)]

    def is_mine(self, notifier_id: str) -> bool:
        """Whether this worker comes first: of all, the one whose hash with the notifier is the largest."""
        if len(self._pids) < 2:
            return True
        return max(self._pids, key=lambda pid: crc32(f"{pid} {notifier_id}".encode())) == self._own
