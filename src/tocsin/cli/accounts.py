"""`tocsin user`, `tocsin token`, `tocsin app`: who may use this Tocsin, and for which apps."""

import sys
from typing import Annotated

import typer

from tocsin.cli.deferred import operate
from tocsin.errors import RequestError
from tocsin.operator import AddApp, AddLink, AddToken, AddUser, SetPassword

MAX_LINE_CHARACTERS = 4096

Username = Annotated[str, typer.Argument(metavar="USERNAME", show_default=False)]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")]

users = typer.Typer(no_args_is_help=True, help="Add users and let them in.")
tokens = typer.Typer(no_args_is_help=True, help="Make API tokens.")
apps = typer.Typer(no_args_is_help=True, help="Add apps.")


def add_commands(to: typer.Typer) -> None:
    to.add_typer(users, name="user")
    to.add_typer(tokens, name="token")
    to.add_typer(apps, name="app")


@users.command("add")
def add_user(
    username: Username,
    email: Annotated[
        str, typer.Option("--email", metavar="EMAIL", show_default=False, help="Where mail reaches them.")
    ],
    admin: Annotated[bool, typer.Option("--admin", help="Let them see and manage every app.")] = False,
    password_stdin: FromStdin = False,
) -> None:
    """Add a user, and print the user id. A password signs in to the dashboard; none is needed."""
    password = _read_password() if password_stdin else None
    typer.echo(operate.operate(AddUser(username=username, email=email, is_admin=admin, password=password)))


@users.command("password")
def set_password(
    username: Username,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", show_default=False, help="Read it from standard input, one line.")
    ],
) -> None:
    """Set a user's password."""
    if not password_stdin:
        raise typer.BadParameter("is the one way: others could see a password on the command line")
    operate.operate(SetPassword(username=username, password=_read_password()))


@users.command("link")
def add_link(username: Username) -> None:
    """Print a link that signs a user in to the dashboard, once and within 10 minutes."""
    typer.echo(operate.operate(AddLink(username=username)))


@tokens.command("add")
def add_token(
    username: Username,
    name: Annotated[str, typer.Option("--name", metavar="NAME", show_default=False, help="What it is for.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", show_default=False, help="Limit it to this, as in events:write."),
    ] = None,
    apps: Annotated[
        list[str] | None, typer.Option("--app", metavar="APP", show_default=False, help="Limit it to this app.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--expires-in-days", metavar="N", min=1, max=3650, show_default=False, help="Its life."),
    ] = None,
) -> None:
    """Make an API token for a user, and print it: this once. --scope and --app can be given several times."""
    wish = AddToken(username=username, name=name, scopes=scopes or None, apps=apps or None, expires_in_days=days)
    typer.echo(operate.operate(wish))


@apps.command("add")
def add_app(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    owner: Annotated[str, typer.Option("--owner", metavar="USERNAME", show_default=False, help="Whose app it is.")],
) -> None:
    """Add an app, and print the app id."""
    typer.echo(operate.operate(AddApp(name=name, owner=owner)))


def _read_password() -> str:
    """The first line of standard input, without its end. Raises RequestError when there is none."""
    try:
        line = sys.stdin.readline(MAX_LINE_CHARACTERS)
    except UnicodeDecodeError:
        raise RequestError("the password on standard input is not UTF-8") from None
    password = line.rstrip("\r\n")
    if not password:
        raise RequestError("--password-stdin: there is no password on standard input")
    return password
