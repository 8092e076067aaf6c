"""Handing mail to an SMTP server: replies, deadlines, TLS, login and kept connections."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import quote

import pytest

from tests.platforms.mail_server import HANG_UP, PASSWORD, USERNAME, Certificates, Script, check_login, mail_server
from tocsin.clock import ManualClock
from tocsin.egress.mail import Mailer, parse_sender
from tocsin.errors import ConfigError, PermanentFailure, PlatformError, TemporaryFailure
from tocsin.model import Reason

LOGIN = f"{USERNAME}:{quote(PASSWORD, safe='')}@"


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return Certificates()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Script, int]]:
    async with mail_server() as running:
        yield running


def make_mail(text: str = "hello") -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["To"] = "ada@example.com"
    mail["Subject"] = "Hello"
    mail.set_content(text)
    return mail


def make_mailer(port: int, **changes: object) -> Mailer:
    given = {"url": f"smtp://127.0.0.1:{port}", "mail_from": "tocsin@example.com", "timeout_seconds": 5.0}
    return Mailer(**(given | changes))  # type: ignore[arg-type]


async def send(mailer: Mailer, mail: EmailMessage | None = None) -> bytes:
    try:
        response = await mailer.send(mail or make_mail(), recipient="ada@example.com")
    finally:
        await mailer.aclose()
    assert response.status == 250
    return response.body


async def failure_of(mailer: Mailer) -> PlatformError:
    with pytest.raises(PlatformError) as failed:
        await send(mailer)
    return failed.value


async def test_a_mail_arrives_with_sender_and_recipient(server: tuple[Script, int]) -> None:
    script, port = server
    assert await send(make_mailer(port)) == b"2.0.0 taken as 1"
    [(sender, recipient, _)] = script.mails
    [message] = script.messages
    assert (sender, recipient) == ("tocsin@example.com", "ada@example.com")
    assert message["From"] == "Tocsin <tocsin@example.com>"
    assert message.get_content().strip() == "hello"


async def test_a_from_header_that_is_there_stays(server: tuple[Script, int]) -> None:
    script, port = server
    mail = make_mail()
    mail["From"] = "Ada <ada@example.com>"
    await send(make_mailer(port), mail)
    assert script.messages[0]["From"] == "Ada <ada@example.com>"


async def test_lines_that_are_a_single_dot_do_not_end_the_mail(server: tuple[Script, int]) -> None:
    script, port = server
    await send(make_mailer(port), make_mail("one\n.\n..two\nRCPT TO:<eve@example.com>"))
    assert script.messages[0].get_content().splitlines()[:4] == ["one", ".", "..two", "RCPT TO:<eve@example.com>"]


async def test_connections_are_kept(server: tuple[Script, int]) -> None:
    script, port = server
    mailer = make_mailer(port)
    for _ in range(3):
        await mailer.send(make_mail(), recipient="ada@example.com")
    await mailer.aclose()
    assert len(script.mails) == 3
    assert len(script.sessions) == 1


async def test_no_more_connections_than_allowed_are_opened(server: tuple[Script, int]) -> None:
    script, port = server
    mailer = make_mailer(port)
    await asyncio.gather(*(mailer.send(make_mail(), recipient="ada@example.com") for _ in range(10)))
    await mailer.aclose()
    assert len(script.mails) == 10
    assert len(script.sessions) == 2


async def test_a_connection_that_was_idle_too_long_is_not_used_again(server: tuple[Script, int]) -> None:
    script, port = server
    clock = ManualClock()
    mailer = make_mailer(port, clock=clock)
    await mailer.send(make_mail(), recipient="ada@example.com")
    clock.advance(61)
    await mailer.send(make_mail(), recipient="ada@example.com")
    await mailer.aclose()
    assert len(script.sessions) == 2


@pytest.mark.parametrize("farewell", [HANG_UP, "421 4.4.2 idle too long"])
async def test_a_kept_connection_that_went_stale_is_opened_anew(server: tuple[Script, int], farewell: str) -> None:
    script, port = server
    mailer = make_mailer(port)
    await mailer.send(make_mail(), recipient="ada@example.com")
    script.replies["MAIL"] = [farewell]
    assert await send(mailer) == b"2.0.0 taken as 2"
    assert len(script.sessions) == 2


async def test_a_refused_mail_leaves_the_connection_usable(server: tuple[Script, int]) -> None:
    script, port = server
    script.replies["RCPT"] = ["550 5.1.1 no such user"]
    mailer = make_mailer(port)
    with pytest.raises(PermanentFailure):
        await mailer.send(make_mail(), recipient="ada@example.com")
    assert await send(mailer) == b"2.0.0 taken as 1"
    assert len(script.sessions) == 1


@pytest.mark.parametrize(
    ("command", "reply", "failure", "reason"),
    [
        ("RCPT", "450 4.2.0 greylisted, come back", TemporaryFailure, Reason.SERVER_ERROR),
        ("RCPT", "451 4.3.0 local error", TemporaryFailure, Reason.SERVER_ERROR),
        ("RCPT", "452 4.5.3 too many recipients", TemporaryFailure, Reason.RATE_LIMITED),
        ("RCPT", "550 5.1.1 no such user", PermanentFailure, Reason.REJECTED),
        ("RCPT", "552 5.2.2 mailbox full", PermanentFailure, Reason.REJECTED),
        ("RCPT", "530 5.7.0 authentication required", TemporaryFailure, Reason.AUTH),
        ("MAIL", "421 4.3.2 closing", TemporaryFailure, Reason.SERVER_ERROR),
        ("MAIL", "421 4.7.28 rate limit", TemporaryFailure, Reason.RATE_LIMITED),
        ("MAIL", "552 5.3.4 too big", PermanentFailure, Reason.TOO_LARGE),
        ("MAIL", "553 5.7.1 not your address", TemporaryFailure, Reason.MISCONFIGURED),
        ("MAIL", "299 what", TemporaryFailure, Reason.BAD_RESPONSE),
        ("DATA", "451 4.7.1 try later", TemporaryFailure, Reason.SERVER_ERROR),
        ("DATA", "554 5.7.1 looks like spam", PermanentFailure, Reason.REJECTED),
        ("DATA", HANG_UP, TemporaryFailure, Reason.BAD_RESPONSE),
        ("RCPT", HANG_UP, TemporaryFailure, Reason.BAD_RESPONSE),
    ],
)
async def test_replies_decide_whether_it_is_tried_again(
    server: tuple[Script, int], command: str, reply: str, failure: type[PlatformError], reason: Reason
) -> None:
    script, port = server
    script.replies[command] = [reply]
    failed = await failure_of(make_mailer(port))
    assert type(failed) is failure
    assert failed.reason is reason
    assert reply[4:] in str(failed)


async def test_what_the_server_says_is_kept_on_one_line(server: tuple[Script, int]) -> None:
    script, port = server
    script.replies["RCPT"] = ["550-first\r\n550 second\x1b[31m"]
    failed = await failure_of(make_mailer(port))
    assert failed.response is not None
    assert failed.response.status == 550
    assert failed.response.body == b"first second [31m"


@asynccontextmanager
async def raw_server(greeting: bytes) -> AsyncIterator[int]:
    """A server that says one thing and then listens until its client leaves. Yields its port."""
    sessions: list[asyncio.Task[None] | None] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sessions.append(asyncio.current_task())
        writer.write(greeting)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*filter(None, sessions))


async def test_a_server_that_says_nothing_is_a_time_out() -> None:
    async with raw_server(b"") as port:
        failed = await failure_of(make_mailer(port, timeout_seconds=0.05))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.TIMEOUT


async def test_a_server_that_speaks_no_smtp_is_not_understood() -> None:
    async with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        failed = await failure_of(make_mailer(port))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.BAD_RESPONSE


async def test_a_closed_port_is_unreachable() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    failed = await failure_of(make_mailer(port))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.UNREACHABLE


async def test_tls_from_the_start_is_verified(certificates: Certificates) -> None:
    async with mail_server(tls=certificates.server) as (script, port):
        url = f"smtps://127.0.0.1:{port}"
        await send(make_mailer(port, url=url, ssl_context=certificates.client))
        assert script.encrypted == [True]
        failed = await failure_of(make_mailer(port, url=url))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.UNREACHABLE
    assert "certificate" in str(failed).lower()


async def test_starttls_is_used_when_offered(certificates: Certificates) -> None:
    async with mail_server(tls_context=certificates.server) as (script, port):
        await send(make_mailer(port, ssl_context=certificates.client))
        assert script.encrypted == [True]


async def test_starttls_with_this_machine_needs_no_signed_certificate(certificates: Certificates) -> None:
    async with mail_server(tls_context=certificates.server) as (script, port):
        await send(make_mailer(port))
        assert script.encrypted == [True]


async def test_starttls_with_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    async with mail_server(tls_context=certificates.server) as (script, port):
        failed = await failure_of(make_mailer(port, ssl_context=ssl.create_default_context()))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.UNREACHABLE
    assert script.mails == []


async def test_login_works_with_characters_that_urls_escape(certificates: Certificates) -> None:
    async with mail_server(tls_context=certificates.server, authenticator=check_login, auth_required=True) as (
        script,
        port,
    ):
        await send(make_mailer(port, url=f"smtp://{LOGIN}127.0.0.1:{port}"))
        assert len(script.mails) == 1


async def test_a_wrong_password_waits_for_the_operator(certificates: Certificates) -> None:
    async with mail_server(tls_context=certificates.server, authenticator=check_login) as (_, port):
        failed = await failure_of(make_mailer(port, url=f"smtp://tocsin:Wr0ng@127.0.0.1:{port}"))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.AUTH
    assert "Wr0ng" not in str(failed)


async def test_a_password_is_not_sent_in_the_clear_to_another_machine(
    server: tuple[Script, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, port = server
    monkeypatch.setattr("tocsin.egress.mail._is_loopback", lambda host: False)
    failed = await failure_of(make_mailer(port, url=f"smtp://{LOGIN}127.0.0.1:{port}"))
    assert isinstance(failed, TemporaryFailure)
    assert failed.reason is Reason.MISCONFIGURED
    assert script.mails == []


async def test_nothing_is_kept_after_closing(server: tuple[Script, int]) -> None:
    script, port = server
    mailer = make_mailer(port)
    await send(mailer)
    await send(mailer)
    assert len(script.sessions) == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://mail.test",
        "smtp://",
        "smtp://:25",
        "smtp://ada:S3CRET@mail.test:notaport",
        "smtp://ada:S3CRET@mail.test:99999",
        "smtp://ada:S3CRET/x@mail.test",
        "smtp://ada:S3CRET@mail.test/path",
        "smtp://ada:S3CRET@[mail.test",
        "smtp://ada@mail.test",
        "ada:S3CRET@mail.test",
    ],
)
def test_a_url_that_cannot_be_used_is_named_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="TOCSIN_SMTP_URL") as refused:
        Mailer(url, "tocsin@example.com")
    assert "S3CRET" not in f"{refused.value!r} {refused.value.__cause__!r}"


def test_the_password_does_not_show_in_a_repr() -> None:
    mailer = Mailer("smtps://ada:S3CRET@mail.test", "tocsin@example.com")
    assert "S3CRET" not in f"{mailer!r} {mailer._server!r}"
    assert repr(mailer) == "Mailer(mail.test:465)"


@pytest.mark.parametrize(
    ("mail_from", "shown"),
    [
        ("tocsin@example.com", "Tocsin <tocsin@example.com>"),
        ("<tocsin@example.com>", "Tocsin <tocsin@example.com>"),
        ("Alerts <tocsin@example.com>", "Alerts <tocsin@example.com>"),
        ('"Alerts, all" <tocsin@example.com>', '"Alerts, all" <tocsin@example.com>'),
    ],
)
def test_a_sender_has_a_name(mail_from: str, shown: str) -> None:
    assert str(parse_sender(mail_from)) == shown


@pytest.mark.parametrize(
    "mail_from", ["", "nobody", "@example.com", "a@", "a@b@c", "a b@c.test", "x <a@b\r\nBcc: c@d>"]
)
def test_a_sender_that_is_no_address_is_refused(mail_from: str) -> None:
    with pytest.raises(ConfigError, match="TOCSIN_MAIL_FROM"):
        parse_sender(mail_from)
