"""`tocsin verify`, and the ways in which somebody may have saved a webhook."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.console import Console
from tests.line import Got, receiving, straight_line
from tocsin.cli.saved import read_headers, read_request
from tocsin.clock import SystemClock
from tocsin.platforms.signing import Algorithm, new_secret, signer_of, verifying_key

ID = "6593a1b2c3d4e5f6a7b8c9d0"
BODY = f'{{"id":"{ID}","type":"deployment"}}'
SECRET, PAIR = new_secret(), new_secret(Algorithm.ED25519)


def sign(secret: str = SECRET, *, age_seconds: int = 0) -> dict[str, str]:
    timestamp = str(int(SystemClock().now().timestamp()) - age_seconds)
    signature = signer_of(secret).sign(ID, timestamp, BODY.encode())
    return {"webhook-id": ID, "webhook-timestamp": timestamp, "webhook-signature": signature}


def options(headers: dict[str, str]) -> list[str]:
    return [text for name, value in headers.items() for text in (f"--{name.removeprefix('webhook-')}", value)]


def request(headers: dict[str, str], body: str = BODY) -> str:
    lines = "".join(f"{name.title()}: {value}\r\n" for name, value in headers.items())
    return f"POST /hook HTTP/1.1\r\nHost: example.com\r\n{lines}Content-Length: {len(BODY)}\r\n\r\n{body}"


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


def test_a_whole_request_is_genuine(console: Console) -> None:
    told = console.ask("verify", stdin=request(sign()), WEBHOOK_SECRET=SECRET)
    assert told.startswith("genuine: signed with this secret, ")
    assert list(console.folder.iterdir()) == []


def test_a_body_and_its_headers_apart_are_genuine(console: Console) -> None:
    (console.folder / "body").write_text(BODY)
    (console.folder / "secret").write_text(f"{SECRET}\n")
    (console.folder / "headers").write_text("".join(f"{name}: {value}\n" for name, value in sign().items()))
    secret = ("--secret-file", "secret")
    assert console.ask("verify", "body", *secret, *options(sign())).startswith("genuine")
    assert console.ask("verify", "body", *secret, "--headers", "headers").startswith("genuine")


def test_a_public_key_may_stand_on_the_command_line(console: Console) -> None:
    told = console.ask("verify", "--public-key", verifying_key(PAIR), stdin=request(sign(PAIR)))
    assert told.startswith("genuine: signed with this public key, ")
    for secret in (PAIR, SECRET):
        refused = console.refuse("verify", "--public-key", secret, stdin=request(sign(PAIR)), status=2)
        assert secret not in refused


def test_what_is_wrong_is_said_in_a_sentence_and_by_the_status(console: Console) -> None:
    def judge(*arguments: str, stdin: str, secret: str = SECRET) -> str:
        ended = console.run("verify", *arguments, stdin=stdin, WEBHOOK_SECRET=secret)
        assert (ended.returncode, ended.stderr) == (1, "")
        assert secret not in ended.stdout
        [line] = ended.stdout.splitlines()
        return line.removeprefix("NOT genuine: ")

    assert "another secret" in judge(stdin=request(sign()), secret=new_secret())
    assert judge(stdin=request({})).startswith("webhook-id and webhook-timestamp and webhook-signature are missing")
    spaced = BODY.replace(",", ", ")
    assert "parsed and written again as JSON" in judge(*options(sign()), stdin=spaced)
    old = request(sign(age_seconds=4000))
    assert "66 minutes ago" in judge(stdin=old)
    assert console.ask("verify", "--tolerance", "off", stdin=old, WEBHOOK_SECRET=SECRET).startswith("genuine")


@pytest.mark.parametrize(
    ("arguments", "given", "sentence"),
    [
        ((), {"stdin": request(sign())}, "set WEBHOOK_SECRET, or give --secret-file or --public-key"),
        ((), {"stdin": BODY, "WEBHOOK_SECRET": SECRET}, "for a body alone, give --headers"),
        ((), {"WEBHOOK_SECRET": "tk-us-x"}, "this is an API token"),
        (("--tolerance", "long"), {"WEBHOOK_SECRET": SECRET}, "is a number of seconds, or off"),
        (("nowhere",), {"WEBHOOK_SECRET": SECRET}, "cannot read nowhere: No such file or directory"),
        (("--secret-file", "nowhere"), {}, "cannot read nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_checked_is_wrong_usage(
    console: Console, arguments: tuple[str, ...], given: dict[str, str], sentence: str
) -> None:
    told = console.refuse("verify", *arguments, status=2, **given)
    assert sentence in " ".join(told.replace("│", " ").split())


async def test_what_tocsin_sent_is_genuine(console: Console) -> None:
    def saved(got: Got) -> str:
        return "".join(f"{name}: {value}\n" for name, value in got.headers.items()) + "\n" + got.body.decode()

    async with straight_line(console.folder) as line, receiving() as receiver:
        notifier = await line.add_notifier(type_data={"webhook_url": receiver.url})
        path = f"/v1/apps/my-app/notifiers/{notifier['id']}/secret"
        old: dict[str, Any] = (await line.client.get(path)).json()
        new = (await line.client.post(f"{path}/rotate", json={"rotate": {"algorithm": "ed25519"}})).json()
        await line.post("deployment", {"name": "café"})
        got = (await receiver.wait_for(2))[1]
    assert console.ask("verify", stdin=saved(got), WEBHOOK_SECRET=old["secret"]).startswith("genuine")
    assert console.ask("verify", "--public-key", new["secret"], stdin=saved(got)).startswith("genuine")


NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126))


@given(
    headers=st.dictionaries(NAMES.filter(lambda name: name != "transfer-encoding"), VALUES),
    body=st.binary(),
    after=st.sampled_from([b"", b"\n", b"\r\n"]),
    first=st.sampled_from([b"", b"POST / HTTP/1.1"]),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_a_saved_request_is_read_as_it_was(
    headers: dict[str, str], body: bytes, after: bytes, first: bytes, end: bytes
) -> None:
    headers = {**headers, "content-length": str(len(body))}
    lines = [f"{name}:  {value} ".encode() for name, value in headers.items()]
    raw = end.join([*([first] if first else []), *lines, b"", body])
    assert read_request(raw + after) == (headers, body)


@given(raw=st.binary() | st.text(":\r\n a1é").map(str.encode))
def test_whatever_is_saved_is_read_or_refused(raw: bytes) -> None:
    for read in (read_request, read_headers):
        try:
            read(raw)
        except ValueError as error:
            assert str(error)


def test_a_body_saved_in_chunks_is_refused() -> None:
    with pytest.raises(ValueError, match="saved in chunks"):
        read_request(b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
