"""A network of a test's own: every address on Earth is reached, and it is always this machine that answers.

Nothing that goes out leaves the machine, and whatever is dialled is seen. Names are answered for by a name server of
the test's own. It needs no rights: an ordinary user can have such namespaces, where the system lets him.
"""

import asyncio
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.egress.hostile_urls import OWN, OWN_V6
from tests.egress.receiver import Peer

ROOT = Path(__file__).parents[2]
TLS_PORTS = (443, 8443)
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
PORTS = (80, 443, 8080, 8443, 3128, 22, 23, 25, 110, 143, 465, 587, 993, 2049, 3306, 5432, 6000, 6379, 6667, 9200)
PORTS += (11211, 27017)

# Addresses of the machine stand for themselves; a route brings all others here, from an address that is not theirs.
_SET_UP = f"""
ip link set lo up &&
ip address add {OWN}/32 dev lo && ip address add {OWN_V6}/128 dev lo &&
ip route add local 0.0.0.0/0 dev lo src 127.0.0.1 && ip -6 route add local ::/0 dev lo src ::1 &&
mount --bind "$0/resolv.conf" /etc/resolv.conf &&
{{ ! test -e /etc/nsswitch.conf || mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf; }} &&
exec "$@"
"""
_NAMESPACES = ("unshare", "--map-root-user", "--net", "--mount", "sh", "-c", _SET_UP)
_TIMEOUT_SECONDS = 600  # pytest's own is shorter for what is not long


def run(
    scenario: str, folder: Path, *, name_server: str = "127.53.0.1", environment: Mapping[str, str] | None = None
) -> Any:
    """Run `module:function`, a coroutine function of a folder, in a closed network; answers with what it returns."""
    with tempfile.TemporaryDirectory(prefix="tocsin-names-") as names:
        Path(names, "resolv.conf").write_text(f"nameserver {name_server}\n")
        Path(names, "nsswitch.conf").write_text("hosts: files dns\n")  # others would be asked outside
        _skip_without_namespaces(names)
        done = subprocess.run(
            [*_NAMESPACES, names, sys.executable, "-m", __name__, scenario, str(folder)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _skip_without_namespaces(names: str) -> None:
    lacking = [program for program in ("unshare", "ip", "mount") if shutil.which(program) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} is not installed: what may be reached is not tried on a network")
    done = subprocess.run([*_NAMESPACES, names, "true"], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(
            f"no closed network can be made here ({done.stderr.strip()}): what may be reached is not tried on it"
        )


class Canary:
    """Listens on every address, at many ports, remembers who was reached, and answers 204; hangs up on TLS."""

    def __init__(self, ports: Sequence[int] = PORTS) -> None:
        self._ports = ports
        self.reached: list[tuple[str, int]] = []
        """Address and port of each connection that was accepted."""
        self.requests: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._servers = [
            await asyncio.start_server(self._accept, host, port) for port in self._ports for host in ("0.0.0.0", "::")
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port, *_ = writer.get_extra_info("sockname")
        self.reached.append((host, port))
        if port in TLS_PORTS:
            writer.transport.abort()
            return
        peer = Peer(reader, writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                self.requests.append(await peer.read_request())
                await peer.write(NO_CONTENT)
        writer.transport.abort()


def _main(scenario: str, folder: str) -> None:
    module, _, name = scenario.partition(":")
    print(json.dumps(asyncio.run(getattr(importlib.import_module(module), name)(Path(folder)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
