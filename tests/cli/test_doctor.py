"""What the doctor finds. Each check is looked at in this process; the command itself is run elsewhere."""

import asyncio
import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tocsin import wiring
from tocsin.cli.doctor import examine
from tocsin.ids import first_hex_id
from tocsin.settings import read_settings
from tocsin.store.sqlite.database import Lock
from tocsin.store.sqlite.space import Room

CHECKS = ("settings", "server", "database", "schema", "durability", "sqlite", "disk", "key", "clock", "mail", "egress")


class Patient:
    """A database, and the doctor's findings on it by the name of the check."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys

    def environment(self, **settings: str) -> dict[str, str]:
        return {"TOCSIN_DATABASE_URL": f"sqlite:///{self.path}", **settings}

    def examine(self, **settings: str) -> dict[str, tuple[str, str]]:
        is_well = examine(self.environment(**settings))
        lines = [line.split(None, 2) for line in self._capsys.readouterr().out.splitlines()]
        found = {name: (level, text) for level, name, text in lines}
        assert is_well == all(level != "FAIL" for level, _ in found.values())
        return found


@pytest.fixture(scope="module")
def sound_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "data"

    async def make() -> None:
        settings = read_settings({"TOCSIN_DATABASE_URL": f"sqlite:///{folder}/tocsin.db"})
        running = await wiring.build(settings, public_url="http://127.0.0.1:8600")
        await running.close()

    asyncio.run(make())
    return folder


@pytest.fixture
def patient(sound_database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Patient:
    shutil.copytree(sound_database, tmp_path / "data")
    return Patient(tmp_path / "data" / "tocsin.db", capsys)


@pytest.fixture
def newcomer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Patient:
    return Patient(tmp_path / "data" / "tocsin.db", capsys)


def test_a_sound_database_is_found_so(patient: Patient) -> None:
    found = patient.examine()
    assert tuple(found) == CHECKS
    assert {name for name, (level, _) in found.items() if level != "ok"} <= {"sqlite", "disk"}


def test_an_old_sqlite_is_a_warning_with_its_reason(patient: Patient) -> None:
    level, text = patient.examine()["sqlite"]
    assert level == ("ok" if sqlite3.sqlite_version_info >= (3, 51, 3) else "warn")
    assert level == "ok" or "Tocsin writes through one" in text


def test_nothing_is_made_where_there_is_nothing_yet(newcomer: Patient) -> None:
    found = newcomer.examine()
    assert "the first start makes it" in found["database"][1]
    assert not newcomer.path.parent.exists()


def test_a_setting_that_cannot_be_read_ends_the_examination(patient: Patient) -> None:
    assert patient.examine(TOCSIN_LOG_LEVEL="loud") == {
        "settings": ("FAIL", "TOCSIN_LOG_LEVEL must be one of debug, info, warning, error")
    }


def test_damage_is_found(patient: Patient) -> None:
    data = bytearray(patient.path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    patient.path.write_bytes(data)
    assert patient.examine()["database"][0] == "FAIL"


def test_a_file_that_is_no_database_is_found(patient: Patient) -> None:
    patient.path.write_text("notes " * 1000)
    assert patient.examine()["database"] == ("FAIL", f"cannot read {patient.path}: file is not a database")


def test_an_old_schema_is_a_warning(patient: Patient) -> None:
    with sqlite3.connect(patient.path) as connection:
        connection.execute("DELETE FROM alembic_version")
    connection.close()
    assert patient.examine()["schema"][0] == "warn"


def test_the_schema_of_a_newer_tocsin_fails(patient: Patient) -> None:
    with sqlite3.connect(patient.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of-tomorrow'")
    connection.close()
    assert patient.examine()["schema"] == ("FAIL", "made by a newer Tocsin: upgrade this one")


def test_a_database_that_another_process_has_is_told(patient: Patient) -> None:
    lock = Lock(patient.path)
    assert lock.acquire()
    try:
        assert "is in use by process" in patient.examine()["durability"][1]
    finally:
        lock.release()


def test_a_key_that_others_can_read_fails(patient: Patient) -> None:
    Path(f"{patient.path}.key").chmod(0o640)
    level, text = patient.examine()["key"]
    assert level == "FAIL"
    assert "mode 0640" in text


def test_a_lost_key_fails(patient: Patient) -> None:
    Path(f"{patient.path}.key").unlink()
    level, text = patient.examine()["key"]
    assert level == "FAIL"
    assert "put it back" in text


@pytest.mark.parametrize("key", ["c2hvcnQ=", "no base64"])
def test_a_wrong_key_fails_and_is_not_shown(patient: Patient, key: str) -> None:
    level, text = patient.examine(TOCSIN_SECRET_KEY=key)["key"]
    assert level == "FAIL"
    assert key not in text


def test_a_clock_behind_the_newest_event_is_a_warning(patient: Patient) -> None:
    later = first_hex_id(datetime.now(UTC) + timedelta(days=1))
    with sqlite3.connect(patient.path) as connection:
        connection.execute("INSERT INTO events (id, type, received_at, body) VALUES (?, 'x', 0, '{}')", (later,))
    connection.close()
    assert patient.examine()["clock"][0] == "warn"


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (1 << 40, 500 << 20, "FAIL"),
        (1 << 40, 600 << 20, "warn"),
        (1 << 40, 2 << 30, "ok"),
        (1 << 30, 50 << 20, "FAIL"),
        (1 << 30, 60 << 20, "warn"),
        (1 << 30, 200 << 20, "ok"),
    ],
)
def test_a_nearly_full_disk_is_told(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, total: int, free: int, level: str
) -> None:
    monkeypatch.setattr("tocsin.doctor.sqlite.measure_room", lambda _: Room(free=free, total=total))
    assert patient.examine()["disk"][0] == level


def test_an_allow_list_that_cannot_be_understood_fails(patient: Patient) -> None:
    assert patient.examine(TOCSIN_EGRESS_ALLOW="10.0.0.0/99")["egress"][0] == "FAIL"
    assert "2 entries" in patient.examine(TOCSIN_EGRESS_ALLOW="10.0.0.0/8,gotify.lan:80")["egress"][1]


@pytest.fixture(params=[b"220 mail.example.com ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n"], ids=["mail", "web"])
def greeting_server(request: pytest.FixtureRequest) -> Iterator[tuple[bytes, int]]:
    def greet(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.sendall(request.param)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=greet, args=[listening])
        thread.start()
        yield request.param, listening.getsockname()[1]
        thread.join()


def test_a_mail_server_must_greet_as_one(patient: Patient, greeting_server: tuple[bytes, int]) -> None:
    greeting, port = greeting_server
    level, text = patient.examine(TOCSIN_SMTP_URL=f"smtp://alice:hunter2@127.0.0.1:{port}")["mail"]
    assert level == ("ok" if greeting.startswith(b"220") else "FAIL")
    assert "hunter2" not in text


def test_a_mail_server_that_does_not_answer_fails(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert patient.examine(TOCSIN_SMTP_URL=f"smtp://127.0.0.1:{port}")["mail"] == (
        "FAIL",
        f"127.0.0.1:{port} does not answer: Connection refused",
    )


def test_a_mail_url_that_cannot_be_used_fails(patient: Patient) -> None:
    assert patient.examine(TOCSIN_SMTP_URL="ftp://mail.example.com")["mail"][0] == "FAIL"
