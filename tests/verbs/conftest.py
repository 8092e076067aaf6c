"""The verbs over a real SQLite store: alice owns my-app, bob collaborates on it, charlie is an outsider."""

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.sealer import SEALER
from tests.store.cast import settle
from tocsin.alerts import Alerts
from tocsin.catalogue import Catalogue
from tocsin.clock import ManualClock
from tocsin.dispatch import Dispatcher
from tocsin.explain import Explain
from tocsin.health import Health
from tocsin.history import History
from tocsin.ids import new_hex_id, new_uuid7
from tocsin.ingest import Draft, Ingest
from tocsin.model import App, Attempt, AttemptOutcome, Collaborator, Delivery, Notifier, Reason, User
from tocsin.notifier_rules import NotifierWish, default_notifier
from tocsin.notifiers import Notifiers, waits_for_setup
from tocsin.platforms import load_platforms
from tocsin.preview import Previews
from tocsin.store import apps as app_verbs
from tocsin.store import collaborators as collaborator_verbs
from tocsin.store import users as user_verbs
from tocsin.store.deliveries import DeliveryFilter
from tocsin.store.members import list_members
from tocsin.store.port import Settlement
from tocsin.store.sqlite import SqliteStore

WEBHOOK_ID = "5982f145d48c3600273ef08a"
EMAIL_ID = "59c52ac27651ce002c1d4620"
URL = "https://hooks.example.com/services/s3cret"
NOW = datetime.now(UTC)


def check_url(url: str) -> None:
    if not url.startswith("https://"):
        raise ValueError("must start with https://")


class Probe:
    """Stands in for the one attempt that a test makes."""

    def __init__(self) -> None:
        self.sent: list[tuple[Notifier, dict[str, Any]]] = []
        self.outcome = AttemptOutcome.DELIVERED
        self.reason: Reason | None = None

    async def __call__(self, notifier: Notifier, body: bytes, delivery_id: str) -> Attempt:
        self.sent.append((notifier, msgspec.json.decode(body)))
        return Attempt(number=1, started_at=NOW, duration_ms=7, outcome=self.outcome, reason=self.reason)


def user(name: str, *, is_admin: bool = False) -> User:
    return User(id=new_uuid7("us"), username=name, email=f"{name}@example.com", is_admin=is_admin, created_at=NOW)


@dataclass
class World:
    store: SqliteStore
    clock: ManualClock
    catalogue: Catalogue
    ingest: Ingest
    notifiers: Notifiers
    alerts: Alerts
    history: History
    explain: Explain
    probe: Probe
    app: App
    other_app: App
    alice: User
    bob: User
    charlie: User
    default: Notifier
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def events(self) -> list[dict[str, Any]]:
        """The app's timeline, newest first."""
        bodies, _ = await self.history.list_events(self.app, limit=100, offset=0)
        return [msgspec.json.decode(body) for body in bodies]

    async def add_webhook(self, **wishes: Any) -> Notifier:
        wish = {"platform_id": WEBHOOK_ID, "name": "Hook", "type_data": {"webhook_url": URL}} | wishes
        return await self.notifiers.add(self.app, self.alice, NotifierWish(**wish))

    async def deploy(self) -> str:
        """Report a deployment; answers with the event's id."""
        accepted = await self.ingest.accept(
            self.app, self.alice, [Draft(type="deployment", type_data=msgspec.Raw(b'{"status":"success"}'))]
        )
        event_id: str = msgspec.json.decode(accepted.bodies[0])["id"]
        return event_id

    async def deliveries(self, **only: Any) -> list[Delivery]:
        found, _ = await self.history.list_deliveries(self.app, DeliveryFilter(**only), limit=100, offset=0)
        return found

    async def settle(self, notifier: Notifier, decide: Callable[[str], dict[str, Any]]) -> None:
        """Make one attempt of each due delivery of a notifier, as `decide` says for the event's id."""
        claimed = await self.store.claim({notifier.id: 100})
        for claim in claimed.claims:
            decided = decide(claim.event_id)
            outcome = decided.pop("outcome")
            now = self.clock.now()
            attempt = Attempt(number=claim.attempt, started_at=now, duration_ms=1, outcome=outcome)
            await settle(
                self.store,
                Settlement(
                    delivery_id=claim.delivery_id,
                    lease_token=claim.lease_token,
                    attempt=attempt,
                    finished_at=now,
                    **decided,
                ),
            )


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load()


@pytest.fixture
async def world(tmp_path: Path, migrated_sqlite: Path, catalogue: Catalogue) -> AsyncIterator[World]:
    clock, platforms, ready = ManualClock(NOW), load_platforms(), frozenset({"webhook", "slack", "rocket_chat"})
    dispatch = Dispatcher(
        catalogue=catalogue, platforms=platforms, ready=ready, slots=None, health=Health(clock=clock), lease_seconds=45
    )
    shutil.copy(migrated_sqlite, tmp_path / "tocsin.db")
    store = SqliteStore(f"sqlite:///{tmp_path}/tocsin.db", clock=clock, dispatch=dispatch, sealer=SEALER)
    ingest = Ingest(store=store, clock=clock, dispatch=dispatch, deliverer=None)
    alice, bob, charlie = user("alice"), user("bob"), user("charlie")
    for each in (alice, bob, charlie):
        await store.write(user_verbs.add_user, each, None)
    app = App(id=new_hex_id(), name="my-app", owner=alice, created_at=NOW, updated_at=NOW)
    other = App(id=new_hex_id(), name="other-app", owner=charlie, created_at=NOW, updated_at=NOW)
    default = default_notifier(app, catalogue, NOW)
    await store.write(app_verbs.add_app, app, default)
    await store.write(app_verbs.add_app, other, default_notifier(other, catalogue, NOW))
    shared = Collaborator(
        id=new_hex_id(), app_id=app.id, email=bob.email, username="bob", user_id=bob.id, created_at=NOW
    )
    await store.write(collaborator_verbs.add_collaborator, shared)
    probe = Probe()
    history = History(store=store, clock=clock, platforms=platforms, ready=ready)
    previews = Previews(
        platforms=platforms,
        members_of=lambda app_id, user_ids: store.read(list_members, app_id, user_ids),
        unsubscribe_url=lambda notifier_id, address: f"https://tocsin.example.com/unsubscribe/{notifier_id}{address}",
    )
    yield World(
        store=store,
        clock=clock,
        catalogue=catalogue,
        ingest=ingest,
        notifiers=Notifiers(
            store=store,
            clock=clock,
            ingest=ingest,
            catalogue=catalogue,
            platforms=platforms,
            check_url=check_url,
            ready=ready,
            probe=probe,
        ),
        alerts=Alerts(store=store, clock=clock, ingest=ingest, catalogue=catalogue),
        history=history,
        explain=Explain(
            store=store,
            clock=clock,
            catalogue=catalogue,
            waits_for=partial(waits_for_setup, platforms, ready),
            history=history,
            ingest=ingest,
            previews=previews,
            schedule_seconds=(0, 60, 600),
        ),
        probe=probe,
        app=app,
        other_app=other,
        alice=alice,
        bob=bob,
        charlie=charlie,
        default=default,
    )
    await store.close()
