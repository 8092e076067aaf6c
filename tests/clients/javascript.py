"""scalingo.js as it comes from npm, driven from Python: installed once, called through `drive.mjs`."""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
INSTALLED = FOLDER / "node_modules"
INSTALL_TIMEOUT_SECONDS = 100

# What npm says when there is no way to its registry, rather than something wrong with what it got.
NO_REGISTRY = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "E403", "E503")


class ClientError(Exception):
    """What the client threw: an answer of the API has a status and data, a failure of its own has neither."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"] if error["status"] else error["stack"])
        self.message: str = error["message"]
        self.status: int | None = error["status"]
        self.data: Any = error["data"]


class ScalingoJs:
    """One Node process with a signed-in client for each name."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self._process = process
        self._url = url

    def connect(self, name: str, token: str) -> str:
        """Exchange an API token; answers with the JWT that the client then uses."""
        bearer: str = self._ask({"connect": {"as": name, "token": token, "url": self._url}})
        return bearer

    def __call__(self, name: str, *args: Any, by: str = "alice") -> Any:
        """Call a method such as `Notifiers.create`. Raises ClientError."""
        return self._ask({"as": by, "call": name, "args": args})

    def _ask(self, command: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the driver ended"
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["ok"]


@contextmanager
def scalingo_js(url: str) -> Iterator[ScalingoJs]:
    """The client against this server. Skips the test when there is no Node, or no way to get the client."""
    install()
    command = ["node", str(FOLDER / "drive.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield ScalingoJs(process, url)
        assert process.stdin is not None
        process.stdin.close()


def install() -> None:
    """Bring node_modules to what package-lock.json says, unless it is there; test processes take turns."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed: scalingo.js is not tested")
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = INSTALLED / ".installed"
    with (FOLDER / ".installing").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        _npm_ci()
        stamp.write_text(wanted)


def _npm_ci() -> None:
    try:
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--loglevel=error"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not hear from its registry: scalingo.js is not tested")
    if done.returncode and any(code in done.stderr for code in NO_REGISTRY):
        pytest.skip("npm cannot reach its registry: scalingo.js is not tested")
    assert done.returncode == 0, done.stderr
