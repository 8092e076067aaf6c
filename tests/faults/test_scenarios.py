"""Each scenario of faults in a short run: what it counts meets its targets. Times are for `make faults`."""

from pathlib import Path

import msgspec
import pytest

from faults.__main__ import SEED
from faults.scenario import Context, Figure, Scenario, load_scenarios


def short_runs() -> list[object]:
    scenarios = [scenario for scenario in load_scenarios().values() if not scenario.is_soak]
    return [
        pytest.param(scenario, id=scenario.id, marks=pytest.mark.slow if scenario.is_quick else pytest.mark.long)
        for scenario in scenarios
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", short_runs())
async def test_what_is_promised_holds_under(scenario: Scenario, tmp_path: Path) -> None:
    if missing := scenario.missing():
        pytest.skip(missing)
    figures = await scenario.run(Context(scenario.id, seed=SEED, folder=tmp_path, is_smoke=True))
    assert msgspec.json.decode(msgspec.json.encode(figures), type=list[Figure]) == figures  # as they are published
    counted = [figure for figure in figures if figure.is_met is not None and not figure.unit]
    assert counted
    assert [figure for figure in counted if not figure.is_met] == []
