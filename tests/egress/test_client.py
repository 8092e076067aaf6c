"""Requests and answers as they look on the wire."""

import asyncio
from email.message import EmailMessage

import pytest

from tests.egress.receiver import OK, Peer, Receiver, answering, answering_once, ask, make_egress
from tocsin.egress import Egress
from tocsin.errors import PermanentFailure, TemporaryFailure
from tocsin.model import Reason, Request


class Recorder:
    """Keeps every request that comes in, and answers 200."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            self.requests.append(await peer.read_request())
            await peer.write(OK)


async def test_a_request_has_exactly_these_bytes(egress: Egress) -> None:
    recorder = Recorder()
    async with Receiver(recorder) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/a/b?c=d#e"
        response = await egress.request(Request(url=url, headers=(("x-one", "1"), ("x-two", "a\tb")), body=b"{}"))
        port = receiver.port
    assert recorder.requests == [
        f"POST /a/b?c=d HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept-encoding: identity\r\nx-one: 1\r\nx-two: a\tb\r\n"
        f"accept: */*\r\nuser-agent: Tocsin/test\r\ncontent-length: 2\r\n\r\n{{}}".encode()
    ]
    assert (response.status, response.header("content-length"), response.body) == (200, "2", b"ok")


async def test_a_given_user_agent_replaces_the_own_one(egress: Egress) -> None:
    recorder = Recorder()
    async with Receiver(recorder) as receiver:
        await egress.request(Request(url=receiver.url, headers=(("user-agent", "Other/1"), ("x-%s", "%d"))))
    assert recorder.requests[0].count(b"user-agent: ") == 1
    assert b"user-agent: Other/1\r\n" in recorder.requests[0]
    assert b"x-%s: %d\r\n" in recorder.requests[0]


async def test_a_get_without_body_has_no_length(egress: Egress) -> None:
    recorder = Recorder()
    async with Receiver(recorder) as receiver:
        await egress.request(Request(method="GET", url=receiver.url))
        await egress.request(Request(url=receiver.url))
    assert b"content-length" not in recorder.requests[0]
    assert b"content-length: 0\r\n" in recorder.requests[1]


@pytest.mark.parametrize("size", [65_536, 65_537, 262_144, 3_000_000])
async def test_a_large_body_arrives_whole(egress: Egress, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    recorder = Recorder()
    async with Receiver(recorder) as receiver:
        for _ in range(2):
            await egress.request(Request(url=receiver.url, body=body))
    assert [request.partition(b"\r\n\r\n")[2] == body for request in recorder.requests] == [True, True]
    assert receiver.accepted == 1


async def test_a_body_in_pieces_is_sent_chunked(egress: Egress) -> None:
    async def pieces():
        for piece in (b"one", b"", b"x" * 20):
            yield piece

    recorder = Recorder()
    async with Receiver(recorder) as receiver:
        response = await egress.request(Request(url=receiver.url), pieces=pieces())
    head, _, body = recorder.requests[0].partition(b"\r\n\r\n")
    assert response.status == 200
    assert b"transfer-encoding: chunked" in head
    assert b"content-length" not in head
    assert body == b"3\r\none\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"


async def test_an_error_of_the_pieces_closes_the_connection(egress: Egress) -> None:
    async def pieces():
        yield b"one"
        raise LookupError("gone")

    async with Receiver(Peer.wait_closed_by_client) as receiver:
        with pytest.raises(LookupError):
            await egress.request(Request(url=receiver.url), pieces=pieces())
        await receiver.all_closed.wait()


async def test_an_answer_before_the_body_is_sent_counts_and_ends_the_connection(egress: Egress) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await stay.wait()

    stay = asyncio.Event()
    async with Receiver(script) as receiver:
        response = await egress.request(Request(url=receiver.url, body=b"x" * 20_000_000))
        assert response.status == 413
        stay.set()
        await receiver.all_closed.wait()
        stay.clear()
        stay.set()
        await egress.request(Request(url=receiver.url, body=b"x" * 20_000_000))
    assert receiver.accepted == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_answers_like_any_other(egress: Egress, status: int) -> None:
    async with Receiver(answering(OK)) as canary:
        moved = f"HTTP/1.1 {status} Moved\r\nlocation: {canary.url}\r\ncontent-length: 0\r\n\r\n".encode()
        async with Receiver(answering(moved)) as receiver:
            response = await egress.request(Request(url=receiver.url))
    assert (response.status, canary.accepted) == (status, 0)


async def test_proxies_and_netrc_are_not_read(egress: Egress, monkeypatch, tmp_path) -> None:
    recorder = Recorder()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password something\n")
    async with Receiver(answering(OK)) as canary, Receiver(recorder) as receiver:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, canary.url)
        client = make_egress()
        await client.request(Request(url=receiver.url))
        await client.aclose()
    assert canary.accepted == 0
    assert b"authorization" not in recorder.requests[0].lower()


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "b\r\nx-c: d"),
        ("x-a", "b\nx-c: d"),
        ("x-a", "b\rd"),
        ("x-a", "b\0"),
        ("x-a", "ü"),
        ("x-a", "\x7f"),
        ("x a", "b"),
        ("x-a:", "b"),
        ("", "b"),
        ("x-ä", "b"),
        ("x-a\r\nx-b", "c"),
        ("Host", "elsewhere"),
        ("content-length", "7"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("accept-encoding", "gzip"),
    ],
)
async def test_a_header_that_could_change_the_request_is_refused(egress: Egress, header: tuple[str, str]) -> None:
    async with Receiver(answering(OK)) as receiver:
        with pytest.raises(PermanentFailure) as caught:
            await egress.request(Request(url=receiver.url, headers=(header,)))
    assert caught.value.reason is Reason.MISCONFIGURED
    assert receiver.accepted == 0


@pytest.mark.parametrize("method", ["", "GET /", "POST\r\n", "CONNECT", "trace"])
async def test_a_method_that_is_none_is_refused(egress: Egress, method: str) -> None:
    with pytest.raises(PermanentFailure) as caught:
        await egress.request(Request(method=method, url="http://127.0.0.1:9999/"))
    assert caught.value.reason is Reason.MISCONFIGURED


async def test_an_answer_to_head_has_no_body(egress: Egress) -> None:
    async with Receiver(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")) as receiver:
        response = await egress.request(Request(method="HEAD", url=receiver.url))
    assert (response.status, response.body) == (200, b"")


async def test_a_large_answer_is_read_up_to_64_kib_and_the_connection_closed(egress: Egress) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n")
        for _ in range(100):
            await peer.write(b"x" * 100_000)

    async with Receiver(script) as receiver:
        response = await egress.request(Request(url=receiver.url))
        await receiver.all_closed.wait()
    assert (response.status, response.body) == (200, b"x" * 65_536)


async def test_a_body_of_exactly_64_kib_keeps_the_connection(egress: Egress) -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n" + b"x" * 65_536
    async with Receiver(answering(data)) as receiver:
        for _ in range(2):
            assert (await egress.request(Request(url=receiver.url))).body == b"x" * 65_536
    assert receiver.accepted == 1


async def test_compressed_bodies_stay_as_they_came() -> None:
    bomb = b"\x1f\x8b\x08\0" + b"\0" * 996
    response = await ask(answering(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1000\r\n\r\n" + bomb))
    assert response.body == bomb


async def test_endless_chunk_extensions_end_with_the_status() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1")
        while True:
            await peer.write(b";" + b"e" * 65_536)

    assert (await ask(script)).status == 200


async def test_endless_trailers_end_with_the_status() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
        while True:
            await peer.write(b"x-trailer: 1\r\n" * 10)

    response = await ask(script)
    assert (response.status, response.body) == (200, b"ok")
    assert response.header("x-trailer") is None


@pytest.mark.parametrize(
    "line", [b"x: " + b"y" * 40_000 + b"\r\n", b"x: y\r\n" * 101, b"x" * 70_000, (b"x: " + b"y" * 400 + b"\r\n") * 90]
)
async def test_a_head_over_the_cap_is_too_large(line: bytes) -> None:
    with pytest.raises(TemporaryFailure) as caught:
        await ask(answering_once(b"HTTP/1.1 200 OK\r\n" + line + b"content-length: 0\r\n\r\n"))
    assert caught.value.reason is Reason.TOO_LARGE


async def test_endless_interim_answers_are_too_large() -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        while True:
            await peer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")

    with pytest.raises(TemporaryFailure) as caught:
        await ask(script)
    assert caught.value.reason is Reason.TOO_LARGE


async def test_interim_answers_are_skipped_with_their_headers() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK
    response = await ask(answering(data))
    assert (response.status, response.headers) == (200, (("content-length", "2"),))


async def test_an_answer_that_breaks_off_tells_its_status() -> None:
    with pytest.raises(TemporaryFailure) as caught:
        await ask(answering_once(b"HTTP/1.1 500 Oops\r\ncontent-length: 10\r\n\r\nhalf"))
    assert caught.value.reason is Reason.BAD_RESPONSE
    assert caught.value.response is not None
    assert (caught.value.response.status, caught.value.response.body) == (500, b"half")


async def test_messages_of_failures_hold_no_part_of_the_url(egress: Egress) -> None:
    async with Receiver(answering_once(b"nonsense\r\n\r\n")) as receiver:
        url = receiver.url
        with pytest.raises(TemporaryFailure) as bad:
            await egress.request(Request(url=url))
    with pytest.raises(TemporaryFailure) as refused:
        await egress.request(Request(url=url))
    assert (bad.value.reason, refused.value.reason) == (Reason.BAD_RESPONSE, Reason.UNREACHABLE)
    for caught in (bad, refused):
        assert "secret-key" not in repr(caught.value) + str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


async def test_mail_goes_to_the_mailer_or_is_misconfigured(egress: Egress) -> None:
    with pytest.raises(PermanentFailure) as caught:
        await egress.send_mail(EmailMessage(), recipient="someone@example.com")
    assert caught.value.reason is Reason.MISCONFIGURED


async def test_after_aclose_nothing_is_sent() -> None:
    client = make_egress()
    await client.aclose()
    with pytest.raises(TemporaryFailure):
        await client.request(Request(url="http://127.0.0.1:9999/"))
