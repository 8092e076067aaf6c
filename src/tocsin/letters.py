"""Mails of Tocsin's own to its users, sent behind the back of whoever caused them: no answer tells whether one went."""

import asyncio
from collections.abc import Awaitable, Callable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import msgspec
import structlog

from tocsin.clock import Clock
from tocsin.errors import PlatformError, TemporaryFailure

LOG = structlog.get_logger()

TRIES = 3
PAUSE_SECONDS = 2.0

SendMail = Callable[[EmailMessage, str], Awaitable[object]]
"""Hands a mail to a recipient over to the mail server. Raises PlatformError."""


class Letter(msgspec.Struct, frozen=True):
    subject: str
    text: str

    def __repr__(self) -> str:
        return "Letter(...)"


class Letters:
    def __init__(self, send: SendMail, clock: Clock) -> None:
        self._send = send
        self._clock = clock
        self._under_way: set[asyncio.Task[None]] = set()

    def post(self, letter: Letter, recipient: str) -> None:
        """Send a mail soon; one that the server does not take now is tried again twice."""
        mail = EmailMessage(policy=SMTP)
        mail["To"] = Address(addr_spec=recipient)
        mail["Subject"] = letter.subject
        mail["Date"] = self._clock.now()
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(letter.text, cte="quoted-printable")
        task = asyncio.get_running_loop().create_task(self._deliver(mail, recipient))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, mail: EmailMessage, recipient: str) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                await self._send(mail, recipient)
            except PlatformError as error:
                if not tries_left or not isinstance(error, TemporaryFailure):
                    LOG.warning("letter.not_sent", error=str(error))
                    return
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return

    async def finish(self) -> None:
        """Wait for what is under way; before the mail server's connections are closed."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
