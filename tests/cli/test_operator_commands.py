"""The operator's commands, before the first start and while a server has the database open."""

import json
import re
import stat
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.cli.console import Console, Running
from tests.processes import Installation

# One worker, one server.
pytestmark = pytest.mark.xdist_group("a running server")

USER_ID = re.compile(r"us-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n")
TOKEN = re.compile(r"tk-us-[A-Za-z0-9_-]{43}\n")
APP_ID = re.compile(r"[0-9a-f]{24}\n")


@dataclass(frozen=True)
class Served:
    console: Console
    running: Running
    second_line: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    console = Console(tmp_path_factory.mktemp("served"))
    with console.serve() as running:
        second_line = running.wait_for("First steps")
        console.ask("user", "add", "alice", "--email", "alice@example.com")
        console.ask("app", "add", "taken", "--owner", "alice")
        yield Served(console, running, second_line)


@pytest.mark.slow
def test_every_command_works_before_the_first_start(tmp_path: Path) -> None:
    console = Console(tmp_path)
    added = console.ask(
        "user", "add", "alice", "--email", "alice@example.com", "--admin", "--password-stdin", stdin="correct horse\n"
    )
    assert USER_ID.fullmatch(added)
    assert console.ask("user", "password", "alice", "--password-stdin", stdin="battery staple") == ""
    assert console.ask("user", "link", "alice").startswith("http://127.0.0.1:8600/login/")
    assert TOKEN.fullmatch(console.ask("token", "add", "alice", "--name", "laptop"))
    assert APP_ID.fullmatch(console.ask("app", "add", "my-app", "--owner", "alice"))
    assert console.ask("migrate") == "the schema is current\n"
    assert not Path(f"{console.database}.sock").exists()


@pytest.mark.slow
def test_every_command_works_while_a_server_runs(served: Served) -> None:
    console = served.console
    added = console.ask("user", "add", "bob", "--email", "bob@example.com", "--password-stdin", stdin="correct horse\n")
    assert USER_ID.fullmatch(added)
    assert console.ask("user", "password", "bob", "--password-stdin", stdin="battery staple") == ""
    assert console.ask("user", "link", "bob").startswith(f"{served.running.url}/login/")
    assert APP_ID.fullmatch(console.ask("app", "add", "bobs-app", "--owner", "bob"))
    assert console.ask("migrate") == "the schema is current\n"
    token = console.ask("token", "add", "bob", "--name", "laptop")
    assert TOKEN.fullmatch(token)
    assert names_of_apps(served.running.url, token.strip()) == ["bobs-app"]


def names_of_apps(url: str, token: str) -> list[str]:
    request = urllib.request.Request(f"{url}/v1/apps", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [app["name"] for app in json.load(answer)["apps"]]


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        ("user add alice --email other@example.com", "", "username is already taken"),
        ("user add carol --email alice@example.com", "", "email is already taken"),
        ("user add -- --email", "", None),
        ("user add carol --email nowhere", "", "email must be an e-mail address such as alice@example.com"),
        ("user add carol --email c@example.com --password-stdin", "short\n", "password must have 8 to 1024 characters"),
        (
            "user add carol --email c@example.com --password-stdin",
            "",
            "--password-stdin: there is no password on standard input",
        ),
        ("user password nobody --password-stdin", "correct horse", "there is no user 'nobody'"),
        ("user link nobody", "", "there is no user 'nobody'"),
        ("token add nobody --name x", "", "there is no user 'nobody'"),
        ("app add my-app --owner nobody", "", "there is no user 'nobody'"),
        ("app add My_App --owner alice", "", "name must be 2 to 48 characters"),
        ("app add taken --owner alice", "", "name is already taken"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(served: Served, arguments: str, stdin: str, sentence: str | None) -> None:
    told = served.console.refuse(*arguments.split(), stdin=stdin, status=2 if sentence is None else 1)
    assert sentence is None or told.startswith(f"Error: {sentence}")


def test_the_files_beside_the_database_are_for_their_owner_alone(served: Served) -> None:
    files = [served.console.database, *served.console.database.parent.glob("tocsin.db[.]*")]
    assert {f"tocsin.db{end}" for end in ("", ".key", ".lock", ".sock")} <= {file.name for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.slow
def test_a_second_server_on_the_same_database_is_refused(served: Served) -> None:
    told = served.console.refuse("serve", "--port", "0")
    assert f"tocsin.db is in use by process {served.running.process.pid}" in told


@pytest.mark.slow
def test_a_server_on_a_taken_port_is_refused(served: Served, tmp_path: Path) -> None:
    port = served.running.url.rpartition(":")[2]
    told = Console(tmp_path).refuse("serve", "--port", port)
    assert told == f"Error: cannot listen on 127.0.0.1, port {port}: Address already in use; --port chooses another\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_demo_on_a_taken_port_says_how_to_choose_another(served: Served, tmp_path: Path) -> None:
    port = served.running.url.rpartition(":")[2]
    told = Console(tmp_path).refuse("demo", "--port", port)
    assert f"port {port} of 127.0.0.1 is taken" in told
    assert "demo --port" in told


@pytest.mark.slow
def test_a_second_demo_in_the_same_folder_is_told_of_the_first(served: Served) -> None:
    url = served.running.url
    told = served.console.refuse("demo", "--port", url.rpartition(":")[2])
    assert "Tocsin runs here already" in told
    assert url in told


def test_the_doctor_finds_the_server(served: Served) -> None:
    found = served.console.ask("doctor")
    assert f"runs at {served.running.url}\n" in found
    assert "FAIL" not in found


def test_a_server_says_where_it_is_and_how_to_let_people_in(served: Served) -> None:
    first, second = served.running.lines[0], served.second_line
    assert f"{served.running.url}/ " in first
    assert "/docs" in first
    assert "tocsin user add" in second
    assert "tocsin token add" in second
    assert len(first) <= 81
    assert len(second) <= 81


def test_a_token_is_limited_by_options(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.add_user()
    installation.run("app", "add", "shop", "--owner", "alice")
    options = ("--scope", "events:write", "--scope", "apps:read", "--app", "shop", "--expires-in-days", "30")
    token = installation.run("token", "add", "alice", "--name", "builds", *options)
    try:
        installation.serve()
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=installation.url, headers=headers) as client:
            assert [app["name"] for app in client.get("/v1/apps").json()["apps"]] == ["shop"]
            event = {"event": {"type": "restart", "type_data": {}}}
            assert client.post("/v1/apps/shop/events", json=event).status_code == 201
            assert client.get("/v1/apps/shop/events").status_code == 403
    finally:
        installation.end()


@pytest.mark.parametrize(
    ("option", "told"), [(("--scope", "all"), "scopes must be some of apps:read"), (("--app", "none"), "app not found")]
)
def test_a_limit_that_cannot_be_is_told(tmp_path: Path, option: tuple[str, str], told: str) -> None:
    installation = Installation(tmp_path)
    installation.run("user", "add", "alice", "--email", "alice@example.com")
    with pytest.raises(AssertionError, match=told):
        installation.run("token", "add", "alice", "--name", "builds", *option)
