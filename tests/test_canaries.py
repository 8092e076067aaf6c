"""The search for secrets finds them: in every form, where something was sealed, and at the end of a test that leaks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests.canaries import found_in, look_through
from tocsin.credentials import new_secret as new_token
from tocsin.platforms.signing import Algorithm, new_secret

LEAKING = """
from tests.canaries import pytest_runtest_makereport, watch_sealing
from tests.sealer import SEALER

watch_sealing()

def test_logs_a_token():
    print("authorization: tk-us-" + "a" * 43)

def test_stores_what_it_sealed(tmp_path):
    SEALER.seal("a long enough value", "variables.value.va-1")
    (tmp_path / "x.db").write_text("... a long enough value ...")

def test_is_silent(tmp_path):
    SEALER.seal("a long enough value", "variables.value.va-1")
    (tmp_path / "x.db").write_text("...")
"""


MAKERS: list[Callable[[], str]] = [
    new_token,
    new_secret,
    lambda: new_secret(Algorithm.ED25519),
    lambda: jwt.encode({"sub": "us-alice"}, bytes(32)),
    lambda: "https://example.com/s3cret-canary/x",
]


@pytest.mark.parametrize("make", MAKERS, ids=["token", "secret", "ed25519", "jwt", "canary"])
def test_every_form_of_a_secret_is_found_and_not_shown(make: Callable[[], str]) -> None:
    secret = make()
    found = found_in(f"some words {secret} more".encode())
    assert found is not None
    assert secret not in found
    assert found_in(b"some words whsec_... tk-us-... more") is None


def test_files_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "server.log").write_bytes(b"x" * 1_000_000 + new_token().encode())
    (tmp_path / "tocsin.db.key").write_text(new_token())
    assert [found.split(":")[0] for found in look_through(tmp_path)] == ["server.log"]
    (tmp_path / "inner" / "server.log").unlink()  # or this test would fail by what it tests


def test_a_test_that_leaks_fails(tmp_path: Path) -> None:
    path = tmp_path / "conftest.py"
    path.write_text(LEAKING.split("def test", 1)[0])
    path = tmp_path / "test_leaking.py"
    path.write_text(LEAKING)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(path)]
    ended = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-c", "/dev/null", "--basetemp", str(tmp_path / "temp")],
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "2 errors" in ended.stdout, ended.stdout + ended.stderr
    assert "test_logs_a_token" in ended.stdout
    assert "test_stores_what_it_sealed" in ended.stdout
    assert "a long enough value" not in ended.stdout.replace("a long eno... (sealed)", "")
