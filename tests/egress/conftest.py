import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from tests.egress.receiver import make_egress
from tocsin.egress import Egress

_ON_BOTH_LOOPS = {"test_client.py", "test_connections.py", "test_deadlines.py", "test_tls.py"}


def pytest_asyncio_loop_factories(config, item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what touches sockets on asyncio and on uvloop: their streams differ in many a detail."""
    if item.path.name in _ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest_asyncio.fixture
async def egress() -> AsyncIterator[Egress]:
    """Egress that may reach 127.0.0.1, with a time-out that no test waits for."""
    client = make_egress(timeout_seconds=5.0)
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
def _no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
