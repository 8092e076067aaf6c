"""`tocsin serve`, `demo`, `migrate` and `doctor`: the server itself and its database."""

import os
from typing import Annotated

import typer

from tocsin.cli.deferred import demo as demonstration
from tocsin.cli.deferred import doctor as examination
from tocsin.cli.deferred import operate, server
from tocsin.logs import configure_logs
from tocsin.operator import Migrate
from tocsin.settings import DEFAULT_PORT, Role, read_settings

Port = Annotated[int, typer.Option("--port", min=0, max=65535, metavar="P", help="Port to listen on; 0 for any.")]


def add_commands(to: typer.Typer) -> None:
    for command in (serve, demo, migrate, doctor):
        to.command()(command)


def serve(
    host: Annotated[str, typer.Option("--host", metavar="H", help="Address to listen on.")] = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    role: Annotated[Role, typer.Option("--role", help="What this process does.")] = Role.ALL,
) -> None:
    """Serve the API and deliver, in the foreground. SIGTERM and SIGINT drain and end it."""
    settings = read_settings(os.environ)
    configure_logs(log_format=settings.log_format, log_level=settings.log_level)
    beside = _greet if settings.log_format == "console" and role is not Role.WORKER else None
    server.run(settings, host=host, port=port, role=role, beside=beside)


async def _greet(_running: object, url: str) -> None:
    typer.echo(f"Tocsin runs: {url}/ (status), API under /v1, its docs at /docs")
    typer.echo("First steps: tocsin user add NAME --email EMAIL; tocsin token add NAME --name X")


def demo(port: Port = DEFAULT_PORT) -> None:
    """Start Tocsin with a sample app, and show an event being delivered."""
    demonstration.run(os.environ, port=port)


def migrate() -> None:
    """Bring the database's schema up to date. Safe to repeat."""
    typer.echo(operate.operate(Migrate()))


def doctor() -> None:
    """Look for what could stand in the way, a line for each check."""
    if not examination.examine(os.environ):
        raise typer.Exit(1)
