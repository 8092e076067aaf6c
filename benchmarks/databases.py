"""The PostgreSQL that a subject stores in: a server of its own, with the same settings for all."""

import os
from pathlib import Path

from benchmarks import procfs
from tests.postgres import PostgresServer
from tests.programs import ordinary_user

SETTINGS = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB", "max_wal_size": "4GB"}


def start_postgres(folder: Path, core: int | None) -> PostgresServer:
    """A running server whose data stand in that folder, as the ordinary user that PostgreSQL asks for."""
    place = folder / "postgres"
    place.mkdir()
    for path in (folder, place):  # temporary folders are closed to others
        path.chmod(0o755)
    if user := ordinary_user():
        os.chown(place, user["user"], user["group"])
    server = PostgresServer(place, SETTINGS)
    with procfs.pinned(core):
        server.start()
    return server
