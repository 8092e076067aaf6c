"""What is measured, each in a process group of its own: the floor, and Tocsin by its documented interface."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import procfs
from benchmarks.load import RECEIVERS

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
STOP_SECONDS = 20
WEBHOOK_PLATFORM = "5982f145d48c3600273ef08a"


class Subject:
    """A server under measurement; `group` is its process group and `token` what reporters present."""

    name = ""

    def __init__(self, folder: Path, receiver_port: int, core: int | None) -> None:
        self.folder = folder
        self.port = free_port()
        self.token = ""
        self._receiver_port = receiver_port
        self._core = core
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def group(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        raise NotImplementedError

    def _launch(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        log = (self.folder / f"{self.name}.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=ROOT, start_new_session=True
            )
        procfs.pin(self._process.pid, self._core)
        give_up_at = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.stop()
                raise RuntimeError(f"{self.name} did not get ready:\n{self.last_words()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return self._call("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text else None

    def last_words(self) -> str:
        lines = (self.folder / f"{self.name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()


class Floor(Subject):
    name = "floor"

    def start(self) -> None:
        receivers = f"{RECEIVERS[0]}..{RECEIVERS[-1].rpartition('.')[2]}:{self._receiver_port}"
        module = [sys.executable, "-m", "benchmarks.floor", "--port", str(self.port)]
        self._launch(*module, "--data", str(self.folder), "--receivers", receivers)


class Tocsin(Subject):
    """`bench-N` has one webhook notifier, on receiver N; `quiet-N` has none."""

    name = "Tocsin"
    command = Path(sys.executable).parent / "tocsin"

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
            "TOCSIN_DATABASE_URL": f"sqlite:///{self.folder / 'tocsin.db'}",
            "TOCSIN_EGRESS_ALLOW": "127.0.0.0/8",
            "TOCSIN_RATE_LIMIT": "off",
            "TOCSIN_METRICS_LISTEN": "off",
            "TOCSIN_LOG_FORMAT": "json",
        }
        for words in (
            ("user", "add", "bench", "--email", "bench@example.com"),
            ("token", "add", "bench", "--name", "bench"),
        ):
            run = subprocess.run(
                [str(self.command), *words], env=environment, capture_output=True, text=True, check=False
            )
            if run.returncode:
                raise RuntimeError(f"tocsin {words[0]} {words[1]} failed: {run.stderr.strip()}")
        token = run.stdout.strip()
        self._launch(str(self.command), "serve", "--port", str(self.port), environment=environment)
        self.token = token
        for number, address in enumerate(RECEIVERS):
            self._add_app(f"bench-{number}", f"http://{address}:{self._receiver_port}/")
            self._add_app(f"quiet-{number}", None)

    def _add_app(self, name: str, webhook_url: str | None) -> None:
        self._expect(201, "POST", "/v1/apps", {"app": {"name": name}})
        path = f"/v1/apps/{name}/notifiers"
        for notifier in self._expect(200, "GET", path)["notifiers"]:
            self._expect(204, "DELETE", f"{path}/{notifier['id']}")
        if webhook_url is not None:
            notifier = {
                "platform_id": WEBHOOK_PLATFORM,
                "name": "bench",
                "send_all_events": True,
                "type_data": {"webhook_url": webhook_url},
            }
            self._expect(201, "POST", path, {"notifier": notifier})

    def _expect(self, status: int, method: str, path: str, body: object = None) -> Any:
        answered, content = self._call(method, path, body)
        if answered != status:
            raise RuntimeError(f"{method} {path} answered {answered}: {content}")
        return content


SUBJECTS: tuple[type[Subject], ...] = (Floor, Tocsin)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
