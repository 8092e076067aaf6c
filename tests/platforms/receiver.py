"""A real HTTP receiver on 127.0.0.1 and a plain network to reach it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Protocol
from urllib.parse import urlsplit

from tocsin.errors import TemporaryFailure
from tocsin.model import Reason, Request, Response
from tocsin.platforms.base import HttpPlatform, MailPlatform, Outgoing, Platform


class Receiver:
    """Answers every request in the same way and keeps what it got. `answer` None closes the connection instead."""

    def __init__(self, answer: tuple[int, bytes] | None) -> None:
        self.answer = answer
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append((head[0], headers, body))
        if self.answer is not None:
            status, content = self.answer
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(content), content))
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def receiving(answer: tuple[int, bytes] | None = (200, b"ok")) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks/T0KENinTHEpath"
        yield receiver


class Network(Protocol):
    """What `send` sends through."""

    async def request(self, request: Request) -> Response: ...

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response: ...


async def send(platform: Platform, outgoing: Outgoing, network: Network) -> Response:
    """One attempt, as `tocsin.sending` makes it: returns the answer that was taken, and raises otherwise."""
    if isinstance(platform, MailPlatform):
        return await platform.send(outgoing, network)
    assert isinstance(platform, HttpPlatform)
    response = await network.request(platform.request(outgoing))
    platform.check(response)
    return response


class PlainNetwork:
    """HTTP without any of egress's protection, for receivers of tests alone."""

    async def request(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        lines = [f"{request.method} {parts.path} HTTP/1.1", f"content-length: {len(request.body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + request.body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        if not answer:
            raise TemporaryFailure(Reason.BAD_RESPONSE, "the connection was closed")
        head, _, body = answer.partition(b"\r\n\r\n")
        return Response(status=int(head.split()[1]), body=body)

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        raise AssertionError("no mail is sent here")


class FailingNetwork:
    """A network in which nothing arrives."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def request(self, request: Request) -> Response:
        raise self.error

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        raise self.error


class CannedNetwork(FailingNetwork):
    """A network that gives one answer to every request."""

    def __init__(self, response: Response) -> None:
        self.response = response

    async def request(self, request: Request) -> Response:
        return self.response

    async def send_mail(self, message: EmailMessage, *, recipient: str) -> Response:
        return self.response
