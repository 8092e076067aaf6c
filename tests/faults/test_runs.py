"""A run of the harness: it goes on where it was broken off, and shows what missed its target."""

import argparse
import random
from pathlib import Path

import pytest

from faults import report
from faults.__main__ import Run, chosen, parse_options
from faults.nemesis import schedule
from faults.results import Result, publish, read_published
from faults.scenario import Context, Figure, OutOfTime, Part, Scenario, load_scenarios


def scenario_of(*parts: str, log: list[str]) -> Scenario:
    """A scenario that measures a number of chance in each part."""

    async def measure(part: Part) -> int:
        log.append(part.folder.name)
        assert list(part.folder.iterdir()) == []
        return part.chance.randrange(1_000_000)

    async def run(context: Context) -> list[Figure]:
        return [Figure(name=name, value=await context.keep(name, int, measure)) for name in parts]

    return Scenario(id="F99", title="a scenario", fault="None.", run=run)


def options(folder: Path, *words: str) -> argparse.Namespace:
    return parse_options(["--data", str(folder), "--kept", str(folder / "kept"), *words])


@pytest.mark.parametrize(
    ("target", "met", "missed"),
    [("= 0", 0, 1), ("<= 50 s", 50, 50.1), ("< 5", 4.9, 5), (">= 1", 1, 0), ("> 0.95", 1, 0.95)],
)
def test_a_figure_is_held_against_its_target(target: str, met: float, missed: float) -> None:
    assert Figure(name="", value=met, target=target).is_met is True
    assert Figure(name="", value=missed, target=target).is_met is False
    assert Figure(name="", value=missed).is_met is None


def test_a_target_that_is_no_comparison_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="about 3"):
        _ = Figure(name="", value=3, target="about 3").is_met


async def test_a_seed_makes_the_same_run_again(tmp_path: Path) -> None:
    def context(seed: int) -> Context:
        return Context("F99", seed=seed, folder=tmp_path)

    run = scenario_of("one", "two", log=[]).run
    first = await run(context(1))
    assert await run(context(1)) == first
    assert await run(context(2)) != first
    assert first[0].value != first[1].value
    strikes = [schedule(random.Random(seed), 6, kinds=["a", "b"], within_seconds=(1, 2)) for seed in (1, 1, 2)]
    assert strikes[0] == strikes[1] != strikes[2]
    assert sorted(strike.kind for strike in strikes[0]) == ["a", "a", "a", "b", "b", "b"]


async def test_a_run_that_is_broken_off_goes_on_after_the_parts_that_are_done(tmp_path: Path) -> None:
    log: list[str] = []
    scenario = scenario_of("one", "two", "three", log=log)
    kept = tmp_path / "kept.json"
    whole = await scenario.run(Context("F99", seed=1, folder=tmp_path))

    class Impatient(Context):
        @property
        def seconds_left(self) -> float:
            return 2 - len(log)

    log.clear()
    with pytest.raises(OutOfTime, match="three"):
        await scenario.run(Impatient("F99", seed=1, folder=tmp_path, kept=kept))
    assert await scenario.run(Context("F99", seed=1, folder=tmp_path, kept=kept)) == whole
    assert log == ["F99-one", "F99-two", "F99-three"]


def test_a_run_keeps_scenarios_that_are_over_until_all_are(tmp_path: Path) -> None:
    log: list[str] = []
    scenario = scenario_of("one", log=log)
    assert Run(options(tmp_path, "--max-seconds", "0")).run([scenario]) == []
    assert log == []
    [result] = Run(options(tmp_path)).run([scenario])
    assert (result.id, result.problem, len(result.figures)) == ("F99", "", 1)
    assert Run(options(tmp_path)).run([scenario])[0].figures == result.figures
    assert log == ["F99-one", "F99-one"]  # the first run was over, so that the second is a new one


def test_a_scenario_that_fails_is_told_and_the_next_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(_: Context) -> list[Figure]:
        raise RuntimeError("no disk")

    broken = Scenario(id="F98", title="broken", fault="", run=fail)
    results = Run(options(tmp_path)).run([broken, scenario_of("one", log=[])])
    assert [(result.id, result.is_met) for result in results] == [("F98", False), ("F99", True)]
    assert results[0].problem == "RuntimeError: no disk"


def test_what_a_machine_cannot_do_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def run(_: Context) -> list[Figure]:
        raise AssertionError

    scenario = Scenario(id="F99", title="", fault="", run=run, missing=lambda: "nobody is root")
    assert Run(options(tmp_path)).run([scenario]) == []
    assert "SKIPPED F99: nobody is root" in capsys.readouterr().err


def result(scenario_id: str, *figures: Figure) -> Result:
    scenario = Scenario(id=scenario_id, title=f"title of {scenario_id}", fault="It falls.", run=lambda _: None)  # type: ignore[arg-type, return-value]
    return Result.of(scenario, figures=figures, seed=7, commit="abc", machine="a box", measured_at="2026-01-02")


def test_the_page_shows_each_figure_with_its_target_and_what_missed_it(tmp_path: Path) -> None:
    path, page = tmp_path / "reliability.json", tmp_path / "reliability.md"
    publish([result("F10", Figure(name="lost", value=0, target="= 0")), result("F2")], path)
    publish([result("F2", Figure(name="recovered, p99", value=51.25, unit="s", target="<= 50 s"))], path)
    assert [one.id for one in read_published(path)] == ["F2", "F10"]
    report.write_page(read_published(path), page)
    text = page.read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert ["lost", "= 0", "0", "met"] in rows
    assert ["recovered, p99", "<= 50 s", "51.2 s", "**missed**"] in rows
    assert "Seed 7, commit abc, 2026-01-02" in text
    assert ["F2: title of F2", "0", "**1**"] in rows
    assert ["F10: title of F10", "1", ""] in rows
    assert text.index("### F2: title of F2") < text.index("### F10: title of F10")


def test_scenarios_are_chosen_by_their_ids(tmp_path: Path) -> None:
    assert [scenario.id for scenario in chosen(options(tmp_path, "--only", "F2,F1"))] == ["F1", "F2"]
    with pytest.raises(SystemExit, match="F77"):
        chosen(options(tmp_path, "--only", "F1,F77"))
    assert not any(scenario.is_soak for scenario in chosen(options(tmp_path)))


def test_every_scenario_says_what_it_does() -> None:
    for scenario in load_scenarios().values():
        assert scenario.title
        assert scenario.fault.endswith(".")
