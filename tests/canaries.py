"""No test leaves a secret where none belongs: what it printed, logged and stored is looked through when it is over.

Secrets are known by their form, by a word that tests write into theirs, or because something was sealed. Everything is
logged at debug level meanwhile.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tocsin.sealing import Sealer

PATTERN = (
    "whsec_[A-Za-z0-9+/]{32}"  # signing secrets
    "|whsk_[A-Za-z0-9+/]{32}"
    "|tk-us-[A-Za-z0-9_-]{43}"  # API tokens
    "|eyJ[A-Za-z0-9_-]{10,250}[.]eyJ[A-Za-z0-9_-]{10,250}[.]"  # JWTs
    "|s3cret-canary"
)
"""What is a secret wherever it stands; PostgreSQL understands it as Python does."""

FORMS = re.compile(PATTERN.encode())

FILES = ("*.log", "*.db", "*.db-wal")
LEAST = 12
"""Characters of a value that was sealed: shorter ones stand in many texts by chance."""

_sealed: set[str] = set()


def watch_sealing() -> None:
    """Remember what is sealed in this process."""
    seal = Sealer.seal

    def watched(self: Sealer, text: str, place: str) -> str:
        _sealed.update(_parts(text))
        return seal(self, text, place)

    Sealer.seal = watched  # type: ignore[method-assign]


def _parts(text: str) -> Iterator[str]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    for part in value.values() if isinstance(value, dict) else [value]:
        if isinstance(part, str):
            url = urlsplit(part) if part.startswith(("http://", "https://")) else None
            secret = part if url is None else url.path + (f"?{url.query}" if url.query else "")
            if len(secret) >= LEAST:
                yield secret


def found_in(text: bytes, sealed: Iterable[str] = ()) -> str | None:
    """What of a secret stands in a text: its beginning alone."""
    match = FORMS.search(text)
    if match is not None:
        return f"{match[0][:10].decode()}..."
    return next((f"{secret[:10]}... (sealed)" for secret in sealed if secret.encode() in text), None)


def look_through(folder: Path, sealed: Iterable[str] = ()) -> Iterator[str]:
    """Each file of a folder, logs and databases, in which a secret stands."""
    for pattern in FILES:
        for path in folder.rglob(pattern):
            found = found_in(path.read_bytes(), sealed) if path.is_file() else None
            if found is not None:
                yield f"{path.name}: {found}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.when == "teardown":
        secrets = frozenset(_sealed)
        _sealed.clear()
        if report.passed and (leaks := list(_leaks(item, report, secrets))):
            report.outcome = "failed"
            report.longrepr = "secrets were left where none belong:\n" + "\n".join(leaks)
    return report


def _leaks(item: pytest.Item, report: Any, secrets: frozenset[str]) -> Iterator[str]:
    for name, text in report.sections:
        found = found_in(text.encode(errors="replace"), secrets)
        if found is not None:
            yield f"{name}: {found}"
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is not None:
        yield from look_through(folder, secrets)
