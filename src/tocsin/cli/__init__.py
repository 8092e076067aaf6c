"""The `tocsin` command: reads the command line, has `operator` or `server` do the work, prints what comes of it."""

import os
import shutil
import sys
import textwrap
import traceback
from typing import Annotated, Any

import typer

from tocsin import __version__
from tocsin.cli import accounts, audit, keys, running, verify
from tocsin.errors import TocsinError

__all__ = ["app"]


class _App(typer.Typer):
    """Where every error ends as a sentence: nobody is shown a traceback who did not ask for one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except TocsinError as error:
            _fail(error.message)
        except Exception as error:  # noqa: BLE001 - no traceback for a user
            if os.environ.get("TOCSIN_LOG_LEVEL", "").lower() == "debug":
                traceback.print_exc()
            _fail(f"this should not have happened ({type(error).__name__}); TOCSIN_LOG_LEVEL=debug shows where")
        sys.exit(1)


def _fail(sentence: str) -> None:
    text = f"Error: {sentence}"
    if sys.stderr.isatty():
        # A terminal would break lines within words; what a program reads stays one line.
        columns = shutil.get_terminal_size().columns
        text = textwrap.fill(text, columns, break_long_words=False, break_on_hyphens=False)
        text = text.replace("Error:", typer.style("Error:", fg="red", bold=True), 1)
    typer.echo(text, err=True)


app = _App(
    name="tocsin",
    help="Tell people and programs what happened to your applications.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tell people and programs what happened to your applications."""


running.add_commands(app)
accounts.add_commands(app)
keys.add_commands(app)
verify.add_commands(app)
audit.add_commands(app)
