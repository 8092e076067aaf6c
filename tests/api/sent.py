"""Deliveries for the API's tests: a notifier that gets deployments, deployments, and attempts that are refused."""

from typing import Any

import msgspec

from tests.api.conftest import World
from tests.store.cast import settle
from tocsin.ingest import Draft
from tocsin.model import Attempt, AttemptOutcome, DeliveryReason, DeliveryState, Notifier
from tocsin.notifier_rules import NotifierWish
from tocsin.store.port import Settlement

FIELDS = {
    "id",
    "app_id",
    "event_id",
    "event_type",
    "notifier_id",
    "notifier_name",
    "platform",
    "state",
    "reason",
    "attempt_count",
    "next_attempt_at",
    "created_at",
    "expires_at",
    "finished_at",
    "replay_of",
}


async def add_hook(world: World, **wishes: Any) -> Notifier:
    """A webhook that gets deployments."""
    wish = {
        "platform_id": "5982f145d48c3600273ef08a",
        "name": "Hook",
        "selected_events": ["app_deployed"],
        "type_data": {"webhook_url": "https://example.com/hook"},
    }
    return await world.verbs.notifiers.add(world.app, world.users["alice"], NotifierWish(**wish | wishes))


async def deploy(world: World) -> str:
    draft = Draft(type="deployment", type_data=msgspec.Raw(b"{}"))
    accepted = await world.verbs.ingest.accept(world.app, world.users["alice"], [draft])
    event_id: str = msgspec.json.decode(accepted.bodies[0])["id"]
    return event_id


async def fail(world: World, notifier: Notifier) -> None:
    """Let the due deliveries of a notifier be refused for good."""
    now = world.clock.now()
    for claim in (await world.store.claim({notifier.id: 100})).claims:
        attempt = Attempt(
            number=claim.attempt,
            started_at=now,
            duration_ms=3,
            outcome=AttemptOutcome.FAILED,
            response_status=410,
            response_body="gone",
        )
        await settle(
            world.store,
            Settlement(
                delivery_id=claim.delivery_id,
                lease_token=claim.lease_token,
                attempt=attempt,
                state=DeliveryState.FAILED,
                reason=DeliveryReason.GONE,
                finished_at=now,
            ),
        )
