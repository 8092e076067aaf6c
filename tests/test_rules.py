"""The project's own rules, where a tool can hold them: documents that tell the truth, sizes, names, and places."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.model import AttemptOutcome, DeliveryReason, DeliveryState, Reason
from tocsin.platforms import load_platforms
from tocsin.settings import SETTING_NAMES

ROOT = Path(__file__).parent.parent
SOURCE = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
FAULTS = sorted((ROOT / "faults").rglob("*.py"))

BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "service", "handler", "processor", "core"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR \w+ )?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE)\b", re.DOTALL
)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def shown(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_every_stop_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    stops = re.findall(r"`(tocsin[\w.]*):([\w.]+)`", text)
    assert len(stops) >= 13
    for module, path in stops:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        assert callable(found), path


def test_every_module_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    places = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    named = {name for place in places for name in re.findall(r"`([a-z_/]+(?:\.py)?)`", place)}
    assert {"model.py", "store/", "wiring.py"} <= named
    for name in named:
        assert (ROOT / "src" / "tocsin" / name).exists(), name


@pytest.mark.parametrize("words", [DeliveryState, DeliveryReason, AttemptOutcome, Reason])
def test_every_word_of_a_delivery_is_explained(words: type) -> None:
    text = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert {word.value for word in words} <= explained


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(SETTING_NAMES) <= set(re.findall(r"TOCSIN_[A-Z_]+", text))


def test_every_platform_has_a_test_file_and_a_page() -> None:
    for name in load_platforms():
        assert (ROOT / "tests" / "platforms" / f"test_{name}.py").exists(), name
        assert (ROOT / "docs" / "platforms" / f"{name}.md").exists(), name


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in link and not link.startswith("mailto:"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_file_is_longer_than_its_limit() -> None:
    def lines(path: Path) -> int:
        return len(path.read_text(encoding="utf-8").splitlines())

    assert shown([path for path in [*SOURCE, *BENCHMARKS, *FAULTS] if lines(path) > 400]) == []
    assert shown([path for path in TESTS if lines(path) > 600]) == []


def test_no_function_is_longer_than_fifty_lines() -> None:
    # Where parts are put together, a long list of parts is what it is.
    exempt = {"wiring.py", "0001_ground_floor.py"}
    long = [
        f"{path.relative_to(ROOT)}:{function.name}"
        for path in SOURCE
        if path.name not in exempt
        for function in functions(ast.parse(path.read_text(encoding="utf-8")))
        if (function.end_lineno or 0) - function.lineno + 1 > 50
    ]
    assert long == []


def test_sql_stands_in_the_store_alone() -> None:
    outside = [path for path in SOURCE if "store" not in path.relative_to(ROOT / "src" / "tocsin").parts]
    assert outside
    found = [path for path in outside if any(map(SQL.search, strings(ast.parse(path.read_text(encoding="utf-8")))))]
    assert shown(found) == []


def test_modules_are_named_for_what_they_hold() -> None:
    assert shown([path for path in SOURCE if path.stem in BANNED_NAMES]) == []


def test_the_locks_hold_hashes_and_no_addresses() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "//" not in text
        pins = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
        assert pins
        for pin in pins:
            assert re.match(r"[A-Za-z0-9_.-]+==[^\n]+ \\\n +--hash=sha256:[0-9a-f]{64}\b", pin), pin
