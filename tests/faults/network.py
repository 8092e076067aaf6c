"""A network of a test's own: hosts in network namespaces on one switch, which exist nowhere else and end with it."""

import asyncio
import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

CLONE_NEWNET = 0x40000000  # unshare(2)
SWITCH = "switch"
HOME = "10.86.0.1"
"""The address of whoever runs the scenario."""


def skip_without_networks() -> None:
    """Skip the test where networks cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces: nothing is tested on a network that breaks")
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: nothing is tested on a network that breaks")
    if subprocess.run(["unshare", "--net", "ip", "link", "add", SWITCH, "type", "bridge"], check=False).returncode:
        pytest.skip("no network can be made here: nothing is tested on a network that breaks")


def run_on_a_network(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in a namespace of its own: what it opens and starts is in there, and goes with it.

    A namespace belongs to a thread: the one that is made here, and those that it makes.
    """

    def run() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        _ip("link", "set", "lo", "up")
        _ip("link", "add", SWITCH, "type", "bridge")
        _ip("address", "add", f"{HOME}/24", "dev", SWITCH)
        _ip("link", "set", SWITCH, "up")
        asyncio.run(scenario())

    with ThreadPoolExecutor(1) as threads:
        threads.submit(run).result()


class Host:
    """A machine as far as the network is concerned."""

    def __init__(self, number: int) -> None:
        self.address = f"10.86.0.{number}"
        self._cable = f"host{number}"
        # It keeps the namespace, and ends when we do.
        self._keeper = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self.within = ("nsenter", f"--net=/proc/{self._keeper.pid}/ns/net", "--")

    def __enter__(self) -> Self:
        ours = Path("/proc/thread-self/ns/net").readlink()
        while Path(f"/proc/{self._keeper.pid}/ns/net").readlink() == ours:
            assert self._keeper.poll() is None
            time.sleep(0.001)  # nothing tells when it has left
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", str(self._keeper.pid))
        _ip("link", "set", self._cable, "master", SWITCH, "up")
        _ip("address", "add", f"{self.address}/24", "dev", "eth0", within=self.within)
        for link in ("lo", "eth0"):
            _ip("link", "set", link, "up", within=self.within)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.communicate()

    def cut(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self._cable, "down")

    def heal(self) -> None:
        _ip("link", "set", self._cable, "up")


def _ip(*arguments: str, within: tuple[str, ...] = ()) -> None:
    subprocess.run([*within, "ip", *arguments], check=True)
