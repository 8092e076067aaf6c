"""What is handed to operators names only what exists: commands, options, settings and files."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from tocsin.cli import app
from tocsin.server import REQUEST_PATIENCE_SECONDS
from tocsin.settings import DEFAULT_PORT, SETTING_NAMES, Settings, read_settings

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
ENVIRONMENT = ROOT / "deploy" / "systemd" / "tocsin.env"
CONTAINERFILE = ROOT / "Containerfile"
PAGE = ROOT / "docs" / "production.md"

INSTANCE = "8611"
PREFIX = "/opt/tocsin/bin/tocsin"


def parse(words: list[str]) -> dict[str, object]:
    """The parameters of a command line as `tocsin` reads it, without running it. Fails for what it would refuse."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    return dict(command.make_context("tocsin", list(words)).params)


def directives(unit: Path) -> list[tuple[str, str]]:
    lines = [line for line in unit.read_text(encoding="utf-8").splitlines() if line[:1] not in {"", "#", "["}]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions with their arguments, each on one line."""
    lines = re.sub(r"\\\n", " ", CONTAINERFILE.read_text(encoding="utf-8")).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line and not line.startswith("#")]


def assignments(text: str) -> dict[str, str]:
    return {
        name: shlex.split(value)[0] if value else ""
        for name, value in re.findall(r"^(TOCSIN_[A-Z_]+)=(.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_can_be_started(unit: Path) -> None:
    given = dict(directives(unit))
    program, *words = shlex.split(given["ExecStart"].replace("%i", INSTANCE))
    assert program == PREFIX
    assert words[0] == "serve"
    role = {"tocsin": "all", "tocsin-api": "api", "tocsin-worker@": "worker"}[unit.stem]
    port = int(INSTANCE) if role == "worker" else DEFAULT_PORT
    parameters = parse(words)
    assert (str(parameters["role"]), parameters["port"]) == (role, port)
    assert given["EnvironmentFile"] == "/etc/tocsin/tocsin.env"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_leaves_time_to_drain(unit: Path) -> None:
    drain_seconds = REQUEST_PATIENCE_SECONDS + Settings().delivery_timeout
    assert int(dict(directives(unit))["TimeoutStopSec"]) > drain_seconds + 5


def test_the_units_allow_the_same() -> None:
    own = {"Description", "ExecStart", "Environment", "StateDirectory", "StateDirectoryMode", "WorkingDirectory"}
    assert len(UNITS) == 3
    first, *others = [[pair for pair in directives(unit) if pair[0] not in own] for unit in UNITS]
    assert ("NoNewPrivileges", "yes") in first
    assert all(other == first for other in others)


def test_two_workers_have_metrics_of_their_own() -> None:
    [unit] = [unit for unit in UNITS if unit.stem == "tocsin-worker@"]
    name, _, value = dict(directives(unit))["Environment"].partition("=")
    listens = {read_settings({name: value.replace("%i", port)}).metrics_listen for port in ("8611", "8612")}
    assert listens == {("127.0.0.1", 18611), ("127.0.0.1", 18612)}
    # A setting of the file would win.
    assert name not in ENVIRONMENT.read_text(encoding="utf-8")


def test_the_environment_file_can_be_read_with_its_examples_and_without() -> None:
    text = ENVIRONMENT.read_text(encoding="utf-8")
    assert read_settings(assignments(text)).is_on_sqlite
    every = assignments(text.replace("\n#TOCSIN_", "\nTOCSIN_"))
    assert not read_settings(every).is_on_sqlite
    assert {"TOCSIN_SECRET_KEY", "TOCSIN_DATABASE_DIRECT_URL"} <= set(every)


def test_the_container_runs_a_command_that_exists_as_nobody_special() -> None:
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"]) == ["tocsin"]
    assert parse(json.loads(found["CMD"]))["host"] == "0.0.0.0"
    assert found["EXPOSE"] == str(DEFAULT_PORT)
    assert f":{DEFAULT_PORT}/readyz" in found["HEALTHCHECK"]
    assert found["USER"] not in {"root", "0"}
    assert all("/" not in image for name, image in instructions() if name == "FROM")


def test_the_container_is_made_of_files_that_are_there_and_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    copied = {
        name
        for instruction, words in instructions()
        if instruction == "COPY" and not words.startswith("--from")
        for name in words.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert any("--require-hashes -r requirements/runtime.txt" in words for _, words in instructions())


@pytest.mark.parametrize("file", [*UNITS, ENVIRONMENT, CONTAINERFILE, PAGE], ids=lambda file: file.name)
def test_only_settings_that_exist_are_named(file: Path) -> None:
    named = set(re.findall(r"TOCSIN_[A-Z_]+[A-Z]", file.read_text(encoding="utf-8")))
    assert named - {*SETTING_NAMES, *(f"{name}_FILE" for name in SETTING_NAMES)} == set()


def test_the_page_shows_commands_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^[$#] (?:podman exec tocsin )?tocsin (.+)$", text, re.MULTILINE)
    composed = [", ".join(line.split()).replace(",,", ",") for line in re.findall(r"command: \[(.+)\]", text)]
    inline = [words for words in re.findall(r"`tocsin ([^`]+)`", text) if words != "user add"]
    commands = [shlex.split(line) for line in [*shown, *inline]] + [line.split(", ") for line in composed]
    assert len(commands) >= 6
    for words in commands:
        parse(words)


def test_the_page_starts_units_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = {name for line in re.findall(r"systemctl enable --now (.+)", text) for name in line.split()}
    assert {re.sub(r"@\d+", "@", name) for name in names} == {unit.stem for unit in UNITS}
