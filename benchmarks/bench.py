"""The course of a benchmark: which subject is started when, and what is measured on it."""

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import procfs
from benchmarks.load import Measured, Phase
from benchmarks.report import Figures
from benchmarks.subjects import ROOT, Subject


class LoadProcess:
    """The load process: phases in, measurements out."""

    def __init__(self, core: int | None) -> None:
        command = [sys.executable, "-m", "benchmarks.load", *([] if core is None else [str(core)])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._count = 0
        self.receiver_port = int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load process ended early")
        return line

    def measure(self, phase: Phase) -> Measured:
        assert self._process.stdin is not None
        self._count += 1
        numbered = msgspec.structs.replace(phase, number=self._count)
        self._process.stdin.write(msgspec.json.encode(numbered).decode() + "\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._read(), type=Measured)

    def close(self) -> None:
        self._process.communicate()


class Bench:
    """All repetitions over all subjects, and the figures they gave."""

    def __init__(self, folder: Path, subjects: list[type[Subject]], seconds: float, warmup_seconds: float) -> None:
        self._folder = folder
        self._subjects = subjects
        self._seconds = seconds
        self._warmup_seconds = warmup_seconds
        self.figures: dict[str, Figures] = defaultdict(Figures)

    def measure_speed(self) -> None:
        for subject in self._subjects:
            with self._started(subject) as (load, running):
                figures = self.figures[subject.name]
                self._add(figures.accept, load, running, "accept")
                self._add(figures.deliver, load, running, "deliver")
                figures.rss_mb.append(procfs.peak_rss_mb(running.group))

    def measure_latency(self) -> None:
        for subject in self._subjects:
            figures = self.figures[subject.name]
            figures.half_rate = median(one.arrived_rate for one in figures.deliver) / 2
            with self._started(subject) as (load, running):
                self._add(figures.paced, load, running, "paced", rate=figures.half_rate)

    def _add(self, to: list[Measured], load: LoadProcess, subject: Subject, kind: str, rate: float = 0) -> None:
        phase = {
            "kind": kind,
            "port": subject.port,
            "group": subject.group,
            "token": subject.token,
            "rate": rate,
            "warmup_seconds": self._warmup_seconds,
            "seconds": self._seconds,
        }
        measured = load.measure(msgspec.convert(phase, Phase))
        to.append(measured)
        shown = (
            f"{measured.accepted_rate:,.0f}/s accepted"
            if kind == "accept"
            else f"{measured.arrived_rate:,.0f}/s delivered, p50 {measured.p50_ms:.1f} ms, p99 {measured.p99_ms:.1f} ms"
        )
        print(f"  {subject.name}, {kind}: {shown}", file=sys.stderr, flush=True)

    @contextmanager
    def _started(self, kind: type[Subject]) -> Iterator[tuple[LoadProcess, Subject]]:
        cores = procfs.two_cores()
        load = LoadProcess(cores[1] if cores else None)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="tocsin-bench-") as folder:
            subject = kind(Path(folder), load.receiver_port, cores[0] if cores else None)
            try:
                subject.start()
                yield load, subject
            finally:
                subject.stop()
                load.close()
