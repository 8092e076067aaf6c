"""How the log is written: one line an entry to standard error, of Tocsin itself and of the libraries alike.

`console` is for people, `json` for machines. What a level leaves out costs next to nothing: its methods do nothing.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo, WrappedLogger

DEFAULT_NAME = "tocsin"

# Control characters, other ends of lines, and the marks that reorder the text after them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class _Line:
    """What structlog hands a finished line to. It knows the name it was asked for under."""

    def __init__(self, name: str, write: Callable[[bytes], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = write


class _Routed(logging.Handler):
    """Passes on what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            structlog.get_logger(record.name).log(record.levelno, text, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a log line must never break what it tells of
            self.handleError(record)


def configure_logs(*, log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Set the process's log up: for structlog and, from warnings up, for the standard library's loggers."""
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[log_level.upper()]
    processors: list[Callable[..., Any]] = [
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if log_format == "json":
        processors += [structlog.processors.format_exc_info, _as_json]
    else:
        processors += [_escape, _renderer(stream), _as_line]
    write = _writer(stream)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name=DEFAULT_NAME: _Line(name, write),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_Routed()], force=True)
    logging.captureWarnings(capture=True)


def is_coloured(stream: TextIO) -> bool:
    """Colours are for terminals, and for those who did not decline them (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _renderer(stream: TextIO) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=is_coloured(stream),
        timestamp_key="at",
        # The traceback that Rich makes shows local variables, secrets among them.
        exception_formatter=_plain_traceback,
    )


def _plain_traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    structlog.dev.plain_traceback(stream, exc_info)


def _escape(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """What could end the line, or tell a terminal what to do, as its escape sequence: the words may be anybody's."""
    for key, value in entry.items():
        if isinstance(value, str) and not value.isprintable():
            entry[key] = _CONTROL.sub(_escaped, value)
    return entry


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _as_line(_logger: WrappedLogger, _method: str, rendered: str) -> bytes:
    return rendered.encode("utf-8", "replace") + b"\n"


def _as_json(_logger: WrappedLogger, _method: str, entry: EventDict) -> bytes:
    try:
        line = _ENCODER.encode(entry)
    except (TypeError, ValueError, UnicodeError):
        # A surrogate, a key that is no text: the entry is worth more than its form.
        line = _ENCODER.encode({_sound(key): _sound(value) for key, value in entry.items()})
    # JSON lets these stand as they are, and they end lines or steer terminals all the same.
    if not line.isascii() or b"\x7f" in line:
        line = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()
    return line + b"\n"


def _sound(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


_ENCODER = msgspec.json.Encoder(enc_hook=str)


def _writer(stream: TextIO) -> Callable[[bytes], None]:
    raw = stream.buffer

    def write(line: bytes) -> None:
        # Whoever read the log is gone, or its disk is full: deliveries go on.
        with contextlib.suppress(OSError, ValueError):
            raw.write(line)
            raw.flush()

    return write
