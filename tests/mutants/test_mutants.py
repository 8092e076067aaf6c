"""Protections cannot go unnoticed: for each that is taken out of the source, the tests that are named for it fail.

`make mutants` tries them all.
"""

from pathlib import Path

import pytest

from tests.mutants.mutations import MUTANTS, QUICK, Mutant
from tests.mutants.running import PACKAGE, ROOT, SOURCE, copy_source, covers, mutate, run_tests

MAX_SECONDS_EACH = 30
"""A mutant may well make a test wait for ever."""


def cases(mutants: tuple[Mutant, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("mutant", mutants, ids=[mutant.name for mutant in mutants])


@cases(MUTANTS)
def test_a_mutant_changes_what_stands_in_the_source(mutant: Mutant) -> None:
    mutate((SOURCE / PACKAGE / mutant.path).read_text(encoding="utf-8"), mutant)


@cases(MUTANTS)
def test_every_test_that_a_mutant_names_is_there(mutant: Mutant) -> None:
    for test in mutant.tests:
        file, *parts = test.split("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        for part in parts:
            assert f"def {part.partition('[')[0]}(" in text or f"class {part}:" in text


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(
    ("source", "problem"), [("b = 1", "0 times"), ("a = 1; a = 1", "2 times"), ("'' # a = 1", "changes nothing")]
)
def test_a_mutant_that_does_not_fit_the_source_any_more_is_told(source: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        mutate(source, Mutant("sign", "module.py", "a = 1", "a = -1", ()))


def check_is_noticed(mutant: Mutant, folder: Path) -> None:
    failed = run_tests(copy_source(folder, mutant), mutant.tests, f"--timeout={MAX_SECONDS_EACH}")
    survived = [test for test in mutant.tests if not any(covers(test, one) for one in failed)]
    assert survived == [], f"{mutant.name}: not noticed"


@pytest.mark.slow
@cases(QUICK)
def test_a_mutant_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    check_is_noticed(mutant, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1000)
@cases(MUTANTS[len(QUICK) :])
def test_another_mutant_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    check_is_noticed(mutant, tmp_path)


@pytest.mark.slow
def test_the_tests_pass_on_an_unchanged_copy(tmp_path: Path) -> None:
    assert run_tests(copy_source(tmp_path), sorted({test for mutant in QUICK for test in mutant.tests})) == set()


@pytest.mark.long
@pytest.mark.timeout(1000)
def test_the_other_tests_pass_on_an_unchanged_copy(tmp_path: Path) -> None:
    assert run_tests(copy_source(tmp_path), sorted({test for mutant in MUTANTS for test in mutant.tests})) == set()
