"""Values as people read them: text without control characters, figures, spans of time, and nothing secret."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

ELLIPSIS = "…"
_MAX_LISTED = 5

# C0 and C1 controls, lone surrogates (no UTF-8 for them), line separators, and the marks that turn the reading
# direction, with which a value could make its neighbours lie.
_UNFIT = "\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_CONTROL = re.compile(f"[{_UNFIT}]+")
_TERMINAL = re.compile("\x1b\\[[0-9;?]{0,20}[A-Za-z]")
_BLANK_LINES = re.compile(r"\n{3,}")
_CREDENTIALS = re.compile(r"://[^/\s@]{1,300}@")
_ASSIGNMENT = re.compile(
    r"((?:passw(?:or)?d|passphrase|secret|token|(?:api|access|private)[_-]?key)\w{0,30}['\"]?\s?[=:]\s?)[^\s&,;]+",
    re.IGNORECASE,
)
_SITE = re.compile(
    r"([a-z][a-z0-9+.-]{0,20}://)(?:[^/?#\s]{0,1000}@)?(\[[0-9a-f:.]{2,45}\]|[\w.-]{1,253})(?::\d{0,5})?(?:[/?#]|$)",
    re.IGNORECASE,
)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + ELLIPSIS


def one_line(text: str, limit: int) -> str:
    """The text on one line, clean and at most `limit` characters long."""
    if len(text) <= limit and text.isprintable() and "  " not in text:
        return text.strip()
    fit = _CONTROL.sub(" ", _TERMINAL.sub("", text[: limit * 4]))
    return clip(" ".join(fit.split()), limit)


def lines(text: str) -> str:
    """The text with its line breaks, without control characters and trailing spaces."""
    plain = _TERMINAL.sub("", text).replace("\r\n", "\n")
    fit = (_CONTROL.sub(" ", line).rstrip() for line in plain.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(fit)).strip("\n")


def tail(text: str, limit: int) -> str:
    """The end of a longer text, from a line's start where there is one: the end of a log says what went wrong."""
    whole = lines(text[-limit * 4 :])
    if len(whole) <= limit and len(text) <= limit * 4:
        return whole
    end = whole[-(limit - 2) :]
    _, newline, rest = end.partition("\n")
    return f"{ELLIPSIS}\n{rest if newline and rest else end}"


def discreet(text: str) -> str:
    """The text with user information of URLs and values assigned to secret-looking names left out."""
    return _ASSIGNMENT.sub(rf"\1{ELLIPSIS}", _CREDENTIALS.sub(f"://{ELLIPSIS}@", text))


def site(url: str) -> str:
    """Scheme and host of a URL, as far as an address that holds a secret may be shown; "" if it has none."""
    match = _SITE.match(url)
    return f"{match[1]}{match[2]}" if match else ""


def part(before: str, value: str, after: str = "") -> str:
    """A piece of a sentence that is there only when its value is."""
    return f"{before}{value}{after}" if value else ""


def the(noun: str, name: str, *, quoted: bool = True) -> str:
    """`the notifier “Ops room”`, or `a notifier` when it is not named."""
    if name:
        return f"the {noun} “{name}”" if quoted else f"the {noun} {name}"
    starts_with_vowel_sound = noun[0] in "aeioA" or noun.startswith("SSH")
    return f"{'an' if starts_with_vowel_sound else 'a'} {noun}"


def joined(items: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`, and how many more beyond five."""
    shown = list(items[:_MAX_LISTED])
    if len(items) > _MAX_LISTED:
        shown.append(f"{len(items) - _MAX_LISTED:,} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])}{last}{shown[-1]}"


def sentences(*texts: str) -> str:
    """Short texts as one paragraph, each ending in a full stop."""
    return " ".join(f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?…' else '.'}" for text in texts if text)


def spaced(identifier: str) -> str:
    """`rocket_chat` and `user.signed-up` in words."""
    return " ".join(re.split(r"[\s_./:-]+", identifier)).strip()


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def figure(number: float | None) -> str:
    """`1,234`, `0.93`: at most two decimals."""
    if number is None:
        return ""
    if isinstance(number, int):
        return f"{number:,}"
    text = f"{number:,.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{figure(round(ratio * 100.0, 1))} %"


def euros(amount: float | None) -> str:
    return "" if amount is None else f"€{amount:,.2f}"


def size(octets: float | None) -> str:
    if octets is None or octets <= 0:
        return ""
    for unit in ("bytes", "KiB", "MiB"):
        if octets < 1024:
            return f"{figure(round(octets, 1))} {unit}"
        octets /= 1024
    return f"{figure(round(octets, 1))} GiB"


def count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def span(seconds: float | None) -> str:
    """`40 s`, `1 m 5 s`, `1 d 1 h`: the two largest units."""
    if seconds is None or seconds < 0:
        return ""
    if 0 < seconds < 1:
        return "under 1 s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, name in _UNITS:
        number, rest = divmod(rest, unit)
        if number:
            parts.append(f"{number:,} {name}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def moment(at: datetime) -> str:
    """`2 January 2026, 03:04 UTC`."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"


def known(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The pairs that have a value."""
    return tuple(pair for pair in pairs if pair[1])
