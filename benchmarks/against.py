"""What an event costs now and at another commit: `python -m benchmarks --against FOLDER`, of a checkout of that one."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from benchmarks.bench import say, stage
from benchmarks.load import Phase
from benchmarks.pairs import Pair, compared
from benchmarks.subjects import Database, Site, place
from benchmarks.tocsin_subject import Tocsin

LIMIT = "1000000"
"""Requests a minute: each is counted, as it is where there is a limit."""


class Checkout(Tocsin):
    """The Tocsin of a folder, with the dependencies that are installed here."""

    program = (sys.executable, "-m", "tocsin")

    def __init__(self, site: Site, database: Database, folder: Path) -> None:
        super().__init__(site, database)
        self._environment |= {"PYTHONPATH": str(folder / "src"), "TOCSIN_RATE_LIMIT": LIMIT}


def measure_against(folder: Path, data: Path, seconds: float, pairs: int) -> None:
    """Print the medians of pairs, the other commit first: events delivered a second, and CPU for each."""
    here = Path(__file__).parents[1]
    for database in get_args(Database):
        with stage(data) as (load, site), ExitStack() as stack:
            other, this = Checkout(place(site), database, folder), Checkout(place(site), database, here)
            for subject in (other, this):
                stack.callback(subject.stop)
                subject.start()
            found = Pair(load, other, this).measure(pairs, Phase(kind="deliver", warmup_seconds=0.5, seconds=seconds))
        rate = compared(found, lambda one: one.arrived_rate)
        cpu_us = compared(found, lambda one: one.app_cpu_us)
        both_us = compared(found, lambda one: one.app_cpu_us + one.database_cpu_us)
        say(f"  {database}: {rate} delivered/s, {cpu_us} µs of Tocsin, {both_us} µs with the database")
