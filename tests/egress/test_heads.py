"""Whatever a header holds, the receiver sees exactly the lines that were asked for."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.egress.receiver import OK, Peer, Receiver, make_egress
from tocsin.egress import AddressPolicy, check_url
from tocsin.egress.heads import HeadWriter, write_start
from tocsin.errors import PermanentFailure
from tocsin.model import Request

_NASTY = st.text(st.sampled_from("ab:-_% \t\r\n\0\x7f\x85\u2028ä{}"), max_size=12)
_HEADERS = st.lists(st.tuples(_NASTY | st.text(max_size=10), _NASTY | st.text(max_size=20)), max_size=4).map(tuple)
_FIXED = {"host", "accept-encoding", "accept", "user-agent", "content-length"}


@settings(deadline=None)
@given(_HEADERS)
def test_a_head_has_one_line_a_header_or_is_refused(headers: tuple[tuple[str, str], ...]) -> None:
    writer = HeadWriter("Tocsin/test")
    try:
        lines = writer.write(headers)
    except PermanentFailure:
        return
    written = lines.split("\r\n")[:-1]
    assert written[: len(headers)] == [f"{name}: {value}" for name, value in headers]
    assert len(written) <= len(headers) + 2
    assert lines.isascii()
    assert not any(character in line for line in written for character in "\r\n\0")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_path_cannot_end_the_request_line(path: str) -> None:
    try:
        destination = check_url(f"http://example.com/{path}", AddressPolicy())
    except ValueError:
        return
    assert write_start(destination, "POST").count("\r\n") == 3
    assert write_start(destination, "POST").split("\r\n")[0].count(" ") == 2


async def _capture(headers: tuple[tuple[str, str], ...]) -> bytes | None:
    captured: list[bytes] = []

    async def script(peer: Peer) -> None:
        captured.append(await peer.read_request())
        await peer.write(OK)

    egress = make_egress()
    async with Receiver(script) as receiver:
        try:
            await egress.request(Request(url=receiver.url, headers=headers))
        except PermanentFailure:
            assert receiver.accepted == 0
            return None
        finally:
            await egress.aclose()
    return captured[0]


@settings(deadline=None, max_examples=40)
@given(_HEADERS)
def test_on_the_wire_there_are_no_more_lines_either(headers: tuple[tuple[str, str], ...]) -> None:
    captured = asyncio.run(_capture(headers))
    if captured is None:
        return
    lines = captured.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")[1:]
    given_lines = [f"{name}: {value}" for name, value in headers]
    assert [line for line in lines if line in given_lines] == given_lines
    assert {line.partition(":")[0] for line in lines if line not in given_lines} <= _FIXED
