"""How many files a process may open."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from tocsin.server import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_file_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "raised"), [(256, 900, 900), (900, 900, 900), (300, 20_000, 16_384), (17_000, 20_000, 17_000)]
)
def test_the_limit_is_raised_as_far_as_it_is_needed_and_allowed(soft: int, hard: int, raised: int) -> None:
    program = PROGRAM.format(soft=soft, hard=hard)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(raised), str(hard)]
