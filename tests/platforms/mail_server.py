"""A real SMTP server on 127.0.0.1 whose replies are scripted, with TLS, STARTTLS and login."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USERNAME, PASSWORD = "tocsin", "p@ss/word: 1"
HANG_UP = ""
GONE = "421 gone"


class Script:
    """What the server replies to each command, and what it was sent. `HANG_UP` closes the connection instead."""

    def __init__(self) -> None:
        self.replies: dict[str, list[str]] = {"MAIL": [], "RCPT": [], "DATA": []}
        self.refused: dict[str, str] = {}
        self.mails: list[tuple[str, str, bytes]] = []
        self.sessions: set[int] = set()
        self.encrypted: list[bool] = []

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(octets, policy=default) for _, _, octets in self.mails]  # type: ignore[misc]

    def reply(self, command: str, server: SMTP) -> str | None:
        planned = self.replies[command]
        if not planned:
            return None
        reply = planned.pop(0)
        if reply == HANG_UP:
            server.transport.abort()
            return GONE
        return reply

    async def handle_MAIL(  # noqa: N802 - aiosmtpd names its hooks so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.sessions.add(id(session.peer) if session.peer is None else session.peer[1])
        self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        planned = self.reply("MAIL", server)
        if planned is None:
            envelope.mail_from = address
        return planned or "250 sender ok"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd names its hooks so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        planned = self.reply("RCPT", server) or self.refused.get(address)
        if planned is None:
            envelope.rcpt_tos.append(address)
        return planned or "250 recipient ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd names its hooks so
        assert isinstance(envelope.original_content, bytes)
        self.mails.append((envelope.mail_from or "", ",".join(envelope.rcpt_tos), envelope.original_content))
        return self.reply("DATA", server) or f"250 2.0.0 taken as {len(self.mails)}"


def check_login(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> AuthResult:
    is_right = (credentials.login, credentials.password) == (USERNAME.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=False)


class Certificates:
    """A certificate for 127.0.0.1 and a client that trusts it."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)


@asynccontextmanager
async def mail_server(
    script: Script | None = None, *, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[tuple[Script, int]]:
    """Run a server; `options` are those of aiosmtpd's `SMTP`. Yields its script and port."""
    script = script or Script()
    loop = asyncio.get_running_loop()
    options = {"hostname": "mail.test", "ident": "test"} | options
    sessions: list[SMTP] = []

    def open_session() -> SMTP:
        sessions.append(SMTP(script, loop=loop, **options))
        return sessions[-1]

    server = await loop.create_server(open_session, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield script, server.sockets[0].getsockname()[1]
    await _end(sessions)


async def _end(sessions: list[SMTP]) -> None:
    """Leave no session behind: asyncio warns about those that outlive their loop."""
    tasks = [session._handler_coroutine for session in sessions if session._handler_coroutine is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for session in sessions:
        if session.transport is not None:
            session.transport.close()
