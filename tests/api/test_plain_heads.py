"""What the listener takes for a plain head: nothing that a parser by the rules would read in another way."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.api.listener import PLAIN_BODY_BYTES, _read_head

HEAD = (
    b"POST /v1/apps/my-app/events HTTP/1.1\r\n"
    b"Host: tocsin.example.com\r\nAuthorization: Bearer a b\r\nContent-Length: 3\r\n\r\n"
)


class Parsed:
    """A request as httptools' parser reads it."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_whole = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        self.line = parser.get_method(), self.url, parser.get_http_version()
        self.is_kept_alive = parser.should_keep_alive()
        self.is_upgrade = parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def test_what_ordinary_clients_send_is_plain() -> None:
    head = _read_head(HEAD + b"abc")
    assert head is not None
    assert (head.ref, head.is_kept_alive) == ("my-app", True)
    assert head.headers == {
        b"host": b"tocsin.example.com",
        b"authorization": b"Bearer a b",
        b"content-length": b"3",
    }
    assert (head.start, head.end) == (len(HEAD), len(HEAD) + 3)


@pytest.mark.parametrize(("value", "is_kept_alive"), [(b"keep-alive", True), (b"Keep-Alive", True), (b"close", False)])
def test_what_becomes_of_the_connection_is_heeded(value: bytes, is_kept_alive: bool) -> None:
    head = _read_head(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: %b\r\n\r\n" % value))
    assert head is not None
    assert head.is_kept_alive is is_kept_alive


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: identity",
        b"Expect: 100-continue",
        b"Upgrade: h2c",
        b"Connection: keep-alive, x",
        b"Content-Length: 3",
        b"CONTENT-LENGTH: 4",
        b"X-Twice: 1\r\nx-twice: 2",
        b"X-Folded: a\r\n b",
        b"X-Space : a",
        b"X_Underscore: a",
        b"X-Tab:\ta",
        b"X-Close:a",
        b"X-Wide:  a",
        b"X-Open: a ",
        b"X-Empty: ",
        b"X-Return: a\rb",
        b"X-Line: a\nb",
        b"X-Nul: a\0b",
        b"X-Latin: \xe9",
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(line: bytes) -> None:
    assert _read_head(HEAD.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % line)) is None


@pytest.mark.parametrize(
    "length", [b"", b"-1", b"+1", b"1_0", b" 3", b"0x3", b"\xb2", b"3, 3", b"%d" % (PLAIN_BODY_BYTES + 1)]
)
def test_a_length_is_a_small_number_of_plain_digits(length: bytes) -> None:
    assert _read_head(HEAD.replace(b"Length: 3", b"Length: " + length)) is None


PIECES = [
    *HEAD.split(b"\r\n"),
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b": ", b"x", b"\xff", b"chunked", b"0\r\n\r\n"),
    *(b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: Upgrade", b"Upgrade: websocket"),
    *(b"Content-Length: 03", b"Content-Length: 2", b"GET / HTTP/1.1\r\n\r\n", b"Accept: */*", b"User-Agent: a (b; c)"),
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head with lines put in, or with some of its bytes replaced."""
    lines = HEAD.removesuffix(b"\r\n\r\n").split(b"\r\n")
    for line in draw(st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=3)):
        lines.insert(draw(st.integers(1, len(lines))), line)
    data = b"\r\n".join(lines) + b"\r\n\r\n"
    for piece in draw(st.lists(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=2), max_size=2)):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + piece + data[at + draw(st.integers(0, 2)) :]
    return data


@given(heads())
@example(HEAD)
@example(HEAD.replace(b"Length: 3", b"Length: 0003"))
def test_a_plain_head_reads_the_same_to_a_parser_by_the_rules(data: bytes) -> None:
    head = _read_head(data)
    if head is None:
        return
    body = b"b" * (head.end - head.start)
    parsed = Parsed(data[: head.start] + body)
    assert parsed.is_whole
    assert parsed.line == (b"POST", b"/v1/apps/%b/events" % head.ref.encode(), "1.1")
    assert parsed.is_kept_alive is head.is_kept_alive
    assert not parsed.is_upgrade
    assert dict(parsed.headers) == head.headers
    assert len(parsed.headers) == len(head.headers)
    assert parsed.body == body
