"""Odd answers, read by our client and by aiohttp: the same status and body, or a difference that is listed here."""

import asyncio
import random
import socket

import aiohttp
import pytest

from tests.egress.odd_responses import RESPONSES, random_answers
from tests.egress.receiver import Peer, Receiver, answering_once, ask, make_egress
from tocsin.egress.connection import Connection
from tocsin.errors import PlatformError, TemporaryFailure
from tocsin.model import Reason, Request, Response

Seen = tuple[int, bytes] | Reason

# Where we refuse what aiohttp takes, and why.
REFUSED: dict[str, tuple[Reason, str]] = {
    "status 000": (Reason.BAD_RESPONSE, "no status at all, RFC 9110 15"),
    "status 099": (Reason.BAD_RESPONSE, "no status at all, RFC 9110 15"),
    "101": (Reason.BAD_RESPONSE, "no upgrade was asked for, so this is not an answer to the request"),
    "101 without upgrade": (Reason.BAD_RESPONSE, "no upgrade was asked for"),
    "120 headers": (Reason.TOO_LARGE, "the cap of 100 lines"),
}
# Where we take what aiohttp refuses, and why.
TAKEN: dict[str, tuple[tuple[int, bytes], str]] = {
    "204 with body": ((204, b""), "the status says it; the connection is closed with the bytes that follow"),
    "length shorter than body": ((200, b"ok"), "the answer is complete; the connection is closed with the rest"),
    "NUL in value": ((200, b"ok"), "replaced by a space, as RFC 9110 5.5 allows"),
    "header of 9 KiB": ((200, b"ok"), "our cap is 32 KiB"),
}


async def _ours(data: bytes) -> Seen:
    try:
        response = await ask(answering_once(data), timeout_seconds=5.0)
    except TemporaryFailure as failure:
        return failure.reason
    return response.status, response.body


async def _aiohttp(data: bytes) -> Seen:
    timeout = aiohttp.ClientTimeout(total=5)
    async with (
        Receiver(answering_once(data)) as receiver,
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
    ):
        try:
            async with session.post(receiver.url, data=b"{}", allow_redirects=False) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, ValueError):
            return Reason.BAD_RESPONSE


@pytest.mark.parametrize("name", RESPONSES)
async def test_an_odd_answer_is_read_as_aiohttp_reads_it(name: str) -> None:
    data = RESPONSES[name]
    ours, theirs = await _ours(data), await _aiohttp(data)
    if name in REFUSED:
        assert (ours, type(theirs)) == (REFUSED[name][0], tuple)
    elif name in TAKEN:
        assert (ours, theirs) == (TAKEN[name][0], Reason.BAD_RESPONSE)
    elif isinstance(theirs, tuple):
        assert ours == theirs
    else:
        assert ours in {Reason.BAD_RESPONSE, Reason.TOO_LARGE}


class Wire:
    """The part of a transport that a connection uses, without a socket."""

    def __init__(self) -> None:
        self.is_closed = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return 0


def _feed(pieces: list[bytes]) -> Seen:
    with socket.socket() as unused:
        connection = Connection(key="", opened_socket=unused, on_free=lambda _: None, on_lost=lambda _: None)
        wire = Wire()
        connection.connection_made(wire)  # type: ignore[arg-type]  # has what is used of a transport
        outcomes: list[Response | PlatformError] = []
        connection.send(b"", outcomes.append)
        for piece in pieces:
            if not wire.is_closed:
                connection.data_received(piece)
        connection.connection_lost(None)
    (outcome,) = outcomes
    return outcome.reason if isinstance(outcome, PlatformError) else (outcome.status, outcome.body)


@pytest.mark.parametrize("name", RESPONSES)
async def test_where_packets_end_changes_nothing(name: str) -> None:
    data = RESPONSES[name]
    whole = _feed([data])
    assert _feed([data[place : place + 1] for place in range(len(data))]) == whole
    if len(data) < 200:
        for place in range(1, len(data)):
            assert _feed([data[:place], data[place:]]) == whole


async def test_any_bytes_end_in_an_answer_or_a_failure() -> None:
    answers = random_answers(500)
    waiting = iter(answers)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await answering_once_more(peer, next(waiting))

    async def answering_once_more(peer: Peer, data: bytes) -> None:
        await peer.write(data)
        peer.writer.write_eof()
        await peer.wait_closed_by_client()

    egress = make_egress(timeout_seconds=10.0)
    endings = set()
    async with Receiver(script) as receiver:
        for _ in answers:
            try:
                endings.add(type(await egress.request(Request(url=receiver.url))))
            except PlatformError as failure:
                endings.add(type(failure))
    await egress.aclose()
    assert endings == {Response, TemporaryFailure}


async def test_random_bytes_in_random_packets_never_crash() -> None:
    chance = random.Random(7)
    for data in random_answers(1500):
        pieces, place = [], 0
        while place < len(data):
            size = chance.randrange(1, 80)
            pieces.append(data[place : place + size])
            place += size
        _feed(pieces)
    await asyncio.sleep(0)


async def test_a_megabyte_of_header_is_refused() -> None:
    with pytest.raises(TemporaryFailure) as caught:
        await ask(answering_once(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000))
    assert caught.value.reason is Reason.TOO_LARGE
