"""What is measured: programs of their own, started, made ready, and stopped again. The floor is the simplest."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks import procfs
from benchmarks.databases import start_postgres
from benchmarks.receivers import Ports
from tests.postgres import PostgresServer

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
STOP_SECONDS = 20
APP_COUNT = 20

Database = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Site:
    """What a subject is given: a folder, the receivers, the authority of their certificates, and a core to run on."""

    folder: Path
    receivers: Ports
    authority: Path
    core: int | None


def place(site: Site) -> Site:
    """A folder of its own within the site's, for one of several subjects."""
    site.folder.chmod(0o755)
    return replace(site, folder=Path(tempfile.mkdtemp(dir=site.folder)))


class Subject:
    """Something under measurement. Its apps `bench-N` have a receiver each, and `quiet-N` have none."""

    name = ""

    def __init__(self, site: Site, database: Database = "sqlite") -> None:
        self.site = site
        self.database = database
        self.port = free_port()
        self.token = ""
        self.apps = tuple(f"bench-{number}" for number in range(APP_COUNT))
        self.quiet_apps = tuple(f"quiet-{number}" for number in range(APP_COUNT))
        self.postgres: PostgresServer | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def app_pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self._processes)

    @property
    def database_pids(self) -> tuple[int, ...]:
        return (self.postgres.pid,) if self.postgres else ()

    def start(self) -> None:
        """Start with an empty database and return when everything is ready."""
        try:
            if self.database == "postgresql":
                self.postgres = start_postgres(self.site.folder, self.site.core)
                self.postgres.add_database("bench")
            self.serve()
        except (OSError, AssertionError, subprocess.SubprocessError) as error:
            raise RuntimeError(f"{self.name} did not start: {error}") from error

    def serve(self) -> None:
        """Start the programs, all but the database."""
        raise NotImplementedError

    def database_url(self) -> str:
        assert self.postgres is not None
        return self.postgres.url("bench")

    def launch(
        self, *command: str, environment: Mapping[str, str] | None = None, ready_port: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program on the site's core; with a port, wait until it says there that it is ready."""
        with self._log_path().open("ab") as log, procfs.pinned(self.site.core):
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=ROOT, start_new_session=True
            )
        self._processes.append(process)
        if ready_port is not None:
            self.wait_until_ready(process, ready_port)
        return process

    def wait_until_ready(self, process: subprocess.Popen[bytes], port: int) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.name} did not get ready:\n{self.last_words()}")
            time.sleep(0.05)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text else None

    def expect(self, status: int, method: str, path: str, body: object = None) -> Any:
        answered, content = self.call(method, path, body)
        if answered != status:
            raise RuntimeError(f"{method} {path} answered {answered}: {content}")
        return content

    def last_words(self) -> str:
        return "\n".join(self._log_path().read_text(errors="replace").splitlines()[-15:])

    def _log_path(self) -> Path:
        return self.site.folder / "programs.log"

    def stop_programs(self) -> None:
        """Stop everything but the database, whoever began last first."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()

    def stop(self) -> None:
        self.stop_programs()
        if self.postgres is not None and self.postgres.is_running:
            self.postgres.stop("immediate")


class Floor(Subject):
    name = "floor"

    def serve(self) -> None:
        url = self.database_url() if self.database == "postgresql" else str(self.site.folder / "floor.db")
        receivers = f"127.0.0.2..{APP_COUNT + 1}:{self.site.receivers.plain}"
        options = ("--port", str(self.port), "--database", url, "--receivers", receivers)
        self.launch(sys.executable, "-m", "benchmarks.floor", *options, ready_port=self.port)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
