"""Running `tocsin` as an operator does: in a process of its own, in an empty directory."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOCSIN = (sys.executable, "-m", "tocsin")
PATIENCE_SECONDS = 30


class Console:
    """A working directory and an environment; `run` runs a command to its end, `start` leaves it running."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.database = folder / "data" / "tocsin.db"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "COV_"))}
        self.environment = {**clean, "TOCSIN_METRICS_LISTEN": "off", "COLUMNS": "80", **settings}

    def run(self, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TOCSIN, *arguments],
            cwd=self.folder,
            env={**self.environment, **settings},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def ask(self, *arguments: str, stdin: str = "", **settings: str) -> str:
        """The output of a command that must succeed."""
        ended = self.run(*arguments, stdin=stdin, **settings)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        return ended.stdout

    def refuse(self, *arguments: str, stdin: str = "", status: int = 1, **settings: str) -> str:
        """What a command that must fail says on standard error."""
        ended = self.run(*arguments, stdin=stdin, **settings)
        assert ended.returncode == status, ended.stderr
        assert ended.stdout == ""
        assert "Traceback" not in ended.stderr
        return ended.stderr

    @contextmanager
    def start(self, *arguments: str, **settings: str) -> "Iterator[Running]":
        with (self.folder / "stderr.txt").open("w+") as stderr:
            process = subprocess.Popen(
                [*TOCSIN, *arguments],
                cwd=self.folder,
                env={**self.environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
            try:
                yield Running(process, self.folder / "stderr.txt")
            finally:
                process.kill()
                process.communicate()

    @contextmanager
    def serve(self, **settings: str) -> "Iterator[Running]":
        with self.start("serve", "--port", "0", **settings) as running:
            running.wait_for("Tocsin runs")
            yield running


class Running:
    """A command under way."""

    def __init__(self, process: "subprocess.Popen[str]", stderr: Path) -> None:
        self.process = process
        self.stderr = stderr
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        """The origin that the first lines of output tell of."""
        return re.search(r"http://127\.0\.0\.1:\d+", "".join(self.lines))[0]  # type: ignore[index]  # None fails here

    def wait_for(self, text: str) -> str:
        """Read output up to the line that holds the text, and give that line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in {''.join(self.lines)}; {self.stderr.read_text()}")

    def wait_for_log(self, text: str) -> None:
        """Wait until the log holds the text."""
        while text not in self.stderr.read_text():
            assert self.process.poll() is None, self.stderr.read_text()
            os.sched_yield()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit status."""
        self.send(number)
        output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.lines.append(output)
        return self.process.returncode
