"""The course of a benchmark: which row's programs are started when, and what is measured on them."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import procfs
from benchmarks.load import Measured, Phase
from benchmarks.receivers import Ports, make_certificates
from benchmarks.report import Figures
from benchmarks.rows import Row
from benchmarks.subjects import ROOT, Site, Subject


class LoadProcess:
    """The load process: phases in, measurements out."""

    def __init__(self, core: int | None, certificates: Path | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.load", *([str(certificates)] if certificates else [])]
        with procfs.pinned(core):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
        self._count = 0
        self.receivers = msgspec.json.decode(self._read(), type=Ports)

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load process ended early")
        return line

    def measure(self, phase: Phase, subject: Subject) -> Measured:
        """Run a phase against a subject; where it is, and what is to be watched, is filled in here."""
        assert self._process.stdin is not None
        self._count += 1
        whole = msgspec.structs.replace(
            phase,
            number=self._count,
            port=subject.port,
            token=subject.token,
            apps=phase.apps or (subject.quiet_apps if phase.kind == "accept" else subject.apps),
            app_pids=subject.app_pids,
            database_pids=subject.database_pids,
        )
        self._process.stdin.write(msgspec.json.encode(whole).decode() + "\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._read(), type=Measured)

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def stage(data: Path, *, is_pinned: bool = True) -> Iterator[tuple[LoadProcess, Site]]:
    """A load process with its receivers, and a folder on a real disk: whatever is started there ends with it."""
    cores = procfs.two_cores() if is_pinned else None
    with tempfile.TemporaryDirectory(dir=data, prefix="tocsin-bench-") as name:
        folder = Path(name)
        authority = make_certificates(folder)
        load = LoadProcess(cores[1] if cores else None, folder)
        try:
            yield load, Site(folder, load.receivers, authority, cores[0] if cores else None)
        finally:
            load.close()


class Bench:
    """All repetitions over all rows, and the figures they gave."""

    def __init__(self, data: Path, rows: list[Row], seconds: float, warmup_seconds: float) -> None:
        self._data = data
        self._seconds = seconds
        self._warmup_seconds = warmup_seconds
        self._rows = rows
        self.figures = {row.name: Figures() for row in rows}
        self.failures: dict[str, str] = {}

    def repeat(self) -> None:
        """Measure each row once; one that fails is left out from then on, and everybody is told."""
        for row in self._rows:
            if row.name in self.failures:
                continue
            try:
                self._measure(row)
            except (RuntimeError, OSError) as error:
                self.failures[row.name] = str(error)
                say(f"  {row.name} FAILED: {error}")

    def _measure(self, row: Row) -> None:
        figures = self.figures[row.name]
        with stage(self._data, is_pinned=row.is_pinned) as (load, site):
            if row.make is None:
                figures.deliver.append(measure_client(site, self._seconds))
                return self._tell(row, "client", figures.deliver[-1])
            subject = row.make(site)
            try:
                subject.start()
                self._measure_started(row, subject, load)
            finally:
                subject.stop()

    def _measure_started(self, row: Row, subject: Subject, load: LoadProcess) -> None:
        figures = self.figures[row.name]
        phase = Phase(
            kind="accept",
            warmup_seconds=self._warmup_seconds,
            seconds=min(self._seconds, row.longest_seconds),
            connections=row.connections,
            window=row.window,
        )
        figures.accept.append(load.measure(phase, subject))
        self._tell(row, "accept", figures.accept[-1])
        figures.deliver.append(load.measure(msgspec.structs.replace(phase, kind="deliver"), subject))
        self._tell(row, "deliver", figures.deliver[-1])
        figures.app_mb.append(procfs.memory_mb(subject.app_pids))
        figures.database_mb.append(procfs.memory_mb(subject.database_pids))
        half = median(one.arrived_rate for one in figures.deliver) / 2
        if half:
            figures.paced.append(load.measure(msgspec.structs.replace(phase, kind="paced", rate=half), subject))
            self._tell(row, "paced", figures.paced[-1])

    def _tell(self, row: Row, kind: str, measured: Measured) -> None:
        rate = measured.accepted_rate if kind == "accept" else measured.arrived_rate
        cpu = f"{measured.app_cpu_us:.0f} + {measured.database_cpu_us:.0f} µs"
        say(f"  {row.name}, {kind}: {rate:,.0f}/s, {cpu}, p50 {measured.p50_ms:.1f} ms, p99 {measured.p99_ms:.1f} ms")


def measure_client(site: Site, seconds: float) -> Measured:
    """The HTTP client alone, on the core of what is measured."""
    command = [sys.executable, "-m", "benchmarks.egress", "alone", str(site.receivers.plain), str(seconds)]
    with procfs.pinned(site.core):
        run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if run.returncode:
        raise RuntimeError(f"the client failed: {run.stderr.strip()}")
    said = json.loads(run.stdout)
    return Measured(arrived_rate=said["rate"], app_cpu_us=said["cpu_us"])


def end_on_sigterm() -> None:
    """A terminated run ends what it started, as an interrupted one does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def say(line: str) -> None:
    """Progress goes beside the table, which goes to standard output."""
    print(line, file=sys.stderr, flush=True)
