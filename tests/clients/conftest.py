"""A served Tocsin for the clients, with two users: alice, and bob who sees only what she shares."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import httpx
import pytest

from tests.clients.javascript import ScalingoJs, scalingo_js
from tests.conftest import Place
from tests.postgres import PostgresServer
from tests.processes import Installation


@dataclass
class Server:
    """The server as it is served, and alice's own view of it, past any client."""

    url: str
    tokens: dict[str, str]
    state: httpx.Client

    def read(self, path: str) -> dict[str, object]:
        response = self.state.get(path)
        assert response.status_code == 200, response.text
        found: dict[str, object] = response.json()
        return found

    def status(self, path: str) -> int:
        return self.state.get(path).status_code


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    tokens: dict[str, str] = {}
    url = None
    if request.param == "postgresql":
        template: Place = request.getfixturevalue("template")
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = postgres.add_database("clients", template=template.name)
        tokens["alice"] = template.token
    installation = Installation(tmp_path_factory.mktemp("clients"), database_url=url)
    try:
        installation.serve()
        tokens |= {name: installation.add_user(name) for name in ("alice", "bob") if name not in tokens}
        headers = {"authorization": f"Bearer {tokens['alice']}"}
        with httpx.Client(base_url=installation.url, headers=headers) as state:
            yield Server(installation.url, tokens, state)
        assert installation.stop() == 0
    finally:
        installation.end()


@pytest.fixture(scope="session")
def js(server: Server) -> Iterator[ScalingoJs]:
    with scalingo_js(server.url) as client:
        for name, token in server.tokens.items():
            client.connect(name, token)
        yield client


@pytest.fixture(scope="session")
def app_names() -> Iterator[str]:
    return (f"client-app-{number}" for number in count(1))


@pytest.fixture
def app(server: Server, app_names: Iterator[str]) -> str:
    """The name of a new app of alice's."""
    name = next(app_names)
    response = server.state.post("/v1/apps", json={"app": {"name": name}})
    assert response.status_code == 201, response.text
    return name
