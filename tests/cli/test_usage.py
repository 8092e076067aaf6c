"""The command line itself: help, version, wrong usage; none of it needs a database."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.console import Console
from tocsin import __version__
from tocsin.errors import ConfigError
from tocsin.settings import read_settings


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


def test_the_version_is_printed(console: Console) -> None:
    assert console.ask("--version") == f"tocsin {__version__}\n"


def test_help_lists_the_commands(console: Console) -> None:
    text = console.ask("--help")
    assert all(name in text for name in ("serve", "demo", "migrate", "doctor", "user", "token", "app"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("serve", "--port", "many"),
        ("serve", "--port", "65536"),
        ("serve", "--role", "boss"),
        ("user", "add", "alice"),
        ("user", "password", "alice"),
        ("token", "add", "alice"),
        ("app", "add", "my-app"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two_and_touches_nothing(console: Console, arguments: tuple[str, ...]) -> None:
    console.refuse(*arguments, status=2)
    assert list(console.folder.iterdir()) == []


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_role_of_its_own_needs_postgresql(console: Console, role: str) -> None:
    assert f"--role {role} comes with PostgreSQL" in console.refuse("serve", "--role", role)


def test_a_wrong_setting_is_named(console: Console) -> None:
    told = console.refuse("token", "add", "alice", "--name", "x", TOCSIN_RETENTION_DAYS="never")
    assert told == "Error: TOCSIN_RETENTION_DAYS must be a number of days from 1 to 3650\n"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TOCSIN_PUBLIC_URL", "http://[::1", "TOCSIN_PUBLIC_URL must be an http or https URL"),
        ("TOCSIN_PUBLIC_URL", "http://a:999999", "TOCSIN_PUBLIC_URL must be an http or https URL"),
        ("TOCSIN_RETRY_SCHEDULE", "1,,2", "TOCSIN_RETRY_SCHEDULE must list seconds"),
        ("TOCSIN_SMTP_URL_FILE", "/nowhere", "TOCSIN_SMTP_URL_FILE: cannot read /nowhere: No such file or directory"),
    ],
)
def test_a_setting_that_cannot_be_read_is_told_by_its_name(name: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        read_settings({name: value})


def test_the_help_needs_none_of_the_heavy_parts() -> None:
    heavy = "{'fastapi', 'uvicorn', 'sqlalchemy', 'alembic', 'pydantic', 'argon2'}"
    code = f"import sys, tocsin.cli; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
