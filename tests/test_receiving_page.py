"""What docs/receiving.md tells receivers to copy, run against our own signatures."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tocsin.platforms.signing import Algorithm, new_secret, signer_of, verifying_key

PAGE = (Path(__file__).parent.parent / "docs" / "receiving.md").read_text(encoding="utf-8")
BODY = '{"type":"deployment","app_name":"café"}'.encode()
SECRETS = {algorithm: new_secret(algorithm) for algorithm in Algorithm}
EXAMPLES = {Algorithm.HMAC: 0, Algorithm.ED25519: 1}
"""Which of the page's examples of a language verifies which signatures."""


def signed(secret: str, *, age_seconds: int = 0) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_seconds)
    return {
        "webhook-id": "01a20763eb46000c65f25ac0",
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1,bm90IG91cnM= v1a,bm90IG91cnM= v1a "
        + signer_of(secret).sign("01a20763eb46000c65f25ac0", timestamp, BODY),
    }


def cases(algorithm: Algorithm) -> dict[str, tuple[dict[str, str], bytes, bool]]:
    """Requests signed now, each with whether it is to be accepted."""
    secret = SECRETS[algorithm]
    genuine, other = signed(secret), signed(new_secret(algorithm))
    overlap = f"{other['webhook-signature']} {genuine['webhook-signature']}"
    return {
        "genuine": (genuine, BODY, True),
        "signed with another secret as well": (genuine | {"webhook-signature": overlap}, BODY, True),
        "another body": (genuine, BODY + b" ", False),
        "another secret": (other, BODY, False),
        "an old one": (signed(secret, age_seconds=400), BODY, False),
        "one of tomorrow": (signed(secret, age_seconds=-86400), BODY, False),
        "another id": (genuine | {"webhook-id": "01a20763eb46000c65f25ac1"}, BODY, False),
        "no number": (genuine | {"webhook-timestamp": "²"}, BODY, False),
        "no headers": ({}, BODY, False),
        "no signature": (genuine | {"webhook-signature": ""}, BODY, False),
    }


def snippet(language: str, algorithm: Algorithm) -> str:
    return re.findall(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)[EXAMPLES[algorithm]]


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("name", cases(Algorithm.HMAC))
def test_the_python_example_accepts_what_is_ours_alone(name: str, algorithm: Algorithm) -> None:
    headers, body, is_ours = cases(algorithm)[name]
    names = {}
    exec(snippet("python", algorithm), names)  # noqa: S102 - the page's own example
    assert names["is_genuine"](verifying_key(SECRETS[algorithm]), headers, body) is is_ours


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_javascript_example_accepts_what_is_ours_alone(tmp_path: Path, algorithm: Algorithm) -> None:
    told = [[headers, body.decode(), is_ours] for headers, body, is_ours in cases(algorithm).values()]
    key = verifying_key(SECRETS[algorithm])
    program = tmp_path / "receive.mjs"
    program.write_text(
        snippet("js", algorithm)
        + f"const cases = {json.dumps(told)};\n"
        + f"const found = cases.map(([h, b]) => isGenuine({json.dumps(key)}, h, Buffer.from(b)));\n"
        + "console.log(JSON.stringify(found));\n",
        encoding="utf-8",
    )
    ended = subprocess.run(["node", program], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(ended.stdout) == [is_ours for *_, is_ours in told]
