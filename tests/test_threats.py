"""The table of threats in docs/security.md: no row is without a test, and no test is named that does not exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = re.findall(r"^\| (T\d+) \|(.*)\|$", PAGE, re.MULTILINE)
COMES_WITH_ITS_FEATURE = {"T14", "T15", "T16"}


def names_of_tests(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_no_threat_is_left_out() -> None:
    assert [name for name, _ in ROWS] == [f"T{number}" for number in range(1, 32)]


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_each_defence_is_held_by_a_test_that_exists(name: str, row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert len(named) == row.count("tests/"), "a whole file holds nothing that one could look up"
    assert bool(named) is (name not in COMES_WITH_ITS_FEATURE)
    assert ("not built yet" in row) is (name in COMES_WITH_ITS_FEATURE)
    for file, test in named:
        assert test in names_of_tests(ROOT / file), f"{file}::{test}"
