"""What operators ask for on the command line, carried out by whichever process has the database open.

Commands are values, so that one line of JSON can hand them over (`control`). The answer is what is printed.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

import msgspec
import structlog

from tocsin import __version__
from tocsin.dates import format_instant
from tocsin.errors import NotFound, RequestError, TocsinError

if TYPE_CHECKING:
    # Whoever asks a running server needs none of this, and starts the sooner.
    from tocsin.audit import Entry
    from tocsin.model import User
    from tocsin.store.audit import Head
    from tocsin.verbs import Verbs

MAX_LINE = 500
"""Characters of an entry of the audit log that are printed."""

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})", re.ASCII)

LOG = structlog.get_logger("tocsin.operator")


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", forbid_unknown_fields=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"  # a password may be in it


class Examine(_Command, frozen=True, tag="examine"):
    """Asks a running server who it is and whether it is well."""


class Migrate(_Command, frozen=True, tag="migrate"):
    """Asks for a current schema, which whoever opens the database sees to."""


class AddUser(_Command, frozen=True, tag="add_user"):
    username: str
    email: str
    is_admin: bool = False
    password: str | None = None


class SetPassword(_Command, frozen=True, tag="set_password"):
    username: str
    password: str


class AddLink(_Command, frozen=True, tag="add_link"):
    username: str


class AddToken(_Command, frozen=True, tag="add_token"):
    username: str
    name: str
    scopes: list[str] | None = None
    apps: list[str] | None = None
    expires_in_days: int | None = None


class AddApp(_Command, frozen=True, tag="add_app"):
    name: str
    owner: str


class VerifyAudit(_Command, frozen=True, tag="verify_audit"):
    """Asks whether the audit log is as it was written; `head` is one that was printed before."""

    head: str | None = None


class ListAudit(_Command, frozen=True, tag="list_audit"):
    """Asks for the newest entries of the audit log, of one app or of all."""

    app: str | None = None
    limit: int = 20


class RotateKeys(_Command, frozen=True, tag="rotate_keys"):
    """Asks that every secret be sealed with the first key."""


Command = Examine | Migrate | AddUser | SetPassword | AddLink | AddToken | AddApp | RotateKeys | VerifyAudit | ListAudit


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the other process made of a command: a text to print, or what stood in the way."""

    output: str | None = None
    error: str | None = None


Check = Callable[[], Awaitable[Mapping[str, str]]]


async def _find_nothing() -> Mapping[str, str]:
    return {}


class Operator:
    """Carries commands out."""

    def __init__(self, verbs: "Verbs", *, public_url: str, check: Check = _find_nothing) -> None:
        """`check` tells what is wrong with a running server, each thing by name with a sentence."""
        self._verbs = verbs
        self._public_url = public_url
        self._check = check

    async def carry_out(self, command: Command) -> str:
        """What the command prints, without the end of its line. Raises TocsinError with a sentence."""
        from tocsin.audit import OPERATOR, acting  # noqa: PLC0415 - whoever asks a running server needs none of it

        with acting(OPERATOR):
            return await self._carry_out(command)

    async def _carry_out(self, command: Command) -> str:
        accounts, apps = self._verbs.accounts, self._verbs.apps
        match command:
            case Examine():
                return await self._examine()
            case Migrate():
                return "the schema is current"
            case AddUser():
                added = await accounts.add_user(
                    username=command.username,
                    email=command.email,
                    is_admin=command.is_admin,
                    password=command.password,
                )
                return added.id
            case SetPassword():
                await accounts.set_password(await self._user(command.username), command.password)
                return ""
            case AddLink():
                secret = await accounts.add_link(await self._user(command.username))
                return f"{self._public_url}/login/{secret}"
            case AddToken():
                return await self._add_token(command)
            case AddApp():
                return (await apps.add_app(await self._user(command.owner), command.name)).id
            case _:
                return await self._look_after(command)

    async def _look_after(self, command: RotateKeys | VerifyAudit | ListAudit) -> str:
        match command:
            case RotateKeys():
                resealed = await self._verbs.keys.rotate()
                return f"{resealed.count} secrets were sealed anew; all are sealed with the key {resealed.key_id}"
            case VerifyAudit():
                return str(await self._verbs.audit.verify(None if command.head is None else _read_head(command.head)))
            case ListAudit():
                return await self._list_audit(command)
            case _:
                assert_never(command)

    async def _examine(self) -> str:
        problems = await self._check()
        if problems:
            raise TocsinError("; ".join(problems.values()))
        return f"version {__version__} runs at {self._public_url}"

    async def _add_token(self, command: AddToken) -> str:
        from tocsin.tokens import TokenWish  # noqa: PLC0415 - whoever asks a running server needs none of it

        tokens, apps = self._verbs.tokens, self._verbs.apps
        user = await self._user(command.username)
        app_ids = None if command.apps is None else [(await apps.get_app(user, ref)).id for ref in command.apps]
        lifetime = None if command.expires_in_days is None else timedelta(days=command.expires_in_days)
        wish = TokenWish(name=command.name, scopes=command.scopes, app_ids=app_ids, lifetime=lifetime)
        return (await tokens.add(user, wish)).secret

    async def _list_audit(self, command: ListAudit) -> str:
        entries = await self._verbs.audit.list_newest(limit=command.limit, app=command.app)
        return "\n".join(map(_line, reversed(entries)))

    async def _user(self, name: str) -> "User":
        try:
            return await self._verbs.accounts.get_user(name)
        except NotFound:
            raise RequestError(f"there is no user {name!r}: tocsin user add makes one") from None

    async def answer(self, line: bytes) -> bytes:
        """Carry out a command that came as a line of JSON. Never raises: what went wrong is the answer."""
        try:
            reply = Reply(output=await self.carry_out(_DECODER.decode(line)))
        except msgspec.MsgspecError:
            reply = Reply(error=f"the running server (version {__version__}) does not know this command: restart it")
        except TocsinError as error:
            reply = Reply(error=error.message)
        except Exception:
            LOG.exception("operator.crashed")
            reply = Reply(error="the running server failed to do this: see its log")
        return msgspec.json.encode(reply)


def _read_head(text: str) -> "Head":
    from tocsin.store.audit import Head  # noqa: PLC0415 - whoever asks a running server needs none of it

    match = _HEAD.fullmatch(text)
    if match is None:
        raise RequestError("--head is a number, a colon and 64 hexadecimal digits, as verify prints it")
    return Head(int(match[1]), bytes.fromhex(match[2]))


def _line(entry: "Entry") -> str:
    """An entry as a line of text: what others named is escaped, so that it stays one line."""
    who = entry.username or entry.actor
    where = f" from {entry.address}" if entry.address else ""
    about = json.dumps(entry.object_name) if entry.object_name else entry.object_id or ""
    line = f"{entry.number} {format_instant(entry.at)} {who}{where} {entry.action} {about} {entry.details}"
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}..."


_DECODER: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def read_reply(line: bytes) -> str:
    """The text of an answer. Raises TocsinError with the sentence of one that tells of an error."""
    try:
        reply = msgspec.json.decode(line, type=Reply)
    except msgspec.MsgspecError:
        raise TocsinError("the running server answered with something else than a reply: restart it") from None
    if reply.error is not None:
        raise TocsinError(reply.error)
    return reply.output or ""
