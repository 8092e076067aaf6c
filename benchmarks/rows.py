"""The rows of the table: what is measured, with which database and receivers, and how it is loaded."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.baselines import BackgroundTasks, CeleryStack
from benchmarks.subjects import Floor, Site, Subject
from benchmarks.tocsin_subject import Tocsin

FLOOR_SQLITE = "floor, SQLite"
FLOOR_POSTGRES = "floor, PostgreSQL"
CLIENT = "Tocsin's HTTP client alone"
TOCSIN_SQLITE = "Tocsin, SQLite"
TOCSIN_POSTGRES = "Tocsin, PostgreSQL"
ONE_WORKER = "Tocsin, PostgreSQL, API + 1 worker, two cores"
TWO_WORKERS = "Tocsin, PostgreSQL, API + 2 workers, two cores"
BACKGROUND = "FastAPI background tasks, httpx, SQLite"
CELERY = "FastAPI, Celery, Redis, PostgreSQL"


@dataclass(frozen=True)
class Row:
    """One row. `make` is None for the client, which accepts nothing; what is not pinned shares the load's core."""

    name: str
    make: Callable[[Site], Subject] | None
    connections: int = 256
    window: int = 1000
    longest_seconds: float = 60
    is_pinned: bool = True
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The programs that are not installed here and without which it cannot be measured."""
        return [program for program in self.needs if shutil.which(program) is None]


# What does one thing after another gets few connections, so that it is not measured by its queues.
FEW_CONNECTIONS, FEW_OUTSTANDING = 20, 20
ROWS = (
    Row(FLOOR_SQLITE, Floor),
    Row(TOCSIN_SQLITE, Tocsin),
    Row(f"{TOCSIN_SQLITE}, receivers over TLS", lambda site: Tocsin(site, receivers="tls")),
    Row(f"{TOCSIN_SQLITE}, 200 receivers", lambda site: Tocsin(site, app_count=200)),
    Row(FLOOR_POSTGRES, lambda site: Floor(site, "postgresql")),
    Row(TOCSIN_POSTGRES, lambda site: Tocsin(site, "postgresql")),
    Row(f"{TOCSIN_POSTGRES}, receivers over TLS", lambda site: Tocsin(site, "postgresql", receivers="tls")),
    Row(f"{TOCSIN_POSTGRES}, 200 receivers", lambda site: Tocsin(site, "postgresql", app_count=200)),
    Row(ONE_WORKER, lambda site: Tocsin(site, "postgresql", ("api", "worker")), is_pinned=False),
    Row(TWO_WORKERS, lambda site: Tocsin(site, "postgresql", ("api", "worker", "worker")), is_pinned=False),
    Row(CLIENT, None),
    Row(BACKGROUND, BackgroundTasks, FEW_CONNECTIONS, FEW_OUTSTANDING, longest_seconds=2),
    Row(
        CELERY,
        lambda site: CeleryStack(site, "postgresql"),
        FEW_CONNECTIONS,
        FEW_OUTSTANDING,
        longest_seconds=2,
        needs=("redis-server",),
    ),
)
