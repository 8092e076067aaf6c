"""Applying a mutant to a copy of the source, and running tests on the copy."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.mutations import Mutant

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = "tocsin"

MAX_SECONDS = 900

# Few plugins, for a quick start; and what a test that failed has left open is no matter here.
_WITH = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "xdist.plugin")
_WITHOUT = ("-p", "no:cacheprovider", "-p", "no:unraisableexception")
_FAILED = re.compile(r"^FAILED (\S+::[^\s\[]+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)


def mutate(source: str, mutant: Mutant) -> str:
    """The text with the change made. Raises AssertionError when that is no change of what the text does."""
    assert source.count(mutant.old) == 1, (
        f"{mutant.name}: this stands {source.count(mutant.old)} times in {mutant.path}, not once: {mutant.old!r}"
    )
    mutated = source.replace(mutant.old, mutant.new)
    assert ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source)), f"{mutant.name}: changes nothing"
    return mutated


def copy_source(folder: Path, mutant: Mutant | None = None) -> Path:
    """A copy of the whole source, with the mutant in it; answers with its folder."""
    copy = folder / "src"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("*.pyc.*"))  # which others may be writing
    if mutant is not None:
        path = copy / PACKAGE / mutant.path
        path.write_text(mutate(path.read_text(encoding="utf-8"), mutant), encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()  # told from the new text by its size and second alone
    return copy


def run_tests(copy: Path, tests: Sequence[str], *options: str) -> set[str]:
    """Run tests of the checkout on a copy of the source; answers with the node ids of those that failed.

    Raises AssertionError when they could not be run.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    own = {
        "PYTHONPATH": str(copy),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(copy.parent / "hypothesis"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=line", "-rf", *_WITHOUT, *_WITH, *options, *tests],
        cwd=ROOT,
        env=kept | own,
        capture_output=True,
        text=True,
        check=False,
        timeout=MAX_SECONDS,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert " error" not in done.stdout.splitlines()[-1], done.stdout
    failed = set(_FAILED.findall(done.stdout))
    assert bool(failed) == bool(done.returncode), done.stdout
    return failed


def covers(test: str, failed: str) -> bool:
    """Whether a failed test is the named one, or one of its cases."""
    return failed == test or failed.startswith(f"{test}[")
