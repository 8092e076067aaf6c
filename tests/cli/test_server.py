"""A serving process from the inside: what runs beside it, and what is left when that fails."""

import asyncio
import urllib.request
from pathlib import Path

import pytest

from tocsin import wiring
from tocsin.server import CannotListen, serve
from tocsin.settings import Settings, read_settings
from tocsin.wiring import Running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        {"TOCSIN_DATABASE_URL": f"sqlite:///{tmp_path}/tocsin.db", "TOCSIN_METRICS_LISTEN": "127.0.0.1:0"}
    )


class Enough(Exception):
    """Ends the server in a test."""


async def test_what_runs_beside_finds_it_answering_and_its_failure_ends_everything(
    settings: Settings, tmp_path: Path
) -> None:
    statuses: list[int] = []

    def get(url: str) -> int:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
            return answer.status

    async def beside(_running: Running, url: str) -> None:
        statuses.append(await asyncio.to_thread(get, url))
        raise Enough

    with pytest.raises(Enough):
        await serve(settings, host="127.0.0.1", port=0, beside=beside)
    assert statuses == [200]
    assert not (tmp_path / "tocsin.db.sock").exists()
    await (await wiring.build(settings, public_url="http://x")).close()


async def test_an_address_that_is_none_is_refused_before_anything_is_made(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match=r"--host 256\.1\.1\.1 is not an address"):
        await serve(settings, host="256.1.1.1", port=0)
    assert list(tmp_path.iterdir()) == []
