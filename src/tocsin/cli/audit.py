"""`tocsin audit`: who did what, and whether that log is as it was written."""

from typing import Annotated

import typer

from tocsin.cli.deferred import operate
from tocsin.operator import ListAudit, VerifyAudit

audit = typer.Typer(no_args_is_help=True, help="See who did what, and prove that this was not changed.")


def add_commands(to: typer.Typer) -> None:
    to.add_typer(audit, name="audit")


@audit.command("list")
def list_entries(
    app: Annotated[
        str | None, typer.Option("--app", metavar="APP", show_default=False, help="Only what was done to this app.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many of the newest.")] = 20,
) -> None:
    """Print the newest entries, the latest last."""
    typer.echo(operate.operate(ListAudit(app=app, limit=limit)))


@audit.command("verify")
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="NUMBER:DIGEST", show_default=False, help="An earlier end of the log, as this printed it."
        ),
    ] = None,
) -> None:
    """Prove that no entry was changed, removed or put in; print how many there are, and the end of the log."""
    typer.echo(operate.operate(VerifyAudit(head=head)))
