"""How a server ends: drained by a signal, at once by a second, and by kill -9 without losing anything."""

import json
import signal
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cli.console import Console
from tocsin.store.sqlite.database import Lock

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    console = Console(tmp_path)
    with console.serve() as running:
        assert running.end(number) == 0
        assert "server.stopped" in running.stderr.read_text()
        assert not Path(f"{console.database}.sock").exists()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    console = Console(tmp_path)
    with console.serve() as running:
        port = int(running.url.rpartition(":")[2])
        token = console.ask("user", "add", "alice", "--email", "a@example.com") and console.ask(
            "token", "add", "alice", "--name", "x"
        )
        console.ask("app", "add", "my-app", "--owner", "alice")
        with socket.create_connection(("127.0.0.1", port)) as connection:
            # A request whose body never ends: the drain waits for it.
            head = f"POST /v1/apps/my-app/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token.strip()}\r\n"
            connection.sendall(f"{head}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            running.send(signal.SIGTERM)
            # The listening socket closes when the first signal has come through.
            wait_until_refused(port)
            assert running.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert "server.stopped" not in running.stderr.read_text()


def wait_until_refused(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 10).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # closed between the two


def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    console = Console(tmp_path)
    with console.serve() as running:
        console.ask("user", "add", "alice", "--email", "a@example.com")
        token = console.ask("token", "add", "alice", "--name", "x").strip()
        console.ask("app", "add", "my-app", "--owner", "alice")
        event = {"event": {"type": "deployment", "type_data": {}}}
        posted = call(f"{running.url}/v1/apps/my-app/events", token, event)["event"]
        running.end(signal.SIGKILL)
    assert Path(f"{console.database}.sock").exists()
    assert console.ask("migrate") == "the schema is current\n"
    with console.serve() as again:
        assert call(f"{again.url}/v1/apps/my-app/events/{posted['id']}", token)["event"] == posted
        assert console.ask("user", "link", "alice").startswith(again.url)


def test_a_server_waits_for_a_command_that_has_the_database(tmp_path: Path) -> None:
    console = Console(tmp_path)
    console.database.parent.mkdir(mode=0o700)
    lock = Lock(console.database)
    assert lock.acquire()
    with console.start("serve", "--port", "0") as running:
        running.wait_for_log("server.awaits_database")
        lock.release()
        running.wait_for("Tocsin runs")
        assert running.end() == 0


def test_commands_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    console = Console(tmp_path)
    names = ("alice", "bob", "carol")
    with ThreadPoolExecutor() as threads:
        added = threads.map(lambda name: console.ask("user", "add", name, "--email", f"{name}@example.com"), names)
        assert len(set(added)) == len(names)


def test_a_log_at_its_loudest_has_no_secrets(tmp_path: Path) -> None:
    console = Console(tmp_path, TOCSIN_LOG_FORMAT="json", TOCSIN_LOG_LEVEL="debug")
    with console.start("serve", "--port", "0") as running:
        running.wait_for_log("server.started")
        started = next(json.loads(line) for line in running.stderr.read_text().splitlines() if "server.started" in line)
        password = "correct horse battery"
        console.ask("user", "add", "alice", "--email", "a@example.com", "--password-stdin", stdin=password)
        token = console.ask("token", "add", "alice", "--name", "x").strip()
        link = console.ask("user", "link", "alice").strip()
        console.ask("app", "add", "my-app", "--owner", "alice")
        url = f"http://127.0.0.1:{started['port']}"
        platforms = call(f"{url}/v1/notification_platforms", token)["notification_platforms"]
        secret_path = "T000/B000/XXXXSECRETXXXX"
        notifier = {
            "platform_id": next(each["id"] for each in platforms if each["name"] == "webhook"),
            "name": "hook",
            "send_all_events": True,
            "type_data": {"webhook_url": f"https://tocsin.test/{secret_path}"},
        }
        made = call(f"{url}/v1/apps/my-app/notifiers", token, {"notifier": notifier})["notifier"]
        signing_secret = call(f"{url}/v1/apps/my-app/notifiers/{made['id']}/secret", token)["secret"]
        call(f"{url}/v1/apps/my-app/events", token, {"event": {"type": "deployment", "type_data": {}}})
        running.wait_for_log("delivery.attempted")
        assert running.end() == 0
    log = running.stderr.read_text()
    assert all(json.loads(line) for line in log.splitlines())
    key = Path(f"{console.database}.key").read_text().strip()
    secrets = (password, token, link.rpartition("/")[2], secret_path, str(signing_secret), key)
    assert [secret for secret in secrets if secret in log] == []


def call(url: str, token: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
