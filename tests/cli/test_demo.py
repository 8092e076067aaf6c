"""A newcomer's first minutes: the demo in an empty directory, and again in the same one."""

import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.cli.console import Console

pytestmark = pytest.mark.slow

AT_THE_END = "What arrives at the receiver"


def test_the_demo_shows_an_event_delivered_and_keeps_its_data(tmp_path: Path) -> None:
    console = Console(tmp_path)
    with console.start("demo", "--port", "0") as running:
        running.wait_for(AT_THE_END)
        shown = "".join(running.lines)
        url = running.url
        token = re.search(r"tk-us-[A-Za-z0-9_-]{43}", shown)[0]
        for line in (f"{url}/docs\n", f"{url}/v1\n", "my-app", "TOCSIN_SMTP_URL is not set"):
            assert line in shown
        link = re.search(rf"{url}/login/[A-Za-z0-9_-]{{43}}\n", shown)[0].strip()
        assert "It opens the account demo." in httpx.get(link, trust_env=False).text
        assert "POST /v1/apps/my-app/events, 201 in " in shown
        assert "deployment of my-app, signature VERIFIED" in shown
        assert "NOT VERIFIED" not in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert "\x1b" not in shown

        curl = shown[shown.index("curl ") : shown.index(AT_THE_END)]
        assert token in curl
        answer = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=30, check=True).stdout
        event_id = re.search(r'"id":"([0-9a-f]{24})"', answer)[1]
        assert running.wait_for(event_id).endswith(f"deployment {event_id}, signature VERIFIED\n")

        assert running.end(signal.SIGINT) == 0
        assert running.stderr.read_text() == ""

    with console.start("demo", "--port", "0") as again:
        again.wait_for(AT_THE_END)
        shown = "".join(again.lines)
        assert "tk-us-" not in shown
        assert "token add demo --name" in shown
        assert "deployment of my-app, signature VERIFIED" in shown
        assert console.ask("token", "add", "demo", "--name", "another").startswith("tk-us-")
        assert console.refuse("app", "add", "my-app", "--owner", "demo") == "Error: name is already taken\n"
        assert again.end(signal.SIGTERM) == 0
        assert again.stderr.read_text() == ""


def test_the_demo_refuses_a_database_whose_my_app_is_somebody_elses(tmp_path: Path) -> None:
    console = Console(tmp_path)
    with console.serve() as running:
        console.ask("user", "add", "alice", "--email", "alice@example.com")
        console.ask("app", "add", "my-app", "--owner", "alice")
        assert running.end() == 0
    told = console.refuse("demo", "--port", "0")
    assert "an app my-app of somebody else" in told
    assert "TOCSIN_DATABASE_URL=sqlite:///" in told


def test_the_demo_goes_on_when_nobody_reads(tmp_path: Path) -> None:
    console = Console(tmp_path)
    with console.start("demo", "--port", "0") as running:
        running.wait_for("Tocsin is running")
        running.process.stdout.close()
        running.process.stdout = None
        while "version" not in console.ask("doctor"):
            pass
        running.send(signal.SIGTERM)
        assert running.process.wait(30) == 0
