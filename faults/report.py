"""docs/reliability.md: every figure with its target, met or missed, made from docs/reliability.json."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import aligned
from benchmarks.subjects import ROOT
from faults.results import Result
from faults.scenario import Figure

PAGE = ROOT / "docs" / "reliability.md"
_TEMPLATE = Path(__file__).with_name("reliability.md.in")
_VERDICTS = {True: "met", False: "**missed**", None: ""}


def write_page(results: Sequence[Result], path: Path = PAGE) -> None:
    path.write_text(_TEMPLATE.read_text(encoding="utf-8").format(results=shown(results)), encoding="utf-8")


def shown(results: Sequence[Result]) -> str:
    """All results as Markdown."""
    if not results:
        return "Nothing has been measured yet."
    return "\n\n".join([_overview(results), *(_section(result) for result in results)])


def _overview(results: Sequence[Result]) -> str:
    """One line a scenario: how many of its targets were met."""
    lines = [["", "targets met", "missed"]]
    for result in results:
        verdicts = [figure.is_met for figure in result.figures]
        missed = "not whole" if result.problem else str(verdicts.count(False) or "")
        lines.append([f"{result.id}: {result.title}", str(verdicts.count(True)), missed and f"**{missed}**"])
    return aligned(lines)


def table(figures: Sequence[Figure]) -> str:
    lines = [["figure", "target", "result", ""]]
    lines += [
        [one.name, one.target, f"{_number(one.value)} {one.unit}".strip(), _VERDICTS[one.is_met]] for one in figures
    ]
    return aligned(lines)


def _section(result: Result) -> str:
    where = (
        f"{'A short run. ' if result.is_smoke else ''}Seed {result.seed}, commit {result.commit}, "
        f"{result.measured_at}, {result.seconds:.0f} s, on {result.machine}."
    )
    parts = [f"### {result.id}: {result.title}", result.fault]
    parts += [table(result.figures)] if result.figures else []
    parts += [f"**Not whole**: {result.problem}"] if result.problem else []
    return "\n\n".join([*parts, where])


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
