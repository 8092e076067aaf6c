"""Reading what an event says with care: whatever its `type_data` holds, a value is of its kind or empty."""

import re
from datetime import datetime
from math import isfinite

from tocsin.dates import parse_instant
from tocsin.model import Event
from tocsin.rendering.words import moment, one_line, part

UNNAMED_APP = "the app"
UNNAMED_PROJECT = "the project"
UNNAMED_OWNER = "a user's"
_MAX_NAME = 100
_MAX_FIGURE = 10**15
_MAX_ITEMS = 200
_MAX_LINK = 2000
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_LINK = re.compile(r"https?://[^\s/?#@\\<>\"]+(?:[/?#][^\s<>\"]*)?", re.IGNORECASE)


class Data:
    """A JSON object of unknown shape. Text is clean, on one line and clipped; what is not there is empty."""

    __slots__ = ("_values",)

    def __init__(self, values: object) -> None:
        self._values = values if isinstance(values, dict) else {}

    def raw(self, key: str) -> str:
        """A string as it came, uncleaned."""
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def text(self, *keys: str, limit: int = _MAX_NAME) -> str:
        """The first of these that says something."""
        return next((text for key in keys if (text := as_text(self._values.get(key), limit))), "")

    def texts(self, key: str) -> list[str]:
        return [text for item in self._list(key) if (text := as_text(item, _MAX_NAME))]

    def number(self, *keys: str) -> float | None:
        """The first of these that is a number, or one in a string."""
        return next((number for key in keys if (number := as_number(self._values.get(key))) is not None), None)

    def flag(self, key: str) -> bool | None:
        value = self._values.get(key)
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(self.raw(key))

    def within(self, key: str) -> "Data":
        return Data(self._values.get(key))

    def each(self, key: str) -> list["Data"]:
        return [Data(item) for item in self._list(key) if isinstance(item, dict)]

    def pairs(self, key: str = "") -> list[tuple[str, object]]:
        """Names and values of the object at this key, or of this one."""
        values = self._values.get(key) if key else self._values
        items = list(values.items())[:_MAX_ITEMS] if isinstance(values, dict) else []
        return [(as_text(name, _MAX_NAME), value) for name, value in items]

    def person(self, key: str) -> str:
        """What to call a user: by name, or by address while an invitation is open."""
        user = self.within(key)
        name = user.text("username")
        return (name if name != "n/a" else "") or user.text("email") or self.text(key)

    def at(self, key: str) -> str:
        """A date in words."""
        instant = self._instant(key)
        return moment(instant) if instant else ""

    def seconds_between(self, start: str, end: str) -> float | None:
        started_at, ended_at = self._instant(start), self._instant(end)
        return (ended_at - started_at).total_seconds() if started_at and ended_at else None

    def link(self, *keys: str) -> str | None:
        """The first of these that a browser can open and that names no user."""
        return next((link for key in keys if (link := as_link(self.raw(key)))), None)

    def _instant(self, key: str) -> datetime | None:
        try:
            return parse_instant(self.raw(key)[:64])
        except ValueError:
            return None

    def _list(self, key: str) -> list[object]:
        value = self._values.get(key)
        return value[:_MAX_ITEMS] if isinstance(value, list) else []


class Facts(Data):
    """An event to put in words: who did it (may be empty), the app and the project (words of ours when unnamed)."""

    __slots__ = ("app", "project", "type", "who")

    def __init__(self, event: Event) -> None:
        super().__init__(event.type_data)
        self.type = event.type
        self.who = one_line(event.user.username or event.user.email, _MAX_NAME)
        self.app = one_line(event.app_name or "", _MAX_NAME) or UNNAMED_APP
        self.project = part("the project ", one_line(event.project_name or "", _MAX_NAME)) or UNNAMED_PROJECT

    @property
    def whose(self) -> str:
        return f"{self.who}'s" if self.who else UNNAMED_OWNER

    def by(self, active: str, passive: str, *, who: str = "") -> str:
        """`alice` and what she did, or what was done when nobody is named."""
        actor = who or self.who
        return f"{actor} {active}" if actor else passive


def as_text(value: object, limit: int) -> str:
    if isinstance(value, str):
        return one_line(value, limit)
    if isinstance(value, bool):
        return ""
    number = as_number(value)
    return "" if number is None else f"{number:g}" if isinstance(number, float) else str(number)


def as_number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, int):
        return value if abs(value) < _MAX_FIGURE else None
    return value if isinstance(value, float) and isfinite(value) and abs(value) < _MAX_FIGURE else None


def as_link(text: str) -> str | None:
    is_link = len(text) <= _MAX_LINK and _LINK.fullmatch(text) and one_line(text, _MAX_LINK) == text
    return text if is_link else None
