"""Commands as lines of JSON: what another version, or another program, may send."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tocsin import wiring
from tocsin.errors import TocsinError
from tocsin.operator import AddUser, Examine, Operator, SetPassword, read_reply
from tocsin.settings import read_settings


@pytest.fixture
async def operator(tmp_path: Path):
    settings = read_settings({"TOCSIN_DATABASE_URL": f"sqlite:///{tmp_path}/tocsin.db"})
    running = await wiring.build(settings, public_url="http://127.0.0.1:8600")
    yield Operator(running.verbs, public_url="http://127.0.0.1:8600")
    await running.close()


async def test_a_command_is_carried_out(operator: Operator) -> None:
    line = await operator.answer(msgspec.json.encode(AddUser(username="alice", email="alice@example.com")))
    assert read_reply(line).startswith("us-")


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"command":"dance"}', b'{"command":"add_user"}', b"\xff{"])
async def test_what_is_no_command_is_answered_with_advice(operator: Operator, line: bytes) -> None:
    with pytest.raises(TocsinError, match="does not know this command: restart it"):
        read_reply(await operator.answer(line))


async def test_a_crash_is_answered_without_its_details(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def crash(_command: object) -> str:
        raise KeyError("details")

    monkeypatch.setattr(operator, "carry_out", crash)
    with pytest.raises(TocsinError, match="failed to do this: see its log") as raised:
        read_reply(await operator.answer(msgspec.json.encode(Examine())))
    assert "details" not in str(raised.value)
    capsys.readouterr()


async def test_what_is_wrong_with_a_server_is_told_to_the_doctor(operator: Operator) -> None:
    async def check() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"schema": "the schema is old", "durability": "the journal is gone"}

    operator._check = check
    with pytest.raises(TocsinError, match="the schema is old; the journal is gone"):
        read_reply(await operator.answer(msgspec.json.encode(Examine())))


@pytest.mark.parametrize("line", [b"", b"220 mail.example.com", b"[]"])
def test_an_answer_that_is_no_reply_is_told_apart(line: bytes) -> None:
    with pytest.raises(TocsinError, match="something else than a reply"):
        read_reply(line)


def test_a_password_is_in_no_repr() -> None:
    commands = (AddUser(username="a", email="b", password="hunter2"), SetPassword(username="a", password="hunter2"))
    assert "hunter2" not in repr(commands)
