"""Making words that users chose fit for a platform: cut to its limits, and without power over its readers."""

import re
from urllib.parse import quote, urlsplit

from tocsin.model import Severity

ELLIPSIS = "…"
MAX_LINK_LENGTH = 2000

# Control characters but newline and tab, halves of surrogate pairs, and the marks that reorder the text after them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_SPACE = re.compile(r"\s+")
# What belongs to the character before it: cutting in front of these would change that character.
_JOINED = re.compile("[\u0300-\u036f\u200d\ufe0f\U0001f3fb-\U0001f3ff]")
_MENTION = re.compile(r"(?<![A-Za-z0-9])@(?=\S)")


def plain(text: str, limit: int) -> str:
    """The text without control characters, cut to `limit` UTF-16 code units (as chat services count)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return clip(_UNPRINTABLE.sub("", text).strip(), limit)


def one_line(text: str, limit: int) -> str:
    """As `plain`, with every run of white space made one space."""
    return clip(_UNPRINTABLE.sub("", _SPACE.sub(" ", text)).strip(), limit)


def width(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def clip(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis, within `limit` UTF-16 code units."""
    if len(text) * 2 <= limit or width(text) <= limit:
        return text
    room, end = limit - 1, 0
    for character in text:
        room -= 2 if character > "\uffff" else 1
        if room < 0:
            break
        end += 1
    while end and (_JOINED.match(text, end) or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end].rstrip() + ELLIPSIS if limit > 0 else ""


def quiet(text: str) -> str:
    """The text with `@name` kept from calling anyone: an invisible space stands behind the sign."""
    return _MENTION.sub("@\u200b", text)


def web_link(link: str | None) -> str | None:
    """The link if it is a web address, with everything escaped that could end it early; otherwise nothing."""
    if not link or len(link) > MAX_LINK_LENGTH:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    escaped = quote(link, safe=":/?#[]@!$&*+,;=%~", errors="replace")
    return escaped if len(escaped) <= MAX_LINK_LENGTH else None


def sign_of(severity: Severity) -> str:
    """An emoji that tells the severity at a glance."""
    match severity:
        case Severity.SUCCESS:
            return "✅"
        case Severity.WARNING:
            return "⚠️"
        case Severity.ERROR:
            return "🔴"
        case Severity.INFO:
            return "🔵"


def colour_of(severity: Severity) -> str:
    """A colour for the severity on which white letters can be read."""
    match severity:
        case Severity.SUCCESS:
            return "#15803d"
        case Severity.WARNING:
            return "#b45309"
        case Severity.ERROR:
            return "#dc2626"
        case Severity.INFO:
            return "#2563eb"
