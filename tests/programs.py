"""Programs that tests start beside Tocsin: as an ordinary user even for root, and never outliving the tests."""

import os
import pwd
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any


def free_port() -> int:
    """A port that stays free while its owner is down: outside the range that outgoing connections take theirs from."""
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no free port")


def ordinary_user() -> dict[str, Any]:
    """What makes `subprocess` run a program that refuses to be root; nothing where we are an ordinary user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise AssertionError("there is no user to run as: add one named postgres")


@contextmanager
def ordinary_folder(name: str) -> Iterator[Path]:
    """A temporary folder of the ordinary user's. pytest's own folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix=f"tocsin-{name}-"))
    try:
        folder.chmod(0o755)
        if user := ordinary_user():
            os.chown(folder, user["user"], user["group"])
        yield folder
    finally:
        rmtree(folder)


class Guard:
    """Ends a process with us, however we end: what waits for the end of our pipe ends it then.

    Linux's parent-death signal would come already when the thread ends that started the process.
    """

    def __init__(self, pid: int) -> None:
        self._waiting = subprocess.Popen(
            ["sh", "-c", 'cat; kill -QUIT "$0"', str(pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    def dismiss(self) -> None:
        """The process has ended, or is about to."""
        self._waiting.kill()
        self._waiting.communicate()


class Program:
    """A running program and everything that it starts."""

    def __init__(self, command: list[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        # Whatever the program starts inherits the writing end: reading ends when the last of them has ended.
        self._descendants, inherited = os.pipe()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(inherited,),
                env=environment,
                cwd=log.parent,
                start_new_session=True,
                **ordinary_user(),
            )
        os.close(inherited)
        self.pid = self._process.pid
        self._guard = Guard(self.pid)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float = 30) -> None:
        """Wait until it is ready; it is ended when it does not become so, or cannot be asked."""
        deadline = time.monotonic() + timeout_seconds
        try:
            while not is_ready():
                is_over = self._process.poll() is not None or time.monotonic() > deadline
                assert not is_over, f"{self._process.args!r} is not ready: {self.log.read_text(errors='replace')}"
                time.sleep(0.005)  # it has no way to tell
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def end(self, how: signal.Signals, timeout_seconds: float = 30) -> int:
        """Send the signal and wait for the program and all that it started; answers with its exit status."""
        self._guard.dismiss()
        self._process.send_signal(how)
        try:
            status = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            os.read(self._descendants, 1)
            os.close(self._descendants)
        return status
