"""When connections are kept, used again, tried elsewhere, and closed."""

import asyncio
import contextlib
import socket

import pytest

from tests.egress.receiver import OK, FakeResolver, Peer, Receiver, answering, answering_once, make_egress
from tocsin.clock import ManualClock
from tocsin.egress import Egress
from tocsin.egress.pool import Pool
from tocsin.errors import TemporaryFailure
from tocsin.model import Reason, Request


async def test_requests_one_after_the_other_share_a_connection(egress: Egress) -> None:
    async with Receiver(answering(OK)) as receiver:
        for _ in range(20):
            await egress.request(Request(url=receiver.url, body=b"{}"))
        assert receiver.accepted == 1


async def test_requests_at_once_have_a_connection_each_and_only_so_many_are_kept() -> None:
    egress = make_egress(idle_per_address=3)
    async with Receiver(answering(OK)) as receiver:
        responses = await asyncio.gather(*(egress.request(Request(url=receiver.url)) for _ in range(10)))
        assert [response.status for response in responses] == [200] * 10
        accepted = receiver.accepted
        await asyncio.gather(*(egress.request(Request(url=receiver.url)) for _ in range(3)))
        assert (accepted, receiver.accepted) == (10, 10)
        await egress.aclose()
        await receiver.all_closed.wait()


async def _drop(peer: Peer) -> None:
    """Answer once as if more could follow, and close when it does."""
    await peer.read_request()
    await peer.write(OK)
    await peer.read_request()


async def _is_answered(egress: Egress, url: str) -> bool:
    try:
        await egress.request(Request(url=url, body=b"{}"))
    except TemporaryFailure as failure:
        assert failure.reason is Reason.BAD_RESPONSE
        return False
    return True


async def test_a_receiver_that_drops_a_kept_connection_gets_a_new_one_each_time_for_a_minute() -> None:
    clock = ManualClock()
    egress = make_egress(clock=clock)
    async with Receiver(_drop) as receiver, Receiver(answering(OK)) as other:
        answered = [await _is_answered(egress, receiver.url) for _ in range(6)]
        assert answered == [True, False, True, True, True, True]
        assert receiver.accepted == 5
        for _ in range(3):
            assert await _is_answered(egress, other.url)
        assert other.accepted == 1
        clock.advance(60)
        assert [await _is_answered(egress, receiver.url) for _ in range(3)] == [True, False, True]
    await egress.aclose()


async def test_a_first_request_that_is_not_answered_says_nothing_of_kept_connections(egress: Egress) -> None:
    async def close_first(peer: Peer) -> None:
        await peer.read_request()
        if receiver.accepted > 1:
            await peer.write(OK)
            await peer.read_request()
            await peer.write(OK)

    async with Receiver(close_first) as receiver:
        assert [await _is_answered(egress, receiver.url) for _ in range(3)] == [False, True, True]
        assert receiver.accepted == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
        OK + OK,
    ],
)
async def test_an_answer_that_ends_its_connection_is_followed_by_a_new_one(egress: Egress, answer: bytes) -> None:
    async with Receiver(answering(answer)) as receiver:
        for _ in range(3):
            assert (await egress.request(Request(url=receiver.url))).body == b"ok"
        assert receiver.accepted == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
async def test_an_answer_with_an_end_keeps_its_connection(egress: Egress, answer: bytes) -> None:
    async with Receiver(answering(answer)) as receiver:
        for _ in range(3):
            await egress.request(Request(url=receiver.url))
        assert receiver.accepted == 1


async def test_an_idle_connection_expires_by_the_clock() -> None:
    clock = ManualClock()
    egress = make_egress(clock=clock)
    async with Receiver(answering(OK)) as receiver:
        await egress.request(Request(url=receiver.url))
        clock.advance(14)
        await egress.request(Request(url=receiver.url))
        assert receiver.accepted == 1
        clock.advance(15)
        await egress.request(Request(url=receiver.url))
        assert receiver.accepted == 2
    await egress.aclose()


async def test_idle_connections_are_closed_without_another_request(egress: Egress, monkeypatch) -> None:
    pool = Pool(clock=ManualClock(), per_address=8, idle_seconds=0.0)
    monkeypatch.setattr(egress, "_pool", pool)
    monkeypatch.setattr(egress._dialler, "_on_free", pool.put)
    async with Receiver(answering(OK)) as receiver:
        await egress.request(Request(url=receiver.url))
        await asyncio.wait_for(receiver.all_closed.wait(), 5)


async def test_no_more_idle_connections_are_kept_than_the_limit_of_all(egress: Egress, monkeypatch) -> None:
    pool = Pool(clock=ManualClock(), per_address=8, limit=1)
    monkeypatch.setattr(egress, "_pool", pool)
    monkeypatch.setattr(egress._dialler, "_on_free", pool.put)
    async with Receiver(answering(OK)) as first, Receiver(answering(OK)) as second:
        for _ in range(2):
            await egress.request(Request(url=first.url))
            await egress.request(Request(url=second.url))
        assert (first.accepted, second.accepted) == (1, 2)
    await egress.aclose()


@pytest.mark.parametrize("idle_seconds", [0.0, 5.0], ids=["seen by the loop", "seen by the kernel"])
async def test_a_kept_connection_that_the_peer_closed_is_not_written_to(idle_seconds: float) -> None:
    async def script(peer: Peer) -> None:
        requests.append(await peer.read_request())
        await peer.write(OK)

    requests: list[bytes] = []
    clock = ManualClock()
    egress = make_egress(clock=clock)
    async with Receiver(script) as receiver:
        for _ in range(5):
            assert (await egress.request(Request(url=receiver.url))).status == 200
            clock.advance(idle_seconds)
            await receiver.all_closed.wait()
            if not idle_seconds:
                await _let_the_loop_see(egress)
        assert (receiver.accepted, len(requests)) == (5, 5)
    await egress.aclose()


async def _let_the_loop_see(egress: Egress) -> None:
    while egress._open:
        await asyncio.sleep(0)


async def test_a_request_whose_connection_dies_after_writing_is_not_sent_again(egress: Egress) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(OK)
        requests.append(await peer.read_request())

    requests: list[bytes] = []
    async with Receiver(script) as receiver:
        await egress.request(Request(url=receiver.url))
        with pytest.raises(TemporaryFailure) as caught:
            await egress.request(Request(url=receiver.url))
        assert caught.value.reason is Reason.BAD_RESPONSE
        assert (receiver.accepted, len(requests)) == (1, 1)


async def test_bytes_on_an_idle_connection_close_it(egress: Egress) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(OK)
        await tell.wait()
        with contextlib.suppress(ConnectionError):
            await peer.write(b"HTTP/1.1 500 For somebody else\r\ncontent-length: 0\r\n\r\n")
            await peer.wait_closed_by_client()

    tell = asyncio.Event()
    async with Receiver(script) as receiver:
        assert (await egress.request(Request(url=receiver.url))).status == 200
        tell.set()
        await asyncio.wait_for(receiver.all_closed.wait(), 5)
        assert (await egress.request(Request(url=receiver.url))).status == 200
        assert receiver.accepted == 2


async def test_a_greeting_before_any_request_is_no_answer(egress: Egress) -> None:
    async def script(peer: Peer) -> None:
        await peer.write(b"220 mail.example.com ESMTP\r\n")
        await peer.wait_closed_by_client()

    async with Receiver(script) as receiver:
        with pytest.raises(TemporaryFailure) as caught:
            await egress.request(Request(url=receiver.url))
        assert caught.value.reason in {Reason.BAD_RESPONSE, Reason.UNREACHABLE}


async def test_a_reset_is_a_failure_and_no_crash(egress: Egress) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        connection = peer.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    async with Receiver(script) as receiver:
        with pytest.raises(TemporaryFailure) as caught:
            await egress.request(Request(url=receiver.url))
        assert caught.value.reason is Reason.BAD_RESPONSE


@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
async def test_cancelling_a_request_closes_its_socket(egress: Egress, is_reused: bool) -> None:
    async def script(peer: Peer) -> None:
        if is_reused:
            await peer.read_request()
            await peer.write(OK)
        await peer.read_request()
        arrived.set()
        await peer.wait_closed_by_client()

    arrived = asyncio.Event()
    async with Receiver(script) as receiver:
        if is_reused:
            await egress.request(Request(url=receiver.url))
        request = asyncio.create_task(egress.request(Request(url=receiver.url)))
        await arrived.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.wait_for(receiver.all_closed.wait(), 5)
        assert not egress._open


async def test_aclose_ends_requests_in_flight() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        arrived.set()
        await peer.wait_closed_by_client()

    arrived = asyncio.Event()
    egress = make_egress()
    async with Receiver(script) as receiver:
        request = asyncio.create_task(egress.request(Request(url=receiver.url)))
        await arrived.wait()
        await egress.aclose()
        with pytest.raises(TemporaryFailure) as caught:
            await request
        assert caught.value.reason is Reason.UNREACHABLE
        await asyncio.wait_for(receiver.all_closed.wait(), 5)


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    resolver = FakeResolver(("127.0.0.3", "127.0.0.2", "127.0.0.1"))
    egress = make_egress(allow="127.0.0.0/8", resolver=resolver)
    async with Receiver(answering(OK)) as receiver:
        response = await egress.request(Request(url=f"http://example.com:{receiver.port}/"))
        assert (response.status, receiver.accepted) == (200, 1)
    with pytest.raises(TemporaryFailure) as caught:
        await egress.request(Request(url=f"http://example.com:{receiver.port}/"))
    assert (caught.value.reason, str(caught.value)) == (
        Reason.UNREACHABLE,
        "could not connect: Connection refused",
    )
    await egress.aclose()


async def test_names_at_one_address_do_not_share_connections() -> None:
    egress = make_egress(resolver=FakeResolver(("127.0.0.1",)))
    async with Receiver(answering(OK)) as receiver:
        for name in ("a.example.com", "b.example.com", "a.example.com"):
            await egress.request(Request(url=f"http://{name}:{receiver.port}/"))
        assert receiver.accepted == 2
    await egress.aclose()


async def test_ipv6_works_where_there_is_any() -> None:
    egress = make_egress(allow="::1")
    try:
        async with Receiver(answering(OK), host="::1") as receiver:
            assert (await egress.request(Request(url=receiver.url))).status == 200
    except OSError:
        pytest.skip("no IPv6 loopback here")
    finally:
        await egress.aclose()


async def test_a_restarted_receiver_is_reached_again(egress: Egress) -> None:
    async with Receiver(answering(OK)) as receiver:
        await egress.request(Request(url=receiver.url))
    with pytest.raises(TemporaryFailure):
        await egress.request(Request(url=receiver.url))
    again = Receiver(answering_once(OK))
    again.port = receiver.port
    async with again:
        assert (await egress.request(Request(url=receiver.url))).status == 200
