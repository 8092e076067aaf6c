"""What docs/receiving.md tells receivers to copy, run against our own signatures."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tocsin.platforms.signing import Signer, new_secret

PAGE = (Path(__file__).parent.parent / "docs" / "receiving.md").read_text(encoding="utf-8")
BODY = '{"type":"deployment","app_name":"café"}'.encode()
SECRET = new_secret()


def signed(*, age_seconds: int = 0, secret: str = SECRET) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_seconds)
    return {
        "webhook-id": "01a20763eb46000c65f25ac0",
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1,bm90IG91cnM= " + Signer(secret).sign("01a20763eb46000c65f25ac0", timestamp, BODY),
    }


def cases() -> dict[str, tuple[dict[str, str], bytes, bool]]:
    """Requests signed now, each with whether it is to be accepted."""
    return {
        "genuine": (signed(), BODY, True),
        "another body": (signed(), BODY + b" ", False),
        "another secret": (signed(secret=new_secret()), BODY, False),
        "an old one": (signed(age_seconds=400), BODY, False),
        "one of tomorrow": (signed(age_seconds=-86400), BODY, False),
        "another id": (signed() | {"webhook-id": "01a20763eb46000c65f25ac1"}, BODY, False),
        "no number": (signed() | {"webhook-timestamp": "²"}, BODY, False),
        "no headers": ({}, BODY, False),
        "no signature": (signed() | {"webhook-signature": ""}, BODY, False),
    }


def snippet(language: str) -> str:
    return re.search(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)[1]


@pytest.mark.parametrize("name", cases())
def test_the_python_example_accepts_what_is_ours_alone(name: str) -> None:
    headers, body, is_ours = cases()[name]
    names = {}
    exec(snippet("python"), names)  # noqa: S102 - the page's own example
    assert names["is_genuine"](SECRET, headers, body) is is_ours


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_javascript_example_accepts_what_is_ours_alone(tmp_path: Path) -> None:
    told = [[headers, body.decode(), is_ours] for headers, body, is_ours in cases().values()]
    program = tmp_path / "receive.mjs"
    program.write_text(
        snippet("js")
        + f"const cases = {json.dumps(told)};\n"
        + f"const found = cases.map(([h, b]) => isGenuine({json.dumps(SECRET)}, h, Buffer.from(b)));\n"
        + "console.log(JSON.stringify(found));\n",
        encoding="utf-8",
    )
    ended = subprocess.run(["node", program], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(ended.stdout) == [is_ours for *_, is_ours in told]
