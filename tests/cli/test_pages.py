"""What the documentation says of settings and commands, held against the code."""

import re
from pathlib import Path

import typer.main

from tocsin.cli import app
from tocsin.settings import SECRETS, SETTING_NAMES, Settings, read_settings

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(TOCSIN_\w+)`( \(or file\))? \| (.+) \| (.+) \|$", re.MULTILINE)


def test_every_setting_is_documented_in_order() -> None:
    rows = ROW.findall((DOCS / "settings.md").read_text())
    assert tuple(name for name, *_ in rows) == SETTING_NAMES
    assert tuple(name for name, is_secret, *_ in rows if is_secret) == SECRETS


def test_documented_defaults_are_the_defaults() -> None:
    rows = ROW.findall((DOCS / "settings.md").read_text())
    shown = {name: default.strip("`") for name, _, _, default in rows if re.fullmatch(r"`\S+`", default)}
    assert len(shown) >= 9
    assert read_settings(shown) == Settings()


def test_every_command_and_option_is_documented() -> None:
    page = (DOCS / "cli.md").read_text()
    for name, command in _commands(typer.main.get_command(app), "tocsin"):
        heading = f"## {name}\n"
        assert heading in page
        section = page.partition(heading)[2].partition("\n## ")[0]
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert {option for option in options - {"--help"} if option not in section} == set(), name


def _commands(command, name):
    if not hasattr(command, "commands"):
        yield name, command
        return
    for each, below in command.commands.items():
        yield from _commands(below, f"{name} {each}")
