"""What runs found: kept while a run is not over, so that a broken-off one goes on; then part of the published data."""

import re
from pathlib import Path

import msgspec

from benchmarks.subjects import ROOT
from faults.scenario import Figure, Scenario

PUBLISHED = ROOT / "docs" / "reliability.json"
KEPT = ROOT / ".faults"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one scenario found, and where and when."""

    id: str
    title: str
    fault: str
    figures: list[Figure] = []
    problem: str = ""
    """Why there are no figures, or not all of them."""

    seconds: float = 0
    seed: int
    is_smoke: bool = False
    commit: str
    machine: str
    measured_at: str

    @property
    def is_met(self) -> bool:
        return not self.problem and all(figure.is_met is not False for figure in self.figures)

    @classmethod
    def of(cls, scenario: Scenario, **found: object) -> "Result":
        return msgspec.convert({"id": scenario.id, "title": scenario.title, "fault": scenario.fault} | found, cls)


class Kept:
    """A run's files in a folder: a result for each scenario that is over, the parts of the others."""

    def __init__(self, folder: Path, *, seed: int, is_smoke: bool) -> None:
        self._folder = folder / f"{seed}{'-smoke' if is_smoke else ''}"

    def parts(self, scenario_id: str) -> Path:
        return self._folder / f"{scenario_id}.parts.json"

    def find(self, scenario_id: str) -> Result | None:
        path = self._path(scenario_id)
        return msgspec.json.decode(path.read_bytes(), type=Result) if path.exists() else None

    def add(self, result: Result) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path(result.id).write_bytes(msgspec.json.encode(result))
        self.parts(result.id).unlink(missing_ok=True)

    def remove(self, scenario_id: str) -> None:
        self._path(scenario_id).unlink(missing_ok=True)
        self.parts(scenario_id).unlink(missing_ok=True)

    def _path(self, scenario_id: str) -> Path:
        return self._folder / f"{scenario_id}.json"


def read_published(path: Path = PUBLISHED) -> list[Result]:
    return msgspec.json.decode(path.read_bytes(), type=list[Result]) if path.exists() else []


def publish(results: list[Result], path: Path = PUBLISHED) -> list[Result]:
    """Put these in the place of what was published of the same scenarios; answers with all, in order."""
    merged = {result.id: result for result in [*read_published(path), *results]}
    ordered = sorted(merged.values(), key=lambda result: (int(re.sub(r"\D", "", result.id) or 0), result.id))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    return ordered
