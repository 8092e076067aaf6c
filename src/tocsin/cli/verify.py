"""`tocsin verify`: whether a received webhook is genuine, and what is wrong if not. Needs no database."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.deferred import verification
from tocsin.cli.saved import Saved, read_headers, read_request
from tocsin.clock import SystemClock

VARIABLE = "WEBHOOK_SECRET"
MAX_BYTES = 64 * 1024 * 1024


def add_commands(to: typer.Typer) -> None:
    to.command()(verify)


def verify(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", show_default=False, help="The request, or its body; standard input without."),
    ] = None,
    headers: Annotated[
        Path | None,
        typer.Option("--headers", metavar="FILE", show_default=False, help="Its headers, if FILE is the body alone."),
    ] = None,
    message_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", show_default=False, help="Its webhook-id.")
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option("--timestamp", metavar="SECONDS", show_default=False, help="Its webhook-timestamp.")
    ] = None,
    signature: Annotated[
        str | None,
        typer.Option("--signature", metavar="SIGNATURES", show_default=False, help="Its webhook-signature."),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", metavar="FILE", show_default=False, help="Holds the secret.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option("--public-key", metavar="KEY", show_default=False, help="whpk_..., in its place.")
    ] = None,
    tolerance: Annotated[
        str, typer.Option("--tolerance", metavar="SECONDS", help="How old it may be; off for any age.")
    ] = "300",
) -> None:
    """Check a received webhook: its signature, and its age. The secret is in WEBHOOK_SECRET, or in a file."""
    seconds = _read_tolerance(tolerance)
    key = _read_key(secret_file, public_key, is_asked=file is not None)
    given = {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
    options = {name: value for name, value in given.items() if value is not None}
    saved = _read_saved(file, headers, has_options=bool(options))
    verdict = verification.check(
        saved.headers | options, saved.body, key=key, now=SystemClock().now(), tolerance_seconds=seconds
    )
    typer.echo(f"genuine: {verdict.sentence}" if verdict.is_genuine else f"NOT genuine: {verdict.sentence}")
    if not verdict.is_genuine:
        raise typer.Exit(1)


def _read_saved(file: Path | None, headers: Path | None, *, has_options: bool) -> Saved:
    content = _read(file, "FILE")
    try:
        if headers is not None:
            return Saved(read_headers(_read(headers, "--headers")), content)
        if has_options:
            return Saved({}, content)
        return read_request(content)
    except ValueError as error:
        hint = "FILE" if headers is None else "--headers"
        also = "" if headers is not None else "; for a body alone, give --headers, or --id, --timestamp and --signature"
        raise typer.BadParameter(f"{error}{also}", param_hint=hint) from None


def _read_key(secret_file: Path | None, public_key: str | None, *, is_asked: bool) -> str:
    """What to verify with, from the first of the places that has it; asked for where somebody can be asked."""
    if public_key is not None:
        hint = "--public-key"
        if not public_key.startswith("whpk_"):
            raise typer.BadParameter("takes a public key, whpk_...; others can see what stands here", param_hint=hint)
        key = public_key
    elif secret_file is not None:
        hint, key = "--secret-file", _read(secret_file, "--secret-file").decode("latin-1")
    elif os.environ.get(VARIABLE):
        hint, key = VARIABLE, os.environ[VARIABLE]
    elif is_asked and sys.stdin.isatty():
        hint, key = "secret", typer.prompt("Secret", hide_input=True)
    else:
        raise typer.BadParameter(f"set {VARIABLE}, or give --secret-file or --public-key", param_hint="secret")
    key = key.strip()
    try:
        verification.check_key(key)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
    return key


def _read_tolerance(text: str) -> int | None:
    if text == "off":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise typer.BadParameter("is a number of seconds, or off", param_hint="--tolerance")
    return int(text)


def _read(file: Path | None, hint: str) -> bytes:
    try:
        if file is None or file == Path("-"):
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}", param_hint=hint) from None
    if len(content) > MAX_BYTES:
        raise typer.BadParameter("is larger than 64 MiB: no webhook is", param_hint=hint)
    return content
