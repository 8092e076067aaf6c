"""`tocsin keys`: the keys that secrets are sealed with."""

import os

import typer

from tocsin.cli.deferred import operate, wiring
from tocsin.keyring import add_key
from tocsin.operator import RotateKeys
from tocsin.settings import read_settings

keys = typer.Typer(no_args_is_help=True, help="Change the key that secrets are sealed with.")


def add_commands(to: typer.Typer) -> None:
    to.add_typer(keys, name="keys")


@keys.command("add")
def add() -> None:
    """Put a new key first in the key file beside the SQLite database, and print its id. Restart the server then."""
    typer.echo(add_key(wiring.key_file(read_settings(os.environ))))


@keys.command("rotate")
def rotate() -> None:
    """Seal every secret with the first key, while everything runs; keys that come after it can go then."""
    typer.echo(operate.operate(RotateKeys()))
