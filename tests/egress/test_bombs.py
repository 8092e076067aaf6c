"""Answers that would fill the memory: read up to the cap, as they come, and the status decides."""

import asyncio
import gzip
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.egress.receiver import Peer, Receiver, Script

ROOT = Path(__file__).parents[2]
AT_ONCE = 64
MAX_GROWTH_MIB = 32

_ENDLESS_BYTES = 10_000_000_000
_BLOCK = b"x" * 1_000_000
_CLIENT = """
import asyncio, json, re, sys
from pathlib import Path
import uvloop
from tests.egress.receiver import make_egress
from tocsin.model import Request

def resident_mib(what):
    return int(re.search(rf"{what}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

async def main(warm_up, at_once, urls):
    egress = make_egress(timeout_seconds=60.0, idle_per_address=64)
    await asyncio.gather(*(egress.request(Request(url=warm_up, body=b"{}")) for _ in range(at_once)))
    before = resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    answers = []
    for url in urls:
        answers += await asyncio.gather(*(egress.request(Request(url=url, body=b"{}")) for _ in range(at_once)))
    print(json.dumps({
        "statuses": [answer.status for answer in answers],
        "longest": max(len(answer.body) for answer in answers),
        "growth": resident_mib("VmHWM") - before,
    }))
    await egress.aclose()

uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
"""


def _script(head: bytes, piece: bytes, count: int, *, start: bytes = b"") -> Script:
    """Answers with a head, and with a piece so many times, as long as they are taken."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + start)
        for _ in range(count):
            await peer.write(piece)
        await peer.wait_closed_by_client()

    return script


def _bombs() -> dict[str, Script]:
    bomb = gzip.compress(bytes(200_000_000), 9)
    twice = gzip.compress(bomb, 9)
    chunked = b"transfer-encoding: chunked"
    nested = b"1" + rb';a="b;c=\"d;e=f\""' * 4000 + b"\r\nx\r\n"
    return {
        "10 GB": _script(b"content-length: %d" % _ENDLESS_BYTES, _BLOCK, _ENDLESS_BYTES // len(_BLOCK)),
        "10 GB until the end": _script(b"x: y", _BLOCK, _ENDLESS_BYTES // len(_BLOCK)),
        "10 GB in chunks": _script(chunked, b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK), _ENDLESS_BYTES // len(_BLOCK)),
        "200 MB in gzip": _script(b"content-encoding: gzip\r\ncontent-length: %d" % len(bomb), bomb, 1),
        "200 MB in gzip twice": _script(b"content-encoding: gzip, gzip\r\ncontent-length: %d" % len(twice), twice, 1),
        "nested chunk extensions": _script(chunked, nested, 10_000),
        "one chunk extension without end": _script(chunked, b";e" * 30_000, 100_000, start=b"1"),
    }


@pytest.mark.slow
async def test_bombs_at_64_at_once_are_answers_like_any_other_and_take_no_memory() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("there is no /proc to tell how much memory is used")
    bombs = _bombs()
    async with AsyncExitStack() as stack:
        ordinary = await stack.enter_async_context(Receiver(_script(b"content-length: 65536", b"x" * 65536, 1)))
        receivers = [await stack.enter_async_context(Receiver(script)) for script in bombs.values()]
        arguments = [ordinary.url, str(AT_ONCE), *(receiver.url for receiver in receivers)]
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CLIENT, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await client.communicate()
        assert client.returncode == 0
        accepted = [receiver.accepted for receiver in receivers]
    seen = json.loads(told)
    assert seen["statuses"] == [200] * AT_ONCE * len(bombs)
    assert seen["longest"] == 65536
    assert accepted == [AT_ONCE] * len(bombs)
    assert seen["growth"] < MAX_GROWTH_MIB
