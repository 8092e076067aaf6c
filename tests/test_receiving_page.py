"""What docs/receiving.md and the dashboard tell receivers to copy, run against our own signatures."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import tocsin.dashboard
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
        "webhook-signature": "v1,bm90IG91cnM= v1a,bm90IG91cnM= v1a v1a,~ v1a,a,b "
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


SNIPPETS = Path(tocsin.dashboard.__file__).parent / "snippets"
LANGUAGES = {"python": "py", "js": "mjs", "go": "go", "ruby": "rb", "php": "php"}
"""As the page's blocks name them, with the ends of their files' names."""


def snippet(suffix: str, algorithm: Algorithm) -> str:
    name = "verify" if algorithm is Algorithm.HMAC else "verify_key"
    return (SNIPPETS / f"{name}.{suffix}").read_text(encoding="utf-8")


def asked() -> dict[str, list[Any]]:
    """Every case as a program gets it: the key, the headers, the body; in the order of `expected`."""
    return {
        algorithm.value: [
            [verifying_key(SECRETS[algorithm]), headers, body.decode()]
            for headers, body, _ in cases(algorithm).values()
        ]
        for algorithm in Algorithm
    }


def expected(algorithm: Algorithm) -> list[bool]:
    return [is_ours for *_, is_ours in cases(algorithm).values()]


def run(*command: str | Path, given: str = "", **environment: str) -> Any:
    ended = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=100, env=os.environ | environment, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_what_is_tested(language: str, algorithm: Algorithm) -> None:
    shown = re.findall(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)
    assert len(shown) == len(EXAMPLES)
    assert shown[EXAMPLES[algorithm]] == snippet(LANGUAGES[language], algorithm)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("name", cases(Algorithm.HMAC))
def test_python_accepts_what_is_ours_alone(name: str, algorithm: Algorithm) -> None:
    headers, body, is_ours = cases(algorithm)[name]
    names = {}
    exec(snippet("py", algorithm), names)  # noqa: S102 - our own example
    assert names["is_genuine"](verifying_key(SECRETS[algorithm]), headers, body) is is_ours


@pytest.mark.parametrize("algorithm", Algorithm)
@needs("node")
def test_javascript_accepts_what_is_ours_alone(tmp_path: Path, algorithm: Algorithm) -> None:
    program = tmp_path / "receive.mjs"
    program.write_text(
        snippet("mjs", algorithm)
        + f"const cases = {json.dumps(asked()[algorithm])};\n"
        + "console.log(JSON.stringify(cases.map(([k, h, b]) => isGenuine(k, h, Buffer.from(b)))));\n",
        encoding="utf-8",
    )
    assert run("node", program) == expected(algorithm)


@pytest.mark.parametrize("algorithm", Algorithm)
@needs("ruby")
def test_ruby_accepts_what_is_ours_alone(tmp_path: Path, algorithm: Algorithm) -> None:
    program = tmp_path / "receive.rb"
    program.write_text(
        snippet("rb", algorithm)
        + 'require "json"\n'
        + "puts JSON.parse($stdin.read).map { |key, headers, body| genuine?(key, headers, body) }.inspect\n",
        encoding="utf-8",
    )
    given = json.dumps(asked()[algorithm])
    assert run("ruby", "-W0", program, given=given, RUBYOPT="-Eutf-8") == expected(algorithm)


@pytest.mark.parametrize("algorithm", Algorithm)
@needs("php")
def test_php_accepts_what_is_ours_alone(tmp_path: Path, algorithm: Algorithm) -> None:
    program = tmp_path / "receive.php"
    program.write_text(
        snippet("php", algorithm)
        + "$cases = json_decode(file_get_contents('php://stdin'), true);\n"
        + "echo json_encode(array_map(fn($case) => is_genuine(...$case), $cases));\n",
        encoding="utf-8",
    )
    assert run("php", program, given=json.dumps(asked()[algorithm])) == expected(algorithm)


GO_PROGRAM = """package main

import (
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	var cases map[string][][]json.RawMessage
	found := map[string][]bool{}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	for algorithm, all := range cases {
		for _, each := range all {
			var key, body string
			var names map[string]string
			json.Unmarshal(each[0], &key)
			json.Unmarshal(each[1], &names)
			json.Unmarshal(each[2], &body)
			headers := http.Header{}
			for name, value := range names {
				headers.Set(name, value)
			}
			verify := isGenuine
			if algorithm == "ed25519" {
				verify = isGenuineForKey
			}
			found[algorithm] = append(found[algorithm], verify(key, headers, []byte(body)))
		}
	}
	json.NewEncoder(os.Stdout).Encode(found)
}
"""


@needs("go")
def test_go_accepts_what_is_ours_alone(tmp_path: Path) -> None:
    """Both in one program, for compiling takes longest."""
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    (tmp_path / "verify.go").write_text(snippet("go", Algorithm.HMAC))
    by_key = snippet("go", Algorithm.ED25519).replace("func isGenuine(", "func isGenuineForKey(")
    (tmp_path / "verify_key.go").write_text(by_key)
    found = run("go", "run", *sorted(tmp_path.glob("*.go")), given=json.dumps(asked()), GOTOOLCHAIN="local")
    assert found == {algorithm.value: expected(algorithm) for algorithm in Algorithm}
