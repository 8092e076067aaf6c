"""Sentences about events that the catalogue does not know: their type in words, their plain values as fields."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from tocsin.model import Severity
from tocsin.rendering.draft import Draft
from tocsin.rendering.read import UNNAMED_APP, Facts, as_text
from tocsin.rendering.words import capital, discreet, lines, one_line, spaced

_TEXT_KEYS = ("message", "text", "description")
_SPENT_KEYS = frozenset({*_TEXT_KEYS, "severity", "level"})
_SECRET_WORDS = frozenset(
    (
        *("auth", "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "dsn", "iban"),
        *("key", "keys", "otp", "passphrase", "passwd", "pin", "private", "pwd", "session", "signature", "webhook"),
    )
)
_SECRET_PARTS = ("password", "secret", "token", "apikey")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEVERITIES: Mapping[str, Severity] = MappingProxyType(
    {
        "info": Severity.INFO,
        "success": Severity.SUCCESS,
        "warning": Severity.WARNING,
        "warn": Severity.WARNING,
        "error": Severity.ERROR,
        "critical": Severity.ERROR,
    }
)


def unknown(facts: Facts) -> Draft:
    what = spaced(one_line(facts.type, 150)) or "an event"
    where = f" on {facts.app}" if facts.app != UNNAMED_APP else ""
    texts = (facts.raw(key) for key in _TEXT_KEYS)
    link = facts.link("url", "html_url", "link", "logs_url")
    fields = tuple(
        (capital(spaced(_HUMP.sub(" ", name))), value)
        for name, raw in facts.pairs()
        if name not in _SPENT_KEYS and raw != link and not _is_secret(name) and (value := _value(raw))
    )
    return Draft(
        f"{facts.who}: {what}{where}" if facts.who else f"{capital(what)}{where}",
        text=next((discreet(lines(text[:8_000])) for text in texts if text.strip()), ""),
        severity=_SEVERITIES.get(facts.text("severity", "level").lower(), Severity.INFO),
        fields=fields,
        link=link,
    )


def _is_secret(name: str) -> bool:
    words = re.split(r"[^a-z0-9]+", _HUMP.sub(" ", name).lower())
    return not _SECRET_WORDS.isdisjoint(words) or any(piece in "".join(words) for piece in _SECRET_PARTS)


def _value(raw: object) -> str:
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, list):
        return discreet(", ".join(text for item in raw[:20] if (text := as_text(item, 100))))
    return discreet(as_text(raw, 500))
