"""The receiver of the fault harness misbehaves as it is told to, on real connections."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from faults.sink import Sink

REQUEST = b"POST /odd HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    async with Sink.started(tmp_path) as started:
        yield started


class Sender:
    """One request on a connection of its own."""

    def __init__(self, sink: Sink) -> None:
        self._port = sink.ports[0]

    async def __aenter__(self) -> asyncio.StreamReader:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1024 * 1024)
        self._writer.write(REQUEST)
        return reader

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()


async def answered(sink: Sink, behaviour: str, **options: object) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer with a length."""
    await sink.behave("/odd", behaviour, **options)
    async with Sender(sink) as reader:
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        return headers, await reader.readexactly(int(headers["content-length"]))


def noted(sink: Sink) -> list[tuple[int, float]]:
    return [(arrival.status, arrival.retry_after_seconds) for arrival in sink.arrivals()]


@pytest.mark.parametrize(("after", "part"), [("headers", b"\r\n\r\n"), ("half", b"\r\n\r\nhalf")])
async def test_an_answer_hangs_after_its_first_part(sink: Sink, after: str, part: bytes) -> None:
    await sink.behave("/odd", "hang_after", after=after)
    async with Sender(sink) as reader:
        assert (await reader.readuntil(part)).startswith(b"HTTP/1.1 200 ")
        assert not reader.at_eof()
    assert noted(sink) == [(0, 0)]


@pytest.mark.parametrize("after", ["request", "headers", "half"])
async def test_a_connection_is_reset(sink: Sink, after: str) -> None:
    await sink.behave("/odd", "reset", after=after)
    async with Sender(sink) as reader:
        with pytest.raises(ConnectionResetError):
            await reader.readuntil(b"a second half")
    assert noted(sink) == [(0, 0)]


async def test_an_answer_drips(sink: Sink) -> None:
    await sink.behave("/odd", "drip", pause_seconds=0)
    async with Sender(sink) as reader:
        assert (await reader.readuntil(b"\r\n\r\ndrop by drop")).startswith(b"HTTP/1.1 200 ")
    assert noted(sink) == [(0, 0)]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_octets_are_sent_as_they_are(sink: Sink, is_kept: bool) -> None:
    await sink.behave("/odd", "octets", sent="\x00\xffwhatever", status=299, is_kept=is_kept)
    async with Sender(sink) as reader:
        assert await reader.readexactly(10) == b"\x00\xffwhatever"
        if not is_kept:
            assert await reader.read() == b""
    assert noted(sink) == [(299, 0)]


async def test_a_body_floods(sink: Sink) -> None:
    headers, body = await answered(sink, "flood", mebibytes=3)
    assert body == bytes(3 * 1024 * 1024)
    assert "content-encoding" not in headers


async def test_a_bomb_is_a_thousand_times_larger_than_it_looks(sink: Sink) -> None:
    headers, body = await answered(sink, "flood", mebibytes=2, is_compressed=True)
    assert headers["content-encoding"] == "gzip"
    assert len(body) < 4096
    assert gzip.decompress(body) == bytes(2 * 1024 * 1024)


async def test_time_is_asked_for_in_seconds(sink: Sink) -> None:
    headers, _ = await answered(sink, "hold", seconds=30)
    assert headers["retry-after"] == "30"
    headers, _ = await answered(sink, "hold", seconds=0, text="soon", status=503)
    assert headers["retry-after"] == "soon"
    assert noted(sink) == [(429, 30), (503, 0)]


@pytest.mark.parametrize("skew_seconds", [0, 3600, -3600])
async def test_time_is_asked_for_by_date(sink: Sink, skew_seconds: int) -> None:
    headers, _ = await answered(sink, "hold", seconds=30, is_date=True, skew_seconds=skew_seconds)
    date, until = (parsedate_to_datetime(headers[name]) for name in ("date", "retry-after"))
    assert (until - date).total_seconds() == 30
    assert noted(sink) == [(429, 30)]


async def test_a_date_in_the_past_asks_for_nothing(sink: Sink) -> None:
    await answered(sink, "hold", seconds=-60, is_date=True)
    assert noted(sink) == [(429, 0)]
