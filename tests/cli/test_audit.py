"""The audit log on the command line, beside a running server and without one."""

import contextlib
import sqlite3
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.processes import TOCSIN, Installation


@pytest.fixture
def installation(tmp_path: Path):
    made = Installation(tmp_path)
    yield made
    made.end()


def refuse(installation: Installation, *arguments: str) -> str:
    """What `tocsin audit` says when it must fail."""
    command = [TOCSIN, "audit", *arguments]
    ended = subprocess.run(
        command, env=installation.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


@pytest.mark.xdist_group("a running server")
def test_what_was_done_is_listed_and_a_change_of_the_log_is_found(installation: Installation, tmp_path: Path) -> None:
    token = installation.add_user()
    installation.serve()
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=installation.url, headers=headers) as client:
        client.post("/v1/apps", json={"app": {"name": "shop"}}).raise_for_status()
        (entry,) = client.get("/v1/apps/shop/audit_entries").json()["audit_entries"]
    assert (entry["action"], entry["actor"]["address"]) == ("app.added", "127.0.0.1")
    listed = installation.run("audit", "list").splitlines()
    assert [line.split(" ")[2:4] for line in listed[:2]] == [["operator", "user.added"], ["operator", "token.added"]]
    assert "from 127.0.0.1 app.added" in listed[2]
    assert installation.run("audit", "list", "--app", "shop").splitlines() == listed[2:]
    proved = installation.run("audit", "verify")
    assert proved.startswith("3 entries are as they were written; the last is 3:")
    head = proved.split()[-1]
    installation.stop()
    assert installation.run("audit", "verify", "--head", head) == proved
    with contextlib.closing(sqlite3.connect(tmp_path / "tocsin.db", isolation_level=None)) as connection:
        connection.execute("UPDATE audit_entries SET username = 'nobody' WHERE number = 2")
    assert refuse(installation, "verify") == "Error: entry 2 of the audit log was changed, or the one before it\n"


@pytest.mark.parametrize("head", ["x", "1", "1:zz", ":", "1:00"])
def test_a_head_that_is_none_is_refused(installation: Installation, head: str) -> None:
    assert "as verify prints it" in refuse(installation, "verify", "--head", head)
