"""Tocsin as its users run it: the installed command in processes of its own, on loopback and a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TOCSIN = Path(sys.executable).with_name("tocsin")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Installation:
    """One data folder and its settings; `serve` starts the server on it, again and again if need be."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
            "TOCSIN_DATABASE_URL": f"sqlite:///{folder}/tocsin.db",
            "TOCSIN_EGRESS_ALLOW": "127.0.0.1",
            "TOCSIN_METRICS_LISTEN": "off",
            "TOCSIN_LOG_FORMAT": "json",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"

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
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [TOCSIN, "serve", "--port", str(self.port)],
                env=self.environment,
                cwd=self.folder,
                stderr=log,
                stdout=log,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as response:
                    if response.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)  # the process is not listening yet, and has no other way to say so
        raise AssertionError("the server did not become ready")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def add_user(self, name: str = "alice") -> str:
        """A user and an API token for it; answers with the token."""
        self.run("user", "add", name, "--email", f"{name}@example.com")
        return self.run("token", "add", name, "--name", "tests")
