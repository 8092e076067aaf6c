"""The socket through which commands reach a running server."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tocsin.control import MAX_LINE_BYTES, Control, NoAnswer, ask, socket_path


async def shout(line: bytes) -> bytes:
    return line.upper()


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    control = Control(socket_path(tmp_path / "tocsin.db"), shout)
    await control.start()
    yield control
    await control.stop()


async def test_a_line_is_answered_with_a_line(control: Control) -> None:
    assert await ask(control.path, b"hello") == b"HELLO"


async def test_several_may_ask_at_once(control: Control) -> None:
    answers = await asyncio.gather(*(ask(control.path, b"n%d" % number) for number in range(20)))
    assert answers == [b"N%d" % number for number in range(20)]


async def test_the_socket_is_for_its_owner_alone(control: Control) -> None:
    assert stat.S_IMODE(control.path.stat().st_mode) == 0o600


async def test_the_file_mode_mask_is_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o022)
    control = Control(tmp_path / "x.sock", shout)
    await control.start()
    await control.stop()
    assert os.umask(before) == 0o022


async def test_nobody_there_is_no_error(tmp_path: Path) -> None:
    assert await ask(tmp_path / "none.sock", b"hello") is None


async def test_a_killed_process_leaves_no_one_listening_and_its_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert await ask(path, b"hello") is None
    control = Control(path, shout)
    await control.start()
    assert await ask(path, b"hello") == b"HELLO"
    await control.stop()
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.db.sock"
    path.write_text("notes")
    with pytest.raises(OSError, match="in use"):
        await Control(path, shout).start()
    assert path.read_text() == "notes"


async def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120) / ("b" * 120)
    folder.mkdir(parents=True)
    control = Control(socket_path(folder / "tocsin.db"), shout)
    await control.start()
    assert await ask(control.path, b"hello") == b"HELLO"
    await control.stop()
    assert not control.path.exists()


async def test_a_name_too_long_for_any_spelling_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 200)
    with pytest.raises(OSError, match="too long for a socket"):
        await Control(path, shout).start()
    with pytest.raises(NoAnswer, match="cannot be reached"):
        await ask(path, b"hello")


async def test_another_user_gets_no_answer(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.control.peer_uid", lambda _: os.geteuid() + 12345)
    with pytest.raises(NoAnswer):
        await ask(control.path, b"hello")


async def test_root_gets_an_answer(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.control.peer_uid", lambda _: 0)
    assert await ask(control.path, b"hello") == b"HELLO"


async def test_a_line_without_end_is_cut_off(control: Control) -> None:
    with pytest.raises(NoAnswer):
        await ask(control.path, b"x" * (2 * MAX_LINE_BYTES))
    assert await ask(control.path, b"hello") == b"HELLO"


async def test_silence_ends_in_a_clear_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "x.sock"))
        silent.listen()
        with pytest.raises(NoAnswer, match=r"nothing answers on .*x\.sock within 0\.05 seconds"):
            await ask(tmp_path / "x.sock", b"hello", patience_seconds=0.05)


async def test_a_stop_ends_what_is_under_way(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def never(_line: bytes) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    control = Control(tmp_path / "x.sock", never)
    await control.start()
    asking = asyncio.create_task(ask(control.path, b"hello"))
    await begun.wait()
    await control.stop()
    with pytest.raises(NoAnswer):
        await asking
