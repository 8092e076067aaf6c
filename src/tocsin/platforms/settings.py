"""A notifier's `type_data`, checked and masked by what its platform declares."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from tocsin.errors import InvalidInput
from tocsin.platforms.base import Platform, Setting, SettingKind

MAX_URL_LENGTH = 2048
MAX_ENTRIES = 50
MASK = "…"

# RFC 5321 4.1.2 without quoted strings and address literals, which no mailbox of a person has.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_MAX_ADDRESS_LENGTH = 254
_MAX_ID_LENGTH = 128


def read_settings(platform: Platform, type_data: Mapping[str, Any], check_url: Callable[[str], None]) -> dict[str, Any]:
    """The declared settings that are given; unknown keys, null and empty values are left out.

    `check_url` raises ValueError with a sentence for an address that must not be called. Raises InvalidInput that
    names each wrong field as `type_data.NAME`.
    """
    settings: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for setting in platform.settings:
        value = type_data.get(setting.name)
        try:
            if value not in (None, "", [], {}):
                settings[setting.name] = _read(setting, value, check_url)
            elif setting.required:
                raise ValueError("is required")  # noqa: TRY301 - read where it is decided
        except ValueError as error:
            wrong[f"type_data.{setting.name}"] = [str(error)]
    if not wrong and platform.any_of and not any(name in settings for name in platform.any_of):
        others = " or ".join(platform.any_of[1:])
        wrong[f"type_data.{platform.any_of[0]}"] = ["must not be empty" + (f" when {others} is" if others else "")]
    if wrong:
        raise InvalidInput(wrong)
    return settings


def _read(setting: Setting, value: Any, check_url: Callable[[str], None]) -> Any:
    match setting.kind:
        case SettingKind.URL:
            return _read_url(value, check_url)
        case SettingKind.EMAILS:
            return [_read_address(entry) for entry in _read_list(value)]
        case SettingKind.MEMBERS:
            return [_read_member(entry) for entry in _read_list(value)]


def _read_url(value: Any, check_url: Callable[[str], None]) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - pydantic and our errors speak of values
    if len(value) > MAX_URL_LENGTH:
        raise ValueError(f"must not be longer than {MAX_URL_LENGTH} characters")
    check_url(value)
    return value


def _read_list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("must be a list of strings")
    if len(value) > MAX_ENTRIES:
        raise ValueError(f"must not have more than {MAX_ENTRIES} entries")
    return value


def _read_address(entry: str) -> str:
    address = entry.strip(" ")
    mail_address(address)
    return address


def _read_member(entry: str) -> str:
    if not entry.isascii() or not entry.isprintable() or not 0 < len(entry) <= _MAX_ID_LENGTH:
        raise ValueError("must be a list of user ids")
    return entry


def mail_address(address: str) -> str:
    """The address as SMTP takes it: an internationalised domain in its ASCII form.

    The part before the @ must be ASCII, for many servers still refuse others. Raises ValueError.
    """
    local_part, at, domain = address.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_domain = ""
    labels = ascii_domain.split(".")
    is_valid = (
        at
        and len(local_part) <= 64
        and _LOCAL_PART.fullmatch(local_part)
        and "=?" not in local_part  # begins an encoded word, which mail programs would decode
        and len(labels) > 1
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
        and len(local_part) + 1 + len(ascii_domain) <= _MAX_ADDRESS_LENGTH
    )
    if not is_valid:
        raise ValueError("must hold e-mail addresses such as ada@example.com")
    return f"{local_part}@{ascii_domain}"


def mask_settings(platform: Platform, type_data: Mapping[str, Any]) -> dict[str, Any]:
    """The declared settings with secrets masked: a URL as its scheme and host."""
    return {
        setting.name: mask_url(type_data[setting.name]) if setting.secret else type_data[setting.name]
        for setting in platform.settings
        if type_data.get(setting.name) not in (None, "", [])
    }


def mask_url(value: Any) -> str:
    """Scheme and host of a URL: enough to recognise it, too little to use it."""
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError):
        return MASK
    if not host or parts.scheme not in {"http", "https"}:
        return MASK
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}/{MASK}"
