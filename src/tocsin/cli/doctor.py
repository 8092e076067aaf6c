"""`tocsin doctor`: the doctor's findings, a line for each."""

import asyncio
from collections.abc import Mapping
from functools import partial

import msgspec
import typer

from tocsin.control import ask, socket_path
from tocsin.doctor.checks import list_checks
from tocsin.doctor.finding import Finding, Level, look
from tocsin.errors import TocsinError
from tocsin.operator import Examine, read_reply
from tocsin.settings import SETTING_NAMES, Settings, read_settings
from tocsin.store.sqlite.database import database_path

_COLOURS: Mapping[Level, str] = {"ok": "green", "warn": "yellow", "FAIL": "red"}


def examine(environment: Mapping[str, str]) -> bool:
    """Print the findings; whether none of them is a failure."""
    try:
        settings = read_settings(environment)
        checks = list_checks(settings, partial(_ask_server, settings))
    except TocsinError as error:
        _print("settings", Finding("FAIL", error.message))
        return False
    given = sum(name in environment or f"{name}_FILE" in environment for name in SETTING_NAMES)
    _print("settings", Finding("ok", f"{given} of {len(SETTING_NAMES)} set, the others have their defaults"))
    has_failed = False
    for name, check in checks.items():
        found = look(check)
        _print(name, found)
        has_failed |= found.level == "FAIL"
    return not has_failed


def _ask_server(settings: Settings) -> Finding:
    place = socket_path(database_path(settings.database_url))
    line = asyncio.run(ask(place, msgspec.json.encode(Examine())))
    return Finding("ok", "" if line is None else read_reply(line))


def _print(name: str, finding: Finding) -> None:
    level = typer.style(f"{finding.level:<4}", fg=_COLOURS[finding.level])
    typer.echo(f"{level}  {name:<11}  {finding.text}")
