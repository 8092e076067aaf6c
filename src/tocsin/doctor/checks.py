"""Every check of the doctor, for the database that the settings name."""

import socket
import ssl
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from tocsin.doctor import postgres, sqlite
from tocsin.doctor.finding import Check, Finding
from tocsin.egress.addresses import AddressPolicy
from tocsin.egress.mail import Mailer
from tocsin.settings import Settings

MAIL_PATIENCE_SECONDS = 5.0


def list_checks(settings: Settings, ask_server: Check) -> Mapping[str, Check]:
    """The checks by name, in the order in which they are shown. They block. Raises ConfigError for wrong settings.

    `ask_server` finds out whether a server runs on the embedded database, and what it says of itself.
    """
    is_embedded = settings.is_on_sqlite
    of_database = sqlite.list_checks(settings, ask_server) if is_embedded else postgres.list_checks(settings)
    return {**of_database, "mail": partial(_mail, settings), "egress": partial(_egress, settings)}


def _mail(settings: Settings) -> Finding:
    url = settings.smtp_url
    if url is None:
        return Finding("ok", "TOCSIN_SMTP_URL is not set: e-mail deliveries wait for it")
    Mailer(url, settings.mail_from)  # raises ConfigError for what it cannot use
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (465 if parts.scheme == "smtps" else 587)
    try:
        greeting = _greeting(host, port, is_tls=parts.scheme == "smtps")
    except OSError as error:
        return Finding("FAIL", f"{host}:{port} does not answer: {error.strerror or error}")
    if not greeting.startswith(b"220"):
        return Finding("FAIL", f"{host}:{port} does not greet as a mail server does")
    return Finding("ok", f"{host}:{port} answers")


def _greeting(host: str, port: int, *, is_tls: bool) -> bytes:
    with socket.create_connection((host, port), MAIL_PATIENCE_SECONDS) as connection:
        if not is_tls:
            return connection.recv(512)
        with ssl.create_default_context().wrap_socket(connection, server_hostname=host) as encrypted:
            return encrypted.recv(512)


def _egress(settings: Settings) -> Finding:
    policy = AddressPolicy.parse(settings.egress_allow)
    count = len(policy.entries)
    if not count:
        return Finding("ok", "public addresses alone")
    return Finding("ok", f"public addresses, and {count} {'entry' if count == 1 else 'entries'} of TOCSIN_EGRESS_ALLOW")
