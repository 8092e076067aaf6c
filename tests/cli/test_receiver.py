"""The demo's receiver."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tocsin.cli.receiver import HOST, MAX_BODY_BYTES, MAX_KEPT, Receiver

POST = b"POST / HTTP/1.1\r\nHost: x\r\nWebhook-Id: e1\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver(0)
    await receiver.start()
    yield receiver
    receiver.close()


async def exchange(receiver: Receiver, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, receiver.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_request_is_kept_and_answered(receiver: Receiver) -> None:
    assert (await exchange(receiver, POST)).startswith(b"HTTP/1.1 204 ")
    arrival = receiver.arrivals.get_nowait()
    assert arrival.headers["webhook-id"] == "e1"
    assert arrival.body == b"{}"


async def test_one_connection_serves_many_requests_however_they_are_cut(receiver: Receiver) -> None:
    answer = await exchange(receiver, POST + POST[:20], POST[20:-1], POST[-1:])
    assert answer.count(b"204 No Content") == 2
    assert receiver.arrivals.qsize() == 2


async def test_what_is_not_http_is_refused(receiver: Receiver) -> None:
    assert (await exchange(receiver, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_too_much_is_refused(receiver: Receiver) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
    assert (await exchange(receiver, head, b"x" * (MAX_BODY_BYTES + 1))).startswith(b"HTTP/1.1 413 ")
    assert receiver.arrivals.empty()


async def test_of_a_flood_the_latest_are_kept(receiver: Receiver) -> None:
    await exchange(receiver, *([POST] * MAX_KEPT), POST.replace(b"e1", b"e2"))
    assert receiver.arrivals.qsize() == MAX_KEPT
    kept = [receiver.arrivals.get_nowait().headers["webhook-id"] for _ in range(MAX_KEPT)]
    assert kept[-1] == "e2"


async def test_a_taken_port_becomes_another(receiver: Receiver) -> None:
    other = Receiver(receiver.port)
    assert other.port not in {0, receiver.port}
    other.close()


async def test_a_free_port_is_taken_as_wished(receiver: Receiver) -> None:
    receiver.close()
    again = Receiver(receiver.port)
    assert again.port == receiver.port
    again.close()
