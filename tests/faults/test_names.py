"""The name server of the fault harness, as the system's own resolver hears it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest

from faults.names import NO_SUCH_NAME, SERVER_FAILURE, Name, NameServer, asking, missing

MANY = tuple(f"127.0.{number // 250}.{number % 250 + 1}" for number in range(500))
NAMES = {
    "one": Name(addresses=(("127.0.0.2",),)),
    "in-turn": Name(addresses=(("127.0.0.2",), ("127.0.0.3", "127.0.0.4"))),
    "both-kinds": Name(addresses=(("127.0.0.2", "::2", "::ffff:127.0.0.3"),)),
    "many": Name(addresses=(MANY,)),
    "cut": Name(addresses=(("127.0.0.2",),), is_cut=True),
    "alias": Name(alias="one.faults.example"),
    "circle": Name(alias="back.faults.example"),
    "back": Name(alias="circle.faults.example"),
    "unknown": Name(code=NO_SUCH_NAME),
    "refused": Name(code=SERVER_FAILURE),
    "late": Name(addresses=(("127.0.0.2",),), after_seconds=0.01),
}
LOOK_UP = """
import json, socket, sys
try:
    found = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)
    print(json.dumps(sorted(answer[4][0] for answer in found)))
except socket.gaierror as error:
    print(json.dumps(error.errno == socket.EAI_AGAIN))
"""
FAILS_FOR_NOW, FAILS = True, False


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    if why := missing():
        pytest.skip(f"{why}: the name server is not tried")
    named = {f"{name}.faults.example": known for name, known in NAMES.items()}
    async with NameServer(named) as started:
        yield started


async def look_up(server: NameServer, name: str) -> object:
    with asking(server.host) as within:
        program = await asyncio.create_subprocess_exec(
            *within, sys.executable, "-c", LOOK_UP, f"{name}.faults.example", stdout=asyncio.subprocess.PIPE
        )
        told, _ = await program.communicate()
    return json.loads(told)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("one", ["127.0.0.2"]),
        ("both-kinds", ["127.0.0.2", "::2", "::ffff:127.0.0.3"]),
        ("many", sorted(MANY)),
        ("cut", ["127.0.0.2"]),
        ("alias", ["127.0.0.2"]),
        ("late", ["127.0.0.2"]),
        ("circle", FAILS),
        ("unknown", FAILS),
        ("no-such-name", FAILS),
        ("refused", FAILS_FOR_NOW),
    ],
)
async def test_a_name_is_answered_for_as_it_was_told(server: NameServer, name: str, found: object) -> None:
    assert await look_up(server, name) == found


async def test_addresses_come_in_turn(server: NameServer) -> None:
    answers = [await look_up(server, "in-turn") for _ in range(3)]
    assert answers == [["127.0.0.2"], ["127.0.0.3", "127.0.0.4"], ["127.0.0.2"]]


def test_a_silent_name_is_never_answered_for() -> None:
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\6silent\7example\0" + b"\0\1\0\1"
    server = NameServer({"silent.example": Name(is_silent=True)})
    assert server.reply(query, is_datagram=True) == (0, b"")
    assert server.asked == {"silent.example": 1}
