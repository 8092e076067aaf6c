"""What a scenario of faults is, what it finds, and what it may lean on while it runs.

Scenarios stand in `faults/scenarios`, one module for what belongs together, and are found by scanning that folder.
"""

import importlib
import operator
import pkgutil
import random
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from faults import scenarios

T = TypeVar("T")

_COMPARISONS = {"=": operator.eq, "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
_TARGET = re.compile(r"(=|<=|<|>=|>) (-?[\d.]+)")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number that a scenario found. `target` begins with a comparison, as in `= 0` or `<= 50 s`; "" for none."""

    name: str
    value: float
    unit: str = ""
    target: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        found = _TARGET.match(self.target)
        if found is None:
            raise ValueError(f"{self.target!r} is no comparison")
        return bool(_COMPARISONS[found[1]](self.value, float(found[2])))


class OutOfTime(Exception):
    """No further part may be begun; what was kept stays, and the next run goes on after it."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a scenario, that is made whole or not at all."""

    chance: random.Random
    """Seeded by the run's seed, the scenario's id and the part's name."""

    folder: Path
    """An empty folder of its own, removed afterwards."""

    is_smoke: bool


class Context:
    """What the runner gives a scenario."""

    def __init__(
        self,
        scenario_id: str,
        *,
        seed: int,
        folder: Path,
        is_smoke: bool = False,
        end_at: float = float("inf"),
        kept: Path | None = None,
    ) -> None:
        """`end_at` is on the monotonic clock; `kept` is the file of the parts that are done, if they are to be kept."""
        self.seed = seed
        self.is_smoke = is_smoke
        self._id = scenario_id
        self._folder = folder
        self._end_at = end_at
        self._kept = kept
        self._done: dict[str, msgspec.Raw] = {}
        if kept is not None and kept.exists():
            self._done = msgspec.json.decode(kept.read_bytes(), type=dict[str, msgspec.Raw])

    @property
    def seconds_left(self) -> float:
        return self._end_at - time.monotonic()

    def repetitions(self, full: int, *, smoke: int) -> int:
        """How often something is to be done."""
        return smoke if self.is_smoke else full

    async def keep(self, name: str, kind: type[T], do: Callable[[Part], Awaitable[T]]) -> T:
        """Carry out a part and keep what it found, or answer with what an earlier run kept of it.

        `kind` is what `do` answers with, for JSON. Raises OutOfTime when no time is left to begin it.
        """
        if name in self._done:
            return msgspec.json.decode(self._done[name], type=kind)
        if self.seconds_left <= 0:
            raise OutOfTime(name)
        folder = self._folder / re.sub(r"\W+", "-", f"{self._id} {name}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        chance = random.Random(f"{self.seed} {self._id} {name}")
        found = await do(Part(chance=chance, folder=folder, is_smoke=self.is_smoke))
        shutil.rmtree(folder, ignore_errors=True)
        self._done[name] = msgspec.Raw(msgspec.json.encode(found))
        if self._kept is not None:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            self._kept.write_bytes(msgspec.json.encode(self._done))
        return found


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, how it is made, and what is measured under it."""

    id: str
    """As in `F1b`."""

    title: str

    fault: str
    """What is done to the installation, in words."""

    run: Callable[[Context], Awaitable[list[Figure]]]
    """May raise OutOfTime between its parts. Whatever else it raises is a failure of the scenario itself."""

    missing: Callable[[], str] = lambda: ""
    """What it needs and this machine does not have, in words; nothing when it can run."""

    is_quick: bool = False
    """Whether a short run is part of `make test`; the others' are part of `make test-long`."""

    is_soak: bool = False
    """Whether it runs by `make soak` alone."""


def load_scenarios() -> Mapping[str, Scenario]:
    """All scenarios by id, in the order of their numbers."""
    found: dict[str, Scenario] = {}
    for module in pkgutil.iter_modules(scenarios.__path__):
        names: dict[str, Any] = vars(importlib.import_module(f"{scenarios.__name__}.{module.name}"))
        for scenario in names.values():
            if isinstance(scenario, Scenario) and found.setdefault(scenario.id, scenario) is not scenario:
                raise ValueError(f"two scenarios are named {scenario.id}")
    return {name: found[name] for name in sorted(found, key=_order)}


def _order(name: str) -> tuple[int, str]:
    number = re.search(r"\d+", name)
    return (int(number[0]) if number else 0, name)
