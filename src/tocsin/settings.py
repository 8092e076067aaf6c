"""Everything an operator can set, read once from the environment. `NAME_FILE` reads a secret from a file."""

import ipaddress
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from tocsin.errors import ConfigError
from tocsin.proxies import Proxies
from tocsin.retry import DEFAULT_SCHEDULE_SECONDS

DEFAULT_DATABASE_URL = "sqlite:///data/tocsin.db"
DEFAULT_PORT = 8600
SQLITE, POSTGRES = "sqlite:///", "postgresql://"
SECRETS = ("TOCSIN_DATABASE_URL", "TOCSIN_DATABASE_DIRECT_URL", "TOCSIN_SMTP_URL", "TOCSIN_SECRET_KEY")


class Role(StrEnum):
    """What one process does; more than one needs a database that several can open."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings by their meaning; the variable of each is `TOCSIN_` and its name in capitals."""

    database_url: str = DEFAULT_DATABASE_URL
    database_direct_url: str | None = None
    database_connections: int = 5
    public_url: str | None = None
    region: str = "osc-fr1"
    egress_allow: str = ""
    smtp_url: str | None = None
    mail_from: str = "tocsin@localhost"
    secret_key: str | None = None
    rate_limit: int | None = 600
    trusted_proxies: str = ""
    metrics_listen: tuple[str, int] | None = ("127.0.0.1", 8601)
    retry_schedule: tuple[float, ...] = DEFAULT_SCHEDULE_SECONDS
    delivery_timeout: float = 15.0
    retention_days: int = 30
    audit_retention_days: int = 365
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __repr__(self) -> str:
        return "Settings(...)"

    @property
    def is_on_sqlite(self) -> bool:
        return self.database_url.startswith(SQLITE)

    @property
    def lease_seconds(self) -> float:
        """Two attempts' time and slack: whoever holds a lease longer is taken to be gone."""
        return 2 * self.delivery_timeout + 15


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check the settings. Raises ConfigError naming the variable."""
    values = {name: value for name, value in environment.items() if name.startswith("TOCSIN_") and value.strip()}
    values = {name: value.strip() for name, value in values.items()}
    for name in SECRETS:
        _read_file(name, values)
    found: dict[str, object] = {}
    for name, read in _READERS.items():
        if name in values:
            found[name.removeprefix("TOCSIN_").lower()] = read(name, values[name])
    settings = msgspec.convert(found, Settings)
    if settings.database_direct_url is not None and settings.is_on_sqlite:
        raise ConfigError("TOCSIN_DATABASE_DIRECT_URL goes with a TOCSIN_DATABASE_URL of PostgreSQL")
    return settings


def _read_file(name: str, values: dict[str, str]) -> None:
    path = values.get(f"{name}_FILE")
    if path is None:
        return
    if name in values:
        raise ConfigError(f"set {name} or {name}_FILE, not both")
    try:
        values[name] = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE: cannot read {path}: {_cause(error)}") from error


def _cause(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8"


def _text(name: str, value: str) -> str:
    if not value.isprintable():
        raise ConfigError(f"{name} holds characters that cannot be printed")
    return value


def _url(name: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment:
        raise ConfigError(f"{name} must be an http or https URL such as https://tocsin.example.com")
    return value.rstrip("/")


def _database_url(name: str, value: str) -> str:
    if value.startswith(SQLITE):
        return value
    try:
        return _postgres_url(name, value)
    except ConfigError:
        raise ConfigError(f"{name} must begin with {SQLITE} or {POSTGRES}") from None


def _postgres_url(name: str, value: str) -> str:
    value = value.replace("postgres://", POSTGRES, 1) if value.startswith("postgres://") else value
    if not value.startswith(POSTGRES):
        raise ConfigError(f"{name} must begin with {POSTGRES}")
    return value


def _number(name: str, value: str, *, low: float, high: float, unit: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise ConfigError(f"{name} must be a number of {unit} from {low:g} to {high:g}")
    return number


def _timeout(name: str, value: str) -> float:
    return _number(name, value, low=1, high=60, unit="seconds")


def _days(name: str, value: str) -> int:
    days = _number(name, value, low=1, high=3650, unit="days")
    if days != int(days):
        raise ConfigError(f"{name} must be a whole number of days")
    return int(days)


def _connections(name: str, value: str) -> int:
    count = _number(name, value, low=1, high=100, unit="connections")
    if count != int(count):
        raise ConfigError(f"{name} must be a whole number of connections")
    return int(count)


def _rate_limit(name: str, value: str) -> int | None:
    if value.lower() == "off":
        return None
    try:
        count = _number(name, value, low=1, high=1_000_000, unit="requests")
    except ConfigError:
        count = 0.5
    if count != int(count):
        raise ConfigError(f"{name} must be a whole number of requests a minute from 1 to 1000000, or off")
    return int(count)


def _networks(_: str, value: str) -> str:
    Proxies.parse(value)
    return value


def _schedule(name: str, value: str) -> list[float]:
    try:
        steps = [_number(name, step.strip(), low=0, high=7 * 86400, unit="seconds") for step in value.split(",")]
    except ConfigError:
        raise ConfigError(f"{name} must list seconds, each from 0 to 604800, as in 0,30,600") from None
    if len(steps) > 100:
        raise ConfigError(f"{name} may list at most 100 attempts")
    return steps


def _listen(name: str, value: str) -> tuple[str, int] | None:
    if value.lower() == "off":
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ConfigError(f"{name} must be HOST:PORT or off")
    return host.strip("[]"), int(port)


def _choice(name: str, value: str) -> str:
    choices = {
        "TOCSIN_LOG_FORMAT": ("console", "json"),
        "TOCSIN_LOG_LEVEL": ("debug", "info", "warning", "error"),
    }[name]
    if value.lower() not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}")
    return value.lower()


_READERS = {
    "TOCSIN_DATABASE_URL": _database_url,
    "TOCSIN_DATABASE_DIRECT_URL": _postgres_url,
    "TOCSIN_DATABASE_CONNECTIONS": _connections,
    "TOCSIN_PUBLIC_URL": _url,
    "TOCSIN_REGION": _text,
    "TOCSIN_EGRESS_ALLOW": _text,
    "TOCSIN_SMTP_URL": _text,
    "TOCSIN_MAIL_FROM": _text,
    "TOCSIN_SECRET_KEY": _text,
    "TOCSIN_RATE_LIMIT": _rate_limit,
    "TOCSIN_TRUSTED_PROXIES": _networks,
    "TOCSIN_METRICS_LISTEN": _listen,
    "TOCSIN_RETRY_SCHEDULE": _schedule,
    "TOCSIN_DELIVERY_TIMEOUT": _timeout,
    "TOCSIN_RETENTION_DAYS": _days,
    "TOCSIN_AUDIT_RETENTION_DAYS": _days,
    "TOCSIN_LOG_FORMAT": _choice,
    "TOCSIN_LOG_LEVEL": _choice,
}

SETTING_NAMES = tuple(_READERS)


def origin(host: str, port: int) -> str:
    """The URL of a server that listens there, as its own machine reaches it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"
