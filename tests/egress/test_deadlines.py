"""One deadline over everything: whatever phase hangs or drips, the request ends and the socket is closed."""

import asyncio
import socket

import pytest

from tests.egress.drips import accept_and_wait, drips
from tests.egress.receiver import OK, FakeResolver, Peer, Receiver, answering, make_egress
from tocsin.egress import Egress
from tocsin.errors import TemporaryFailure
from tocsin.model import Reason, Request

_TIMEOUT_SECONDS = 0.25


async def _time_out(egress: Egress, request: Request, **options) -> TemporaryFailure:
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(TemporaryFailure) as caught:
        await egress.request(request, **options)
    assert caught.value.reason is Reason.TIMEOUT
    assert 0.2 < loop.time() - started < 5.0
    return caught.value


_DRIPS = drips(0.01)


@pytest.mark.parametrize("phase", _DRIPS)
@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
async def test_a_receiver_that_hangs_or_drips_ends_by_the_deadline(phase: str, is_reused: bool) -> None:
    is_first = is_reused

    async def script(peer: Peer) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            await peer.read_request()
            await peer.write(OK)
        await _DRIPS[phase](peer)

    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS)
    async with Receiver(script) as receiver:
        if is_reused:
            await egress.request(Request(url=receiver.url))
        await _time_out(egress, Request(url=receiver.url))
        await asyncio.wait_for(receiver.all_closed.wait(), 5)
        assert receiver.accepted == 1
    await egress.aclose()


async def test_a_status_that_came_in_time_is_told_with_the_failure() -> None:
    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS)
    async with Receiver(_DRIPS["body"]) as receiver:
        failure = await _time_out(egress, Request(url=receiver.url))
    await egress.aclose()
    assert failure.response is not None
    assert failure.response.status == 200


async def test_a_name_server_that_does_not_answer_ends_by_the_deadline() -> None:
    class Silent(FakeResolver):
        async def resolve(self, host: str) -> tuple[str, ...]:
            return await asyncio.Future()

    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS, resolver=Silent())
    failure = await _time_out(egress, Request(url="http://example.com/"))
    await egress.aclose()
    assert "not resolved" in str(failure)


async def test_the_deadline_is_one_for_all_phases_together() -> None:
    most_of_it_seconds = _TIMEOUT_SECONDS * 0.7

    class Slow(FakeResolver):
        async def resolve(self, host: str) -> tuple[str, ...]:
            await asyncio.sleep(most_of_it_seconds)
            return await super().resolve(host)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await asyncio.sleep(most_of_it_seconds)
        await peer.write(OK)

    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS, resolver=Slow(("127.0.0.1",)))
    async with Receiver(script) as receiver:
        await _time_out(egress, Request(url=f"http://slow.example.com:{receiver.port}/"))
    await egress.aclose()


async def test_a_host_that_does_not_accept_ends_by_the_deadline() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # fill the queue of accepted connections: Linux drops the next
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS)
        failure = await _time_out(egress, Request(url=f"http://127.0.0.1:{address[1]}/"))
        await egress.aclose()
        for one in waiting:
            one.close()
    assert "connect" in str(failure)


async def test_a_handshake_that_does_not_end_is_ended_by_the_deadline() -> None:
    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS)
    async with Receiver(accept_and_wait) as receiver:
        await _time_out(egress, Request(url=receiver.url.replace("http:", "https:")))
        await asyncio.wait_for(receiver.all_closed.wait(), 5)
    await egress.aclose()


@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
async def test_a_receiver_that_does_not_read_a_large_body_ends_by_the_deadline(is_reused: bool) -> None:
    async def script(peer: Peer) -> None:
        if is_reused:
            await peer.read_request()
            await peer.write(OK)
        peer.writer.transport.pause_reading()
        await stay.wait()

    stay = asyncio.Event()
    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS)
    async with Receiver(script) as receiver:
        if is_reused:
            await egress.request(Request(url=receiver.url))
        await _time_out(egress, Request(url=receiver.url, body=b"x" * 30_000_000))
        stay.set()
    await egress.aclose()


async def test_pieces_that_do_not_come_end_by_the_deadline() -> None:
    async def pieces():
        yield b"one"
        await asyncio.Future()

    egress = make_egress(timeout_seconds=_TIMEOUT_SECONDS)
    async with Receiver(accept_and_wait) as receiver:
        await _time_out(egress, Request(url=receiver.url), pieces=pieces())
        await asyncio.wait_for(receiver.all_closed.wait(), 5)
    await egress.aclose()


async def test_many_hanging_requests_end_together_and_others_are_not_held_up() -> None:
    egress = make_egress(timeout_seconds=1.0)
    async with Receiver(accept_and_wait) as hanging, Receiver(answering(OK)) as healthy:
        started = asyncio.get_running_loop().time()
        stuck = asyncio.gather(*(egress.request(Request(url=hanging.url)) for _ in range(50)), return_exceptions=True)
        for _ in range(20):
            assert (await egress.request(Request(url=healthy.url))).status == 200
        failures = await stuck
        assert asyncio.get_running_loop().time() - started < 5.0
    await egress.aclose()
    assert {type(failure) for failure in failures} == {TemporaryFailure}
