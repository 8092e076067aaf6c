"""The whole API over a real SQLite store, and the cast: alice owns my-app, bob shares it, charlie is a stranger."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import argon2
import httpx
import pytest
import sqlalchemy as sa
import uvloop
from fastapi import FastAPI

from tests.sealer import SEALER
from tocsin.accounts import Accounts
from tocsin.alerts import Alerts
from tocsin.apps import Apps
from tocsin.audit_log import AuditLog
from tocsin.catalogue import Catalogue
from tocsin.clock import ManualClock
from tocsin.dashboard.site import build_site
from tocsin.dispatch import Dispatcher
from tocsin.doctor.finding import Finding
from tocsin.explain import Explain
from tocsin.health import Health
from tocsin.history import History
from tocsin.ingest import Ingest
from tocsin.keys import Keys
from tocsin.letters import Letters
from tocsin.limits import Allowances, Throttle
from tocsin.model import App, Attempt, AttemptOutcome, Notifier, User
from tocsin.notifiers import Notifiers, waits_for_setup
from tocsin.operations import Operations
from tocsin.platforms import load_platforms
from tocsin.preview import Previews
from tocsin.proxies import Proxies
from tocsin.sessions import Sessions
from tocsin.statistics import Statistics
from tocsin.store.members import list_members
from tocsin.store.schema import deliveries, events, finished_deliveries
from tocsin.store.sqlite import SqliteStore
from tocsin.tokens import Tokens, TokenWish
from tocsin.verbs import Verbs

PUBLIC_URL = "http://tocsin.example.com:8600"
REGION = "osc-fr1"
PER_MINUTE = 600
BEARER_KEY = bytes(range(32))
READY = frozenset({"email", "slack", "webhook", "rocket_chat"})

# Argon2 at its usual cost would make each test that signs in slow.
CHEAP_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def pytest_asyncio_loop_factories(config, item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What touches sockets runs on the server's own loop."""
    if item.path.name in {"test_listener.py", "test_ordinary.py", "test_limits.py"}:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


async def _delivered(notifier: Notifier, body: bytes, delivery_id: str) -> Attempt:
    """A probe whose every attempt is delivered."""
    started_at = ManualClock().now()
    return Attempt(
        number=1, started_at=started_at, duration_ms=12, outcome=AttemptOutcome.DELIVERED, response_status=200
    )


@dataclass
class World:
    """What a test looks at beside the answers: the clock, the verbs, the store."""

    clock: ManualClock
    store: SqliteStore
    verbs: Verbs
    api: FastAPI
    users: Mapping[str, User]
    secrets: Mapping[str, str]
    app: App
    problems: dict[str, str]
    mails: list[EmailMessage]

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[name]}"}

    async def events(self, app_id: str | None = None) -> list[dict[str, Any]]:
        """The stored events of an app, or of no app, oldest first."""
        return await self.store.read(partial(_events, app_id=app_id))

    async def deliveries_of(self, event_type: str) -> list[dict[str, Any]]:
        return await self.store.read(partial(_deliveries, event_type=event_type))


def _events(connection: sa.Connection, app_id: str | None) -> list[dict[str, Any]]:
    where = events.c.app_id.is_(None) if app_id is None else events.c.app_id == app_id
    rows = connection.execute(sa.select(events.c.body).where(where).order_by(events.c.id)).scalars()
    return [httpx.Response(200, content=body).json() for body in rows]


def _deliveries(connection: sa.Connection, event_type: str) -> list[dict[str, Any]]:
    return [
        dict(row)
        for table in (deliveries, finished_deliveries)
        for row in connection.execute(sa.select(table).where(table.c.event_type == event_type)).mappings()
    ]


def basic(username: str, password: str) -> dict[str, str]:
    """An Authorization header as `curl -u` sends it."""
    return {"authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.fixture(scope="session")
def api() -> FastAPI:
    """The application, built once: each test gives it verbs of its own."""
    no_verbs: Any = None
    return build_site(no_verbs, public_url=PUBLIC_URL, region=REGION)


@pytest.fixture
async def world(tmp_path, migrated_sqlite: Path, api: FastAPI) -> AsyncIterator[World]:
    clock = ManualClock()
    catalogue = Catalogue.load()
    platforms = load_platforms()
    dispatch = Dispatcher(
        catalogue=catalogue, platforms=platforms, ready=READY, slots=None, health=Health(clock=clock), lease_seconds=60
    )
    shutil.copy(migrated_sqlite, tmp_path / "tocsin.db")
    store = SqliteStore(f"sqlite:///{tmp_path}/tocsin.db", clock=clock, dispatch=dispatch, sealer=SEALER)
    ingest = Ingest(store=store, clock=clock, dispatch=dispatch, deliverer=None)
    mails: list[EmailMessage] = []

    async def post(mail: EmailMessage, _: str) -> None:
        mails.append(mail)

    throttle = Throttle(clock)
    accounts = Accounts(
        store=store,
        clock=clock,
        ingest=ingest,
        dispatch=dispatch,
        throttle=throttle,
        hasher=CHEAP_HASHER,
        letters=Letters(post, clock),
    )
    tokens = Tokens(
        store=store,
        clock=clock,
        ingest=ingest,
        sign_in=accounts.sign_in,
        throttle=throttle,
        allowances=Allowances(clock, PER_MINUTE),
        bearer_keys=[BEARER_KEY],
        issuer=PUBLIC_URL,
    )
    notifiers = Notifiers(
        store=store,
        clock=clock,
        ingest=ingest,
        catalogue=catalogue,
        platforms=platforms,
        check_url=lambda _: None,
        ready=READY,
        probe=_delivered,
    )
    history = History(store=store, clock=clock, platforms=platforms, ready=READY)
    previews = Previews(
        platforms=platforms,
        members_of=lambda app_id, user_ids: store.read(list_members, app_id, user_ids),
        unsubscribe_url=lambda notifier_id, address: f"{PUBLIC_URL}/unsubscribe/{notifier_id}{address}",
    )
    problems: dict[str, str] = {}

    async def readiness() -> Mapping[str, str]:
        return problems

    verbs = Verbs(
        keys=Keys(store=store, clock=clock, sealer=SEALER, audit=AuditLog(store=store, sealer=SEALER)),
        audit=AuditLog(store=store, sealer=SEALER),
        accounts=accounts,
        tokens=tokens,
        sessions=Sessions(store=store, clock=clock),
        apps=Apps(store=store, clock=clock, ingest=ingest, dispatch=dispatch, catalogue=catalogue),
        notifiers=notifiers,
        alerts=Alerts(store=store, clock=clock, ingest=ingest, catalogue=catalogue),
        history=history,
        statistics=Statistics(store=store, clock=clock),
        explain=Explain(
            store=store,
            clock=clock,
            catalogue=catalogue,
            waits_for=partial(waits_for_setup, platforms, READY),
            history=history,
            ingest=ingest,
            previews=previews,
            schedule_seconds=(0, 60, 600),
        ),
        ingest=ingest,
        operations=Operations(
            store=store,
            clock=clock,
            ready=READY,
            examine=lambda: {"disk": Finding("warn", "12.5 GiB free (4%)")},
            readiness=readiness,
        ),
    )
    api.state.verbs = verbs
    api.state.readiness = readiness
    api.state.proxies = Proxies()
    users = {
        name: await accounts.add_user(username=name, email=f"{name}@example.com", is_admin=name == "admin")
        for name in ("alice", "bob", "charlie", "admin")
    }
    secrets = {name: (await tokens.add(user, TokenWish(name="test"))).secret for name, user in users.items()}
    app = await verbs.apps.add_app(users["alice"], "my-app")
    await verbs.apps.add_collaborator(users["alice"], app, "bob@example.com")
    yield World(clock, store, verbs, api, users, secrets, app, problems, mails)
    await tokens.finish()
    await accounts.finish()
    await store.close()


@pytest.fixture
async def anonymous(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.api), base_url=PUBLIC_URL) as client:
        yield client


async def _client(world: World, name: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(world.api)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=world.bearer(name)) as client:
        yield client


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Alice, who owns my-app."""
    async for client in _client(world, "alice"):
        yield client


@pytest.fixture
async def bob(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A collaborator of my-app."""
    async for client in _client(world, "bob"):
        yield client


@pytest.fixture
async def charlie(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has nothing to do with my-app."""
    async for client in _client(world, "charlie"):
        yield client


@pytest.fixture
async def admin(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async for client in _client(world, "admin"):
        yield client
