"""F8b: every 201 is sent after its event's commit was synced, as the kernel's own record of system calls shows."""

import asyncio
import codecs
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from faults.recorded import UNSYNCED
from faults.scenario import Context, Figure, Part, Scenario
from faults.site import sqlite_site
from tests.processes import TOCSIN

REQUESTS = 1000
SHOWN_BYTES = 4200
"""Of what a call writes, so much is in the trace: a page of the database and more."""

FRAME_HEAD_BYTES = 24

_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_IDS = re.compile(r"[0-9a-f]{24,}")
_ANSWERED = re.compile(r'HTTP/1\.1 201 .*\{\\"event\\":\{\\"id\\":\\"([0-9a-f]{24})\\"')
_CALLS = "pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg"


class Found(msgspec.Struct, kw_only=True):
    answered: int = 0
    commits: int = 0
    syncs: int = 0
    violations: list[str] = []


class Step(NamedTuple):
    """One thing in a trace: a frame's head or page was written to the WAL, a sync of it began or ended, a 201 is sent.

    A call that was interrupted by another thread's has two lines: writes and answers count from their first, a sync
    begins with its first and ends with its last.
    """

    kind: str
    thread: str
    text: str


def read_trace(lines: Iterable[str]) -> Iterator[Step]:
    """What a trace (of `strace -f -y`) tells of a WAL and of answers, in order."""
    for line in lines:
        if again := _RESUMED.match(line):
            if again["name"] in ("fdatasync", "fsync"):
                yield Step(
                    "sync ended" if again["rest"].rstrip().endswith("= 0") else "sync failed", again["thread"], ""
                )
            continue
        call = _CALL.match(line)
        if call is None:
            continue
        thread, name, rest = call.groups()
        if name == "pwrite64" and "-wal>" in rest[:400]:
            text = _STRING.search(rest)
            yield Step("wrote", thread, text[1] if text else "")
        elif name in ("fdatasync", "fsync"):
            yield Step("sync began" if "-wal>" in rest else "another sync began", thread, "")
            if "unfinished" not in rest:
                yield Step("sync ended" if rest.rstrip().endswith("= 0") else "sync failed", thread, "")
        elif found := _ANSWERED.search(rest):
            yield Step("answered", thread, found[1])


def check_order(steps: list[Step]) -> Found:
    """Hold each answer against the syncs: its event's commit must be whole in the WAL when one of them begins."""
    ids = {step.text for step in steps if step.kind == "answered"}
    found = Found()
    written: set[str] = set()
    committed: set[str] = set()
    durable: set[str] = set()
    syncing: dict[str, set[str]] = {}
    is_last_page = False
    for step in steps:
        match step.kind:
            case "wrote" if (head := _frame_head(step.text)) is not None:
                is_last_page = head[4:8] != bytes(4)  # the size of the database, in a commit's last frame alone
            case "wrote":
                written |= _ids_in(step.text, ids) - committed
                if is_last_page:
                    committed |= written
                    written.clear()
                    found.commits += 1
                    is_last_page = False
            case "sync began":
                syncing[step.thread] = set(committed)
            case "sync ended":
                found.syncs += step.thread in syncing
                durable |= syncing.pop(step.thread, set())
            case "sync failed":
                syncing.pop(step.thread, None)
            case "answered":
                found.answered += 1
                if step.text not in durable:
                    found.violations.append(f"{step.text} was answered with 201 before its commit was synced")
    return found


def _frame_head(text: str) -> bytes | None:
    """The bytes of a frame's head; None for a page, which is far longer."""
    if len(text) > 4 * FRAME_HEAD_BYTES:
        return None
    data, _ = codecs.escape_decode(text.encode("latin-1"))
    return data if len(data) == FRAME_HEAD_BYTES else None


def _ids_in(text: str, ids: set[str]) -> set[str]:
    """Which ids stand in a page. Columns stand side by side, so that an id may begin anywhere in a run of digits."""
    runs = (run[0] for run in _IDS.finditer(text))
    return ids & {run[start : start + 24] for run in runs for start in range(len(run) - 23)}


async def run(context: Context) -> list[Figure]:
    found = await context.keep("synced", Found, partial(_trace, context.repetitions(REQUESTS, smoke=100), (TOCSIN,)))
    figures = [
        Figure(name="requests answered with 201", value=found.answered),
        Figure(name="commits", value=found.commits),
        Figure(name="syncs of the write-ahead log", value=found.syncs),
        Figure(name="answers before their commit was synced", value=len(found.violations), target="= 0"),
    ]
    if not context.is_smoke:
        unsynced = await context.keep("unsynced", Found, partial(_trace, 100, UNSYNCED))
        name = "for comparison, synchronous = NORMAL: of 100 answers"
        figures.append(Figure(name=name, value=len(unsynced.violations), target="> 0"))
    return figures


async def _trace(requests: int, program: Sequence[str | Path], part: Part) -> Found:
    async with sqlite_site(part.folder) as site:
        trace = part.folder / "trace"
        # With -D the server is our own child, and strace watches from aside.
        strace = ("strace", "-D", "-f", "-y", "--seccomp-bpf", "-s", str(SHOWN_BYTES), "-e", f"trace={_CALLS}")
        server = site.installation.add_process(
            "all", name="traced", within=[*strace, "-o", str(trace)], program=program
        )
        await asyncio.to_thread(server.start)
        await site.add_app(server.url)
        async with site.producing([server.url]) as producer:
            await producer.post_all(requests)
        await asyncio.to_thread(server.stop)
        steps = await asyncio.to_thread(lambda: list(read_trace(_whole(trace, server.pid))))
        found = check_order(steps)
        if found.answered < len(producer.accepted):
            raise RuntimeError(f"of {len(producer.accepted)} answers, {found.answered} are in the trace")
        return found


def _whole(trace: Path, pid: int, within_seconds: float = 20) -> list[str]:
    """The lines of a trace, once it tells that the process has ended."""
    end_at = time.monotonic() + within_seconds
    while time.monotonic() < end_at:
        lines = trace.read_text(encoding="latin-1").split("\n")
        if any(re.match(rf"{pid} +\+\+\+ exited", line) for line in lines[-20:]):
            return lines
        time.sleep(0.1)  # strace ends after the process that it watches, and is nobody's child
    raise RuntimeError("the trace has no end")


def missing() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        return "strace may not watch processes here"
    return ""


F8b = Scenario(
    id="F8b",
    title="a commit is synced before its 201, on SQLite",
    fault=(
        "None: the server's system calls are traced under load. An event's id stands in the write-ahead log, with the "
        "rest of its commit, before a sync begins that ends before the 201 is sent."
    ),
    run=run,
    is_quick=True,
    missing=missing,
)
