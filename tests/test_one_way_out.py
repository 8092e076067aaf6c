"""Nobody but egress opens a connection; the contract in .importlinter sees imports, and this what is done with them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "tocsin"

OPENING_CALLS = frozenset(
    (
        "connect",
        "connect_ex",
        "create_connection",
        "create_datagram_endpoint",
        "create_unix_connection",
        "open_connection",
        "open_unix_connection",
        "sendto",
        "sock_connect",
        "sock_sendto",
        "start_tls",
        "subprocess_exec",
        "subprocess_shell",
        "create_subprocess_exec",
        "create_subprocess_shell",
        "urlopen",
        "urlretrieve",
        "HTTPConnection",
        "HTTPSConnection",
    )
)
# fmt: off
OPENING_MODULES = frozenset((
    "aiohttp", "aiosmtplib", "asyncpg", "ctypes", "ftplib", "http.client", "httpx", "imaplib", "multiprocessing",
    "poplib", "requests", "smtplib", "socket", "socketserver", "ssl", "subprocess", "telnetlib", "urllib.request",
    "urllib3", "websockets", "xmlrpc",
))
# fmt: on
WITH_LEAVE = {
    "egress": "the way out",
    "store": "the operator's own database",
    "server.py": "listens",
    "control.py": "the socket beside the database, for operators of this machine",
    "cli/receiver.py": "listens, for the first run",
    "cli/demo.py": "asks the server that it started itself",
    "doctor/checks.py": "asks whether the operator's mail server answers",
}
"""Files and folders that may, and for what; nothing that a user of the API says leads there."""


def openings(source: str) -> Iterator[str]:
    """What in this text opens connections or may: each with its line."""
    for node in ast.walk(ast.parse(source)):
        for name in _names(node):
            yield f"line {node.lineno}: {name}"  # type: ignore[attr-defined]  # each of these has one


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"import {each.name}" for each in names if _opens(each.name))
        case ast.ImportFrom(module=str(module), names=names, level=0):
            for each in names:
                if _opens(module) or _opens(f"{module}.{each.name}") or each.name in OPENING_CALLS:
                    yield f"from {module} import {each.name}"
        case ast.Attribute(attr=name) | ast.Name(id=name) if name in OPENING_CALLS:
            yield name
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module" as name) | ast.Attribute(attr="import_module" as name)
        ):
            told = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if any(isinstance(each, str) and _opens(each) for each in told):
                yield f"{name}({told[0]!r})"


def _opens(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:count]) in OPENING_MODULES for count in range(1, len(parts) + 1))


def has_leave(path: Path) -> bool:
    place = path.relative_to(PACKAGE)
    return str(place) in WITH_LEAVE or place.parts[0] in WITH_LEAVE


def test_nobody_but_egress_opens_a_connection() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}, {opening}: connections are opened in tocsin.egress alone, which checks where to"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not has_leave(path)
        for opening in openings(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_whoever_has_leave_to_open_connections_needs_it() -> None:
    for place in WITH_LEAVE:
        path = PACKAGE / place
        files = [path] if path.suffix else path.rglob("*.py")
        assert any(True for file in files for _ in openings(file.read_text(encoding="utf-8"))), place


@pytest.mark.parametrize(
    "source",
    [
        "import socket",
        "import http.client as client",
        "from http import client",
        "from urllib import request",
        "from urllib.request import urlopen",
        "import smtplib, json",
        "import aiosmtplib",
        "import ssl",
        "from asyncpg.pool import create_pool",
        "import subprocess",
        "def f():\n    import httpx",
        "import asyncio\nasync def f():\n    await asyncio.open_connection('10.0.0.1', 80)",
        "from asyncio import open_connection as harmless",
        "async def f(loop):\n    await loop.create_connection(list, '10.0.0.1', 80)",
        "async def f(loop):\n    dial = loop.sock_connect",
        "async def f(loop):\n    await loop.create_datagram_endpoint(list)",
        "def f(opened):\n    opened.connect(('10.0.0.1', 80))",
        "import importlib\nimportlib.import_module('socket')",
        "__import__('urllib.request')",
    ],
)
def test_who_opens_a_connection_is_found(source: str) -> None:
    assert list(openings(source))


@pytest.mark.parametrize(
    "source",
    [
        "from http import HTTPStatus",
        "from urllib.parse import urlsplit",
        "import asyncio",
        "from tocsin import control",
    ],
)
def test_who_opens_none_is_left_in_peace(source: str) -> None:
    assert list(openings(source)) == []


def test_the_contract_for_imports_is_broken_by_an_offender(tmp_path: Path) -> None:
    """On a copy of the package in which a platform imports the socket module."""
    copy = tmp_path / "tocsin"
    for path in PACKAGE.rglob("*.py"):
        target = copy / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    offender = copy / "platforms" / "webhook.py"
    offender.write_text(f"import socket\n{offender.read_text(encoding='utf-8')}", encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", ROOT / ".importlinter"],
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "tocsin.platforms.webhook -> socket" in done.stdout
    assert done.stdout.count("BROKEN") == 1
