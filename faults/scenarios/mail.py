"""F23: a mail server that refuses, puts off, hangs up, or cannot be trusted."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from functools import partial

import msgspec
import trustme
from aiosmtpd.smtp import SMTP, Envelope, Session

from benchmarks.bench import say
from faults.client import Client, Delivery
from faults.scenario import Context, Figure, Part, Scenario
from tests.platforms.mail_server import GONE, HANG_UP, Script, mail_server
from tests.processes import Installation

PATIENCE_SECONDS = 30
SETTINGS = {"TOCSIN_DELIVERY_TIMEOUT": "5", "TOCSIN_RETRY_SCHEDULE": "0,0.5,0.5", "TOCSIN_RATE_LIMIT": "off"}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says once to one recipient's mail, where in the session, and what must follow from it."""

    at: str
    reply: str
    attempts: list[str]
    mails: int = 1
    """How many the server has got in the end."""


AGAIN = ["retry server_error", "delivered"]
HUNG_UP = ["retry bad_response", "delivered"]
CASES = {
    "nothing": Case(at="", reply="", attempts=["delivered"]),
    "going-away": Case(at="RCPT", reply="421 4.3.2 going away", attempts=AGAIN),
    "busy": Case(at="RCPT", reply="450 4.2.1 mailbox busy", attempts=AGAIN),
    "greylisted": Case(at="RCPT", reply="451 4.7.1 greylisted, come again", attempts=AGAIN),
    "too-fast": Case(at="RCPT", reply="450 4.7.28 rate limit", attempts=["retry rate_limited", "delivered"]),
    "unknown": Case(at="RCPT", reply="550 5.1.1 no such user", attempts=["failed rejected"], mails=0),
    "full-disk": Case(at="DATA", reply="452 4.3.1 disk full", attempts=AGAIN),
    "too-large": Case(at="DATA", reply="552 5.3.4 too large", attempts=["failed too_large"], mails=0),
    "spam": Case(at="DATA", reply="554 5.7.1 spam", attempts=["failed rejected"], mails=0),
    "hung-up-before-data": Case(at="RCPT", reply=HANG_UP, attempts=HUNG_UP),
    "hung-up-after-data": Case(at="DATA", reply=HANG_UP, attempts=HUNG_UP, mails=2),
}


class Recipients(Script):
    """Says to each recipient, once, what its case has."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        super().__init__()
        self._left = dict(cases)

    def _plan(self, address: str, command: str) -> None:
        name = address.partition("@")[0]
        case = self._left.get(name)
        if case is not None and case.at == command:
            del self._left[name]
            self.replies[command] = [case.reply]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd names its hooks so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._plan(address, "RCPT")
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        self._plan(envelope.rcpt_tos[0], "DATA")
        reply = await super().handle_DATA(server, session, envelope)
        if reply[0] in "45" and reply != GONE:
            self.mails.pop()  # it was refused
        return reply


class Seen(msgspec.Struct):
    """What became of each recipient's mail: the attempts, and the ids of the messages that the server got."""

    attempts: dict[str, list[str]] = {}
    message_ids: dict[str, list[str]] = {}
    distrusted: list[str] = []
    """The first attempts at servers that TLS does not vouch for."""


async def _mail_all(part: Part) -> Seen:
    installation = Installation(part.folder, **SETTINGS)
    token = await asyncio.to_thread(installation.add_user)
    mailing = partial(_mailing, installation, token)
    server, seen = Recipients(CASES), Seen()
    async with mail_server(server) as (_, port), mailing(f"smtp://127.0.0.1:{port}") as client:
        found = await _send_to(client, "said", list(CASES))
    seen.attempts = {name: [str(attempt) for attempt in one.attempts] for name, one in found.items()}
    for message in server.messages:
        seen.message_ids.setdefault(_recipient(message), []).append(str(message["Message-ID"]))
    for name, tls in {"unknown-authority": _untrusted(), "no-tls": None}.items():
        async with mail_server(tls=tls) as (_, port), mailing(f"smtps://127.0.0.1:{port}") as client:
            found = await _send_to(client, name, ["anyone"])
        seen.distrusted.append(str(found["anyone"].attempts[0]))
    return seen


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@asynccontextmanager
async def _mailing(installation: Installation, token: str, smtp_url: str) -> AsyncIterator[Client]:
    process = installation.add_process("all", name="mailing", TOCSIN_SMTP_URL=smtp_url)
    await asyncio.to_thread(process.start)
    try:
        async with Client.of(process.url, token) as client:
            yield client
    finally:
        await asyncio.to_thread(process.stop)  # it says goodbye to our server


async def _send_to(client: Client, app: str, recipients: list[str]) -> dict[str, Delivery]:
    """Post one event for all of these; answers with their deliveries, which have ended or have had their time."""
    await client.add_app(app)
    for name in recipients:
        await client.add_notifier(app, name, {"emails": [f"{name}@example.com"]}, platform="email")
    await client.post(app)
    return await client.wait_for(app, lambda delivery: delivery.is_over, within_seconds=PATIENCE_SECONDS)


def _recipient(message: EmailMessage) -> str:
    return str(message["To"]).partition("@")[0]


async def run(context: Context) -> list[Figure]:
    seen = await context.keep("all servers", Seen, _mail_all)
    misread = {name for name, case in CASES.items() if seen.attempts.get(name) != case.attempts}
    for name in sorted(misread):
        say(f"F23 {name}: expected {CASES[name].attempts}, found {seen.attempts.get(name)}")
    got = Counter({name: len(ids) for name, ids in seen.message_ids.items()})
    twice = seen.message_ids.get("hung-up-after-data", [])
    return [
        Figure(name="replies and hang-ups tried", value=len(CASES)),
        Figure(name="read otherwise than documented", value=len(misread), target="= 0"),
        Figure(name="mails lost", value=sum(got[name] < case.mails for name, case in CASES.items()), target="= 0"),
        Figure(
            name="duplicates but after a hang-up after DATA",
            value=sum(got[name] > case.mails for name, case in CASES.items()),
            target="= 0",
        ),
        Figure(name="copies after a hang-up after DATA", value=len(twice), target="<= 2"),
        Figure(name="Message-IDs of these copies", value=len(set(twice)), target="= 1"),
        Figure(
            name="mails handed to a server without TLS or of an unknown authority",
            value=sum(verdict != "retry unreachable" for verdict in seen.distrusted),
            target="= 0",
        ),
    ]


F23 = Scenario(
    id="F23",
    title="a mail server that refuses, puts off, hangs up or cannot be trusted",
    fault=(
        "An SMTP server answers 421, 450, 451 (greylisting), 452, 550, 552 and 554 once to a recipient each, or closes "
        "the connection before or after it has got the mail; another shows a certificate of an unknown authority, "
        "another has no TLS."
    ),
    run=run,
)
