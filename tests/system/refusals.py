"""A server with an app in it that is asked for what it must refuse, and what a refusal looks like."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.line import Line, straight_line
from tocsin import server as serving
from tocsin.store.schema import metadata

WEBHOOK = "5982f145d48c3600273ef08a"
EMAIL = "59c52ac27651ce002c1d4620"
TYPE_DATA = {"webhook_url": "https://example.com/hook"}


@dataclass
class World:
    """`client` asks over a socket, as alice; what `ids` name can stand in paths as `{notifier}` or `{alert}`."""

    line: Line
    client: httpx.AsyncClient
    ids: dict[str, str]

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        path = path.format(**self.ids) if "{" in path else path
        if body is None or isinstance(body, str | bytes):
            content = body.encode() if isinstance(body, str) else body
            return await self.client.request(method, path, content=content, headers=sent)
        return await self.client.request(method, path, json=body, headers=sent)

    async def stored(self) -> list[tuple[Any, ...]]:
        """Everything in the database, but for when a token was last used."""
        await self.line.running.verbs.tokens.finish()
        return await self.line.running.store.read(_everything)


def _everything(connection: sa.Connection) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for table in metadata.sorted_tables:
        columns = [column for column in table.columns if column.name != "last_used_at"]
        found = connection.execute(sa.select(*columns))
        rows += sorted((table.name, *map(repr, row)) for row in found)
    return rows


@asynccontextmanager
async def open_world(tmp_path: Path) -> AsyncIterator[World]:
    async with straight_line(tmp_path) as line, _listening(line) as url:
        authorization = line.client.headers["authorization"]
        async with httpx.AsyncClient(base_url=url, headers={"authorization": authorization}) as client:
            notifier = await line.add_notifier(active=False, type_data=TYPE_DATA)
            alert = {"container_type": "web", "metric": "cpu", "limit": 0.5}
            added = await client.post("/v1/apps/my-app/alerts", json={"alert": alert})
            yield World(line, client, {"notifier": notifier["id"], "alert": added.json()["alert"]["id"]})


@asynccontextmanager
async def _listening(line: Line) -> AsyncIterator[str]:
    """The line behind a socket, as `serve` puts it there."""
    config = serving._config(line.running)
    listening = serving._bind("127.0.0.1", 0)
    server = serving._Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    await server.is_listening.wait()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task
    listening.close()


def check_refusal(response: httpx.Response, status: int, names: Collection[str]) -> None:
    """The shape that clients read. `names` are the fields of a 422, the resource of a 404, words of any other."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"]
    body = response.json()
    assert "Traceback" not in response.text
    match status:
        case 422:
            assert body.keys() == {"errors"}
            assert body["errors"].keys() == set(names), body
            reasons = [reason for listed in body["errors"].values() for reason in listed]
            assert all(len(reason.split()) >= 2 for reason in reasons), "in words"
        case 404 if names:
            assert [body] == [{"resource": name, "error": "not found"} for name in names]
        case _:
            assert body.keys() == {"error"}
            assert len(body["error"].split()) >= 4, "in words"
            assert all(name in body["error"] for name in names), body
