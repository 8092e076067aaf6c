"""`tocsin doctor`: what could stand in the way, a line for each check. It changes nothing."""

import socket
import ssl
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

import typer

from tocsin.cli import doctor_postgres, doctor_sqlite
from tocsin.cli.finding import Check, Finding, Level, look
from tocsin.egress.addresses import AddressPolicy
from tocsin.egress.mail import Mailer
from tocsin.errors import TocsinError
from tocsin.settings import SETTING_NAMES, Settings, read_settings

MAIL_PATIENCE_SECONDS = 5.0

_COLOURS: Mapping[Level, str] = {"ok": "green", "warn": "yellow", "FAIL": "red"}


def examine(environment: Mapping[str, str]) -> bool:
    """Print the findings; whether none of them is a failure."""
    try:
        settings = read_settings(environment)
        checks = _list_checks(settings)
    except TocsinError as error:
        _print("settings", Finding("FAIL", error.message))
        return False
    given = sum(name in environment or f"{name}_FILE" in environment for name in SETTING_NAMES)
    _print("settings", Finding("ok", f"{given} of {len(SETTING_NAMES)} set, the others have their defaults"))
    has_failed = False
    for name, check in checks.items():
        found = look(check)
        _print(name, found)
        has_failed |= found.level == "FAIL"
    return not has_failed


def _list_checks(settings: Settings) -> Mapping[str, Check]:
    database = doctor_sqlite if settings.is_on_sqlite else doctor_postgres
    return {
        **database.list_checks(settings),
        "mail": partial(_mail, settings),
        "egress": partial(_egress, settings),
    }


def _print(name: str, finding: Finding) -> None:
    level = typer.style(f"{finding.level:<4}", fg=_COLOURS[finding.level])
    typer.echo(f"{level}  {name:<11}  {finding.text}")


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
