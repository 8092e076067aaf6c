"""The whole of Tocsin in one process for tests: real store, real egress, real receivers on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec
import sqlalchemy as sa

from tocsin.clock import Clock
from tocsin.ids import new_uuid7
from tocsin.model import App, Notifier, User
from tocsin.settings import Settings
from tocsin.store.migrate import migrate
from tocsin.store.notifiers import add_notifier, find_notifier
from tocsin.tokens import TokenWish
from tocsin.wiring import Running, build

PUBLIC_URL = "http://127.0.0.1:8600"
PLATFORM_IDS = {"slack": "5982f145d48c3600273ef089", "webhook": "5982f145d48c3600273ef08a"}


@dataclass
class Got:
    """One request as a receiver got it."""

    path: str
    headers: dict[str, str]
    body: bytes
    sender: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Got], bytes]


def answer(status: int = 204, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP answer's bytes; header names are given with underscores."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Receiver:
    """A real HTTP/1.1 receiver with keep-alive. `answers` are used up one by one; the last one stays."""

    answers: list[Answer] = field(default_factory=lambda: [lambda _: answer(204)])
    got: list[Got] = field(default_factory=list)
    url: str = ""
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, count: int) -> list[Got]:
        """The requests received, once there are at least so many."""
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)
        return self.got

    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        sender: str = writer.get_extra_info("peername")[0]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                got = Got(head[0].split(" ")[1], headers, body, sender=sender)
                reply = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
                writer.write(reply(got))
                await writer.drain()
                async with self.arrived:
                    self.got.append(got)
                    self.arrived.notify_all()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.open.discard(writer)
        async with self.arrived:
            self.arrived.notify_all()


@asynccontextmanager
async def receiving(*answers: Answer, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    receiver = Receiver(list(answers)) if answers else Receiver()
    server = await asyncio.start_server(receiver.serve, host, 0)
    receiver.url = f"http://{host}:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        # Whoever was accepted just now is served some turns later, and asyncio loses them if it is closed before.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        for writer in receiver.open:
            writer.close()
        async with receiver.arrived:
            await receiver.arrived.wait_for(lambda: not receiver.open)


@dataclass
class Line:
    """A running Tocsin with a user, an app and a client that is signed in as the user."""

    running: Running
    user: User
    app: App
    client: httpx.AsyncClient

    async def add_notifier(self, platform: str = "webhook", **fields: Any) -> dict[str, Any]:
        platforms = (await self.client.get("/v1/notification_platforms")).json()["notification_platforms"]
        ids = {entry["name"]: entry["id"] for entry in platforms}
        given = {"platform_id": ids[platform], "name": f"my {platform}", "send_all_events": True} | fields
        response = await self.client.post("/v1/apps/my-app/notifiers", json={"notifier": given})
        assert response.status_code == 201, response.text
        notifier: dict[str, Any] = response.json()["notifier"]
        await self.claimed()
        await self.running.worker.settled()
        return notifier

    async def store_notifiers(self, urls: Sequence[str], *, like: dict[str, Any]) -> dict[str, str]:
        """Notifiers like this one for these URLs, stored below the API; answers with URLs by notifier id."""
        model = await self.running.store.read(find_notifier, self.app.id, like["id"])
        assert model is not None
        wanted = [
            msgspec.structs.replace(model, id=new_uuid7("no"), name=f"number {number}", type_data={"webhook_url": url})
            for number, url in enumerate(urls)
        ]
        await self.running.store.write(_add_notifiers, wanted)
        return {notifier.id: url for notifier, url in zip(wanted, urls, strict=True)}

    async def until_over(self, event_id: str, count: int) -> None:
        """Wait until so many deliveries of an event have ended: each look waits for what is under way."""
        over = 0
        async with asyncio.timeout(60):
            while over < count:
                await self.settled()
                over = 0
                for state in ("delivered", "failed"):
                    params = {"event_id": event_id, "state": state, "per_page": 1}
                    listed = (await self.client.get("/v1/apps/my-app/deliveries", params=params)).json()
                    over += listed["meta"]["pagination"]["total_count"]

    async def claimed(self) -> None:
        """Wait until the worker has read what is due, and claimed what it may."""
        worker = self.running.worker
        while worker._is_stale and not worker._is_stopping:
            await asyncio.sleep(0)
        async with worker._in_round:
            pass

    async def settled(self) -> None:
        """Wait until nothing is under way, and what was found out about notifiers is stored."""
        await self.running.worker.settled()
        await self.running.care.finish()

    async def post(self, event_type: str = "restart", type_data: Any = None, **fields: Any) -> dict[str, Any]:
        event = {"type": event_type, "type_data": type_data or {}} | fields
        response = await self.client.post("/v1/apps/my-app/events", json={"event": event})
        assert response.status_code == 201, response.text
        posted: dict[str, Any] = response.json()["event"]
        return posted

    async def deliveries(self, **only: Any) -> list[dict[str, Any]]:
        await self.settled()
        response = await self.client.get("/v1/apps/my-app/deliveries", params=only)
        assert response.status_code == 200, response.text
        listed: list[dict[str, Any]] = response.json()["deliveries"]
        return listed

    async def delivery(self, delivery_id: str) -> dict[str, Any]:
        response = await self.client.get(f"/v1/apps/my-app/deliveries/{delivery_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()["delivery"]
        return found


def _add_notifiers(connection: sa.Connection, wanted: Sequence[Notifier]) -> None:
    for notifier in wanted:
        add_notifier(connection, notifier)


@cache
def migrated() -> bytes:
    """A database that has its tables already: most of what opening a new one costs."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tocsin.db"
        engine = sa.create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            migrate(connection)
        return path.read_bytes()


@asynccontextmanager
async def straight_line(
    tmp_path: Path, *, clock: Clock | None = None, is_new: bool = True, **settings: Any
) -> AsyncIterator[Line]:
    """Tocsin as `serve` runs it, without a socket in front. The app's default notifier is removed when it is new."""
    chosen = {"database_url": f"sqlite:///{tmp_path}/tocsin.db", "egress_allow": "127.0.0.1"}
    chosen |= {"metrics_listen": None, "rate_limit": None}
    if not (tmp_path / "tocsin.db").exists():
        (tmp_path / "tocsin.db").write_bytes(migrated())
    running = await build(Settings(**(chosen | settings)), public_url=PUBLIC_URL, clock=clock)
    work = asyncio.create_task(running.run())
    accounts, apps = running.verbs.accounts, running.verbs.apps
    if is_new:
        user = await accounts.add_user(username="alice", email="alice@example.com")
        app = await apps.add_app(user, "my-app")
    else:
        user = await accounts.get_user("alice")
        app = await apps.get_app(user, "my-app")
    token = await running.verbs.tokens.add(user, TokenWish(name="tests"))
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(running.api),
        base_url=PUBLIC_URL,
        headers={"authorization": f"Bearer {token.secret}"},
    )
    try:
        async with client:
            for notifier in (await client.get("/v1/apps/my-app/notifiers")).json()["notifiers"] if is_new else ():
                await client.delete(f"/v1/apps/my-app/notifiers/{notifier['id']}")
            yield Line(running, user, app, client)
    finally:
        await running.drain()
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await running.close()
