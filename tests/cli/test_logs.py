"""What the log looks like, each time in a process of its own: logging is set up once for a whole process."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, logging, sys, warnings
import structlog
from tocsin.logs import configure_logs

LOG = structlog.get_logger("tocsin.early")
configure_logs(log_format=sys.argv[1], log_level=sys.argv[2])
LOG.debug("debug.said", number=1)
LOG.info("info.said", number=2, nothing=None, text="zwölf\\nlines")
structlog.get_logger().warning("warning.said", odd=object, surrogate="\\udc80")
logging.getLogger("uvicorn.error").info("library info")
logging.getLogger("asyncio").warning("library warning: %s", "told")
warnings.warn("library deprecation", UserWarning, stacklevel=1)
def crash(password):
    raise ValueError("no")
try:
    crash("hunter" + "2")
except ValueError:
    LOG.exception("crash.said")
"""


def log(log_format: str, level: str = "info", script: str = SCRIPT) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-c", script, log_format, level], capture_output=True, text=True, check=True, timeout=30
    )
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    entries = [json.loads(line) for line in log("json")]
    assert [entry["event"] for entry in entries[:3]] == ["info.said", "warning.said", "library warning: told"]
    assert "library deprecation" in entries[3]["event"]
    said = entries[0]
    assert said.pop("at").endswith("Z")
    assert said == {
        "event": "info.said",
        "level": "info",
        "logger": "tocsin.early",
        "number": 2,
        "nothing": None,
        "text": "zwölf\nlines",
    }
    assert "Traceback" in entries[4]["exception"]


def test_console_is_for_people_and_without_colours_off_a_terminal() -> None:
    lines = log("console")
    assert "info.said" in lines[0]
    assert "[tocsin.early]" in lines[0]
    assert not any("\x1b" in line for line in lines)
    assert lines[-1] == "ValueError: no"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_shows_no_local_variables(log_format: str) -> None:
    assert "hunter2" not in "\n".join(log(log_format))


@pytest.mark.parametrize(("level", "count"), [("debug", 6), ("info", 5), ("warning", 4), ("error", 1)])
def test_the_level_leaves_out_what_is_below_it(level: str, count: int) -> None:
    assert len(log("json", level)) == count


HOSTILE = (
    '\n{"level":"error","event":"forged"}',
    "\r\n2026-01-02 [error] forged",
    "\x1b[2K\x1b]0;title\x07\x1b[31m",
    "\x9b2K\x85forged\u2028forged\u2029forged",
    "\u202eforged\u2066\x00\x7f",
)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_words_of_somebody_else_stay_on_their_line(log_format: str) -> None:
    """Whether they are a value, a key, the event's own name, or come from a library; one entry is one line."""
    script = f"""
import logging, sys, structlog
from tocsin.logs import configure_logs
configure_logs(log_format=sys.argv[1], log_level=sys.argv[2])
for text in {HOSTILE!r}:
    structlog.get_logger().info("event.refused", app=text, listed=[text], **{{"mapped": {{text: text}}}})
    structlog.get_logger().info(text)
    logging.getLogger("uvicorn.error").warning("%s", text)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, log_format, "info"], capture_output=True, text=True, check=True, timeout=30
    )
    lines = ended.stderr.splitlines()
    assert len(lines) == 3 * len(HOSTILE)
    assert ended.stderr.count("\n") == len(lines)
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith(("{", "20")) for line in lines)
    if log_format == "json":
        assert [json.loads(line)["app"] for line in lines[::3]] == list(HOSTILE)


def test_a_reader_that_is_gone_stops_nothing() -> None:
    script = "import os, sys; os.close(2); os.open('/dev/full', os.O_WRONLY)\n" + SCRIPT
    assert log("json", script=script) == []


def test_debug_calls_below_the_level_cost_next_to_nothing() -> None:
    script = """
import sys, time, structlog
from tocsin.logs import configure_logs
configure_logs(log_format="json", log_level="info")
LOG = structlog.get_logger("tocsin.hot")
begun = time.process_time()
for _ in range(100_000):
    LOG.debug("event.accepted", app_id="x", count=1)
sys.exit(time.process_time() - begun > 0.5)
"""
    log("json", script=script)
