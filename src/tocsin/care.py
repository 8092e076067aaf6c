"""What is found out about a notifier is stored, and its owner told: by the app's other notifiers, or by mail.

Stop before: `deliver`, where attempts end. Stops after: `life`, which says what follows, and the store.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog

from tocsin.audit import SYSTEM, Action, Note
from tocsin.clock import Clock
from tocsin.dates import format_instant
from tocsin.dispatch import Dispatcher
from tocsin.errors import StoreError
from tocsin.health import Health
from tocsin.ingest import own_event
from tocsin.life import Arrived, Finding, Held, after, stops, told
from tocsin.model import Notifier
from tocsin.platforms.base import Platform
from tocsin.platforms.settings import mask_settings
from tocsin.store.apps import find_app_by_id
from tocsin.store.audit import add_note
from tocsin.store.events import add_event
from tocsin.store.lives import add_mail_to_owner, change_life
from tocsin.store.port import Store

STORE_PAUSE_SECONDS = 0.5


class Care:
    """Stores findings one after another, each in a transaction with what is told of it."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        dispatch: Dispatcher,
        health: Health,
        platforms: Mapping[str, Platform],
    ) -> None:
        self._store = store
        self._clock = clock
        self._dispatch = dispatch
        self._health = health
        self._platforms = platforms
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("tocsin.care").bind()

    def begin(self, notifier_id: str, finding: Finding) -> None:
        """Store a finding soon; what it stops is stopped in this process at once."""
        is_stop = stops(finding)
        if is_stop:
            self._health.stop(notifier_id)
        task = asyncio.get_running_loop().create_task(self._take(notifier_id, finding, is_stop=is_stop))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float = 5.0) -> None:
        """Wait until everything is stored, so long at most: what is lost is found out again."""
        if self._tasks:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, notifier_id: str, finding: Finding, *, is_stop: bool) -> None:
        try:
            changed = await self._store_finding(notifier_id, finding)
        finally:
            if is_stop:
                self._health.release(notifier_id)
        if changed is None:
            return
        before, now_is = changed
        if now_is.state is not before.state:
            self._log.info(
                "notifier.changed",
                notifier_id=notifier_id,
                app_id=now_is.app_id,
                platform=now_is.platform,
                before=before.state.value,
                state=now_is.state.value,
                reason=now_is.state_reason,
                held_until=now_is.held_until and now_is.held_until.isoformat(),
            )

    async def _store_finding(self, notifier_id: str, finding: Finding) -> tuple[Notifier, Notifier] | None:
        chance = random.random()  # noqa: S311 - spreads load, keeps no secret
        while True:
            now = self._clock.now()
            change = partial(after, finding=finding, now=now, chance=chance)
            try:
                return await self._store.write(self._change, notifier_id, change, finding, now)
            except StoreError as error:
                self._log.warning("care.store_unavailable", notifier_id=notifier_id, error=str(error))
                await asyncio.sleep(STORE_PAUSE_SECONDS)

    def _change(
        self, connection: sa.Connection, notifier_id: str, change: "partial[Notifier]", finding: Finding, now: datetime
    ) -> tuple[Notifier, Notifier] | None:
        changed = change_life(connection, notifier_id, change)
        if changed is None:
            return None
        before, now_is = changed
        event_type = told(before, now_is)
        app = None if event_type is None else find_app_by_id(connection, now_is.app_id)
        if event_type is not None and app is not None:
            type_data = self._told_of(before, now_is, finding)
            event = own_event(event_type=event_type, type_data=type_data, user=app.owner, app=app, at=now)
            event = msgspec.structs.replace(event, about=notifier_id)
            if not add_event(connection, event, self._dispatch):
                add_mail_to_owner(
                    connection, event, app, expires_at=now + self._dispatch.lifetime("email", expires_after=None)
                )
        if event_type == "notifier_disabled":
            add_note(connection, _disabled(now_is, now))
        return changed

    def _told_of(self, before: Notifier, now_is: Notifier, finding: Finding) -> dict[str, Any]:
        since = now_is.failing_since or before.failing_since
        reason = None if isinstance(finding, Held | Arrived) else finding.reason
        facts = {
            "notifier_id": now_is.id,
            "notifier_name": now_is.name,
            "platform_name": now_is.platform,
            "notifier_type_data": mask_settings(self._platforms[now_is.platform], now_is.type_data),
            "reason": None if reason is None else reason.value,
            "why": now_is.state_reason,
            "since": None if since is None else format_instant(since),
        }
        return {name: value for name, value in facts.items() if value is not None}


def _disabled(notifier: Notifier, at: datetime) -> Note:
    return Note(
        action=Action.NOTIFIER_DISABLED,
        at=at,
        app_id=notifier.app_id,
        object_id=notifier.id,
        object_name=notifier.name,
        details={"why": notifier.state_reason},
        by=SYSTEM,
    )
