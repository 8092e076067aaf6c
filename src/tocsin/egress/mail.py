"""Mail to the operator's SMTP server: kept connections, verified TLS, one deadline, replies read by RFC 5321.

The server is the operator's choice, so its address is not filtered as those of webhooks are.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from tocsin.clock import Clock, SystemClock
from tocsin.errors import ConfigError, PermanentFailure, PlatformError, TemporaryFailure
from tocsin.model import Reason, Response

MAX_CONNECTIONS = 2
"""To the operator's mail server at once: many servers take few from one client, and mail is in no hurry."""

_IDLE_SECONDS = 60.0  # servers hang up after 5 minutes (RFC 5321 4.5.3.2.7); many sooner
_MAX_TEXT = 500
_PORTS = {"smtp": 587, "smtps": 465}
_GOING_AWAY = 421  # the server closes the connection (RFC 5321 3.8)
_WRONG_SENDER = "TOCSIN_MAIL_FROM is not an address such as tocsin@example.com or Tocsin <tocsin@example.com>"
_THROTTLING = ("rate", "too many", "throttl", "4.7.28", "quota")


class _Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail goes, without a repr that could show the password."""

    host: str
    port: int
    username: str | None
    password: str | None
    is_tls: bool
    is_loopback: bool

    def __repr__(self) -> str:
        return f"_Server({self.host}:{self.port})"


class _Connection:
    """One SMTP session and when it was last used."""

    def __init__(self, smtp: aiosmtplib.SMTP) -> None:
        self.smtp = smtp
        self.is_reused = False
        self.used_at_seconds = 0.0


class Mailer:
    """Hands mails to one SMTP server. Raises ConfigError for a URL or sender that cannot be used.

    `url` is `smtp://` (STARTTLS when offered, and required with credentials unless the host is this machine) or
    `smtps://`; user and password are percent-encoded. `timeout_seconds` bounds one mail from the wait for a
    connection to the last reply.
    """

    def __init__(
        self,
        url: str,
        mail_from: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout_seconds: float = 15.0,
        max_connections: int = MAX_CONNECTIONS,
        clock: Clock | None = None,
    ) -> None:
        self._server = _parse_url(url)
        self._sender = parse_sender(mail_from)
        self._context = ssl_context or _tls_context(self._server)
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[_Connection] = []
        self._clock = clock or SystemClock()
        self._is_closed = False

    async def send(self, message: EmailMessage, *, recipient: str) -> Response:
        """Hand over one mail; see `Network.send_mail`."""
        if "From" not in message:
            message["From"] = self._sender
        octets = message.as_bytes()
        try:
            async with asyncio.timeout(self._timeout_seconds), self._slots:
                reply = await self._deliver(octets, recipient)
        except TimeoutError as error:
            raise TemporaryFailure(Reason.TIMEOUT, "the mail server took too long") from error
        except SMTPException as error:
            raise read_failure(error) from error
        except OSError as error:
            raise TemporaryFailure(Reason.UNREACHABLE, f"the mail server cannot be reached: {error}") from error
        return Response(status=reply.code, body=_text(reply.message).encode())

    async def aclose(self) -> None:
        """Say goodbye on idle connections. Mails under way are not waited for."""
        self._is_closed = True
        while self._idle:
            smtp = self._idle.pop().smtp
            with suppress(SMTPException, OSError):  # the server may be gone; we leave anyway
                async with asyncio.timeout(1.0):
                    await smtp.quit()
            smtp.close()

    async def _deliver(self, octets: bytes, recipient: str) -> aiosmtplib.SMTPResponse:
        async with self._connection() as connection:
            try:
                await self._begin(connection)
                await connection.smtp.rcpt(recipient)
                return await connection.smtp.data(octets)
            except SMTPResponseException:
                # The connection is fine, the mail was not: leave no half of it behind.
                with suppress(SMTPException, OSError):
                    await connection.smtp.rset()
                raise

    async def _begin(self, connection: _Connection) -> None:
        """Start a mail; a kept connection that the server has closed meanwhile is opened anew."""
        sender = self._sender.addr_spec
        try:
            await connection.smtp.mail(sender)
        except SMTPResponseException as error:
            if not (connection.is_reused and error.code == _GOING_AWAY):
                raise
        except (SMTPServerDisconnected, ConnectionError):
            if not connection.is_reused:
                raise
        else:
            return
        connection.smtp.close()
        connection.smtp = await self._connect()
        await connection.smtp.mail(sender)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        connection = self._take_idle() or _Connection(await self._connect())
        is_whole = False
        try:
            yield connection
            is_whole = True
        except SMTPResponseException as error:
            is_whole = 400 <= error.code < 600 and error.code != _GOING_AWAY
            raise
        finally:
            if is_whole and connection.smtp.is_connected and not self._is_closed:
                connection.is_reused = True
                connection.used_at_seconds = self._clock.monotonic()
                self._idle.append(connection)
            else:
                connection.smtp.close()

    def _take_idle(self) -> _Connection | None:
        oldest_seconds = self._clock.monotonic() - _IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.used_at_seconds >= oldest_seconds and connection.smtp.is_connected:
                return connection
            connection.smtp.close()
        return None

    async def _connect(self) -> aiosmtplib.SMTP:
        smtp = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            local_hostname=self._sender.domain,
            timeout=None,  # one deadline stands over everything
            use_tls=self._server.is_tls,
            start_tls=False,  # done below, where it is known why
            tls_context=self._context,
        )
        try:
            await smtp.connect()
            await self._secure(smtp)
        except BaseException:
            smtp.close()
            raise
        return smtp

    async def _secure(self, smtp: aiosmtplib.SMTP) -> None:
        server = self._server
        await smtp.ehlo()
        if not server.is_tls and smtp.supports_extension("starttls"):
            await smtp.starttls()
        elif not server.is_tls and not server.is_loopback and server.username is not None:
            message = "the mail server offers no STARTTLS, and the password is not sent in the clear"
            raise TemporaryFailure(Reason.MISCONFIGURED, message)
        if server.username is not None and server.password is not None:
            await smtp.login(server.username, server.password)

    def __repr__(self) -> str:
        return f"Mailer({self._server.host}:{self._server.port})"


def read_failure(error: SMTPException) -> PlatformError:
    """What an unsuccessful session means for the mail.

    Mistakes that only the operator can mend (a wrong password, a sender that the server does not accept) are
    temporary: no mail is lost while they are being mended.
    """
    match error:
        case SMTPAuthenticationError():
            return TemporaryFailure(Reason.AUTH, f"the mail server refused to log in: {_reply(error)}")
        case SMTPConnectError():
            return TemporaryFailure(Reason.UNREACHABLE, f"the mail server cannot be reached: {_text(str(error))}")
        case SMTPResponseException():
            return _read_reply(error)
        case SMTPServerDisconnected():
            message = "the mail server hung up before it confirmed; it may have taken the mail"
            return TemporaryFailure(Reason.BAD_RESPONSE, message)
        case _:
            return TemporaryFailure(Reason.MISCONFIGURED, f"the mail server cannot be used: {_text(str(error))}")


def _read_reply(error: SMTPResponseException) -> PlatformError:
    message = f"the mail server answered {_reply(error)}"
    response = Response(status=max(error.code, 0), body=_text(error.message).encode())
    if error.code in {530, 534, 535, 538}:  # RFC 4954 section 6
        return TemporaryFailure(Reason.AUTH, message, response=response)
    if error.code in {552, 523} and not isinstance(error, SMTPRecipientRefused):  # a full mailbox is no large mail
        return PermanentFailure(Reason.TOO_LARGE, message, response=response)
    if isinstance(error, SMTPSenderRefused) and error.code >= 500:
        return TemporaryFailure(Reason.MISCONFIGURED, message, response=response)
    if 500 <= error.code < 600:
        return PermanentFailure(Reason.REJECTED, message, response=response)
    if not 400 <= error.code < 500:
        return TemporaryFailure(Reason.BAD_RESPONSE, message, response=response)
    is_throttled = any(word in error.message.lower() for word in _THROTTLING)
    reason = Reason.RATE_LIMITED if is_throttled else Reason.SERVER_ERROR
    return TemporaryFailure(reason, message, response=response)


def parse_sender(mail_from: str) -> Address:
    """`Name <address>` or an address alone, which gets the name Tocsin. Raises ConfigError."""
    name, angle, rest = mail_from.strip().rpartition("<")
    display_name = name.strip().strip('"') if angle else ""
    try:
        if any(ord(character) < 32 for character in mail_from):
            raise ValueError("control characters")  # noqa: TRY301 - read where it is decided
        address = Address(display_name or "Tocsin", addr_spec=rest.removesuffix(">").strip())
    except (ValueError, IndexError, HeaderParseError) as error:
        raise ConfigError(_WRONG_SENDER) from error
    if not address.username or not address.domain or not address.addr_spec.isascii():
        raise ConfigError(_WRONG_SENDER)
    return address


def _parse_url(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("TOCSIN_SMTP_URL cannot be read; percent-encode user and password") from None
    if parts.scheme not in _PORTS or not host or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ConfigError("TOCSIN_SMTP_URL is not of the form smtp://user:password@host:port or smtps://...")
    if (parts.username is None) != (parts.password is None):
        raise ConfigError("TOCSIN_SMTP_URL names a user without a password")
    return _Server(
        host=host,
        port=port or _PORTS[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.username and parts.password is not None else None,
        is_tls=parts.scheme == "smtps",
        is_loopback=_is_loopback(host),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls_context(server: _Server) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if server.is_loopback and not server.is_tls:
        # A mail server on this machine offers STARTTLS with a certificate that nobody signed, and nobody stands
        # between us and it.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reply(error: SMTPResponseException) -> str:
    return f"{error.code} {_text(error.message)}"


def _text(text: str) -> str:
    """A server's words on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_MAX_TEXT]
