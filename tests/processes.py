"""Tocsin as its users run it: the installed command in processes of its own, on loopback and a folder of its own."""

import base64
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tests.canaries import look_through
from tests.programs import Guard, free_port

TOCSIN = Path(sys.executable).with_name("tocsin")
SECRET_KEY = base64.b64encode(bytes(range(32))).decode()

LOG_LEVEL = "debug"
"""Whoever measures sets another: what servers log is searched for secrets, and costs something."""

Role = Literal["all", "api", "worker"]


class Process:
    """One `tocsin serve`, which can be started again and again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        folder: Path,
        *,
        port: int,
        host: str,
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://{host}:{port}"
        self.log = folder / f"{name}.log"
        self._command = [*command, "--host", host, "--port", str(port)]
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    def __repr__(self) -> str:
        return self.name

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start it without waiting."""
        assert not self.is_running
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self.environment, cwd=self.log.parent, stdout=log, stderr=log
            )
        self._guard = Guard(self._process.pid)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self, timeout_seconds: float = 60) -> None:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            assert self.is_running, self.log.read_text()
            if self.is_ready():
                return
            time.sleep(0.02)  # it may not be listening yet, and has no other way to say so
        raise AssertionError(f"{self} did not become ready: {self.log.read_text()[-2000:]}")

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout_seconds: float = 30) -> int:
        """The exit status of a process that ends, by itself or because it was told to."""
        assert self._process is not None
        assert self._guard is not None
        status = self._process.wait(timeout_seconds)
        self._guard.dismiss()
        return status


class Installation:
    """One database and the settings for it; `serve` starts a process of it that does everything."""

    def __init__(self, folder: Path, *, database_url: str | None = None, **settings: str) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
            "TOCSIN_DATABASE_URL": database_url or f"sqlite:///{folder}/tocsin.db",
            "TOCSIN_EGRESS_ALLOW": "127.0.0.1",
            "TOCSIN_METRICS_LISTEN": "off",
            "TOCSIN_RATE_LIMIT": "off",
            "TOCSIN_LOG_FORMAT": "json",
            "TOCSIN_LOG_LEVEL": LOG_LEVEL,
            "TOCSIN_SECRET_KEY": SECRET_KEY,
            **settings,
        }
        self.processes: list[Process] = []
        self._only = self.add_process("all", name="server")
        self.url = self._only.url
        self.port = self._only.port
        self.log = self._only.log

    def add_process(
        self,
        role: Role,
        *,
        name: str,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
        program: Sequence[str | Path] = (TOCSIN,),
        **settings: str,
    ) -> Process:
        """A process of this installation, not started yet, with more settings than the others if they are given.

        `within` is a command that runs a command elsewhere; `program` stands in the place of Tocsin's.
        """
        command = [*within, *program, "serve", *(["--role", role] if role != "all" else [])]
        process = Process(name, command, {**self.environment, **settings}, self.folder, port=free_port(), host=host)
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self.processes:
            if process.is_running:
                process.kill()
        leaks = list(look_through(self.folder))
        assert not leaks, leaks

    def run(self, *arguments: str, given: str = "") -> str:
        """Run an operator command to its end; answers with its standard output, stripped."""
        done = subprocess.run(
            [TOCSIN, *arguments],
            env=self.environment,
            cwd=self.folder,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def serve(self) -> None:
        """Start the server and wait until it is ready."""
        self._only.start()

    def launch(self) -> None:
        """Start the server without waiting."""
        self._only.launch()

    def wait_until_ready(self) -> None:
        self._only.wait_until_ready()

    def is_ready(self) -> bool:
        return self._only.is_ready()

    @property
    def pid(self) -> int:
        return self._only.pid

    def kill(self) -> None:
        self._only.kill()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        return self._only.stop()

    def add_user(self, name: str = "alice") -> str:
        """A user and an API token for it; answers with the token."""
        self.run("user", "add", name, "--email", f"{name}@example.com")
        return self.run("token", "add", name, "--name", "tests")
