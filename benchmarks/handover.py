"""What it gains that stored deliveries are handed over without a claim: `python -m benchmarks --handover`."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import msgspec

from benchmarks import procfs
from benchmarks.bench import say, stage
from benchmarks.load import Phase
from benchmarks.pairs import Compared, Pair, compared
from benchmarks.subjects import ROOT, Database, place
from benchmarks.tocsin_subject import Tocsin

PACED_RATE = 1000.0


class ClaimingTocsin(Tocsin):
    """Tocsin that claims everything."""

    program = (sys.executable, "-m", "benchmarks.claiming")


class HandedOver(msgspec.Struct, frozen=True, kw_only=True):
    """Claiming against handing over on one database; the latency is at 1,000 events/s."""

    database: Database
    delivered: Compared
    cpu_us: Compared
    p50_ms: Compared


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """Both databases, and where and when."""

    found: tuple[HandedOver, ...]
    commit: str
    measured_at: str


def measure_handover(data: Path, seconds: float, pairs: int) -> Handover:
    found = tuple(_measure(data, database, seconds, pairs) for database in get_args(Database))
    return Handover(found=found, commit=procfs.commit(ROOT), measured_at=procfs.today())


def _measure(data: Path, database: Database, seconds: float, pairs: int) -> HandedOver:
    with stage(data) as (load, site), ExitStack() as stack:
        claiming, handing = ClaimingTocsin(place(site), database), Tocsin(place(site), database)
        for subject in (claiming, handing):
            stack.callback(subject.stop)
            subject.start()
        pair = Pair(load, claiming, handing)
        full = pair.measure(pairs, Phase(kind="deliver", warmup_seconds=0.5, seconds=seconds))
        paced = pair.measure(pairs, Phase(kind="paced", rate=PACED_RATE, warmup_seconds=0.5, seconds=seconds))
    measured = HandedOver(
        database=database,
        delivered=compared(full, lambda one: one.arrived_rate),
        cpu_us=compared(full, lambda one: one.app_cpu_us + one.database_cpu_us),
        p50_ms=compared(paced, lambda one: one.p50_ms),
    )
    say(f"  {database}: {measured.delivered} delivered/s, {measured.cpu_us} µs, p50 {measured.p50_ms} ms")
    return measured
