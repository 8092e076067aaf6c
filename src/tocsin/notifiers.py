"""What can be done with the notifiers of an app: set up, switch, pause, try out."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec
import sqlalchemy as sa

from tocsin.audit import Action, Note, changed
from tocsin.catalogue import Catalogue
from tocsin.clock import Clock
from tocsin.dates import format_instant
from tocsin.errors import Conflict, InvalidInput, NotFound
from tocsin.ids import new_uuid7
from tocsin.ingest import Ingest
from tocsin.life import freed
from tocsin.model import (
    App,
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Notifier,
    NotifierState,
    Reason,
    User,
)
from tocsin.notifier_rules import NotifierRules, NotifierWish
from tocsin.platforms.base import Platform
from tocsin.platforms.settings import mask_settings
from tocsin.platforms.signing import Algorithm
from tocsin.rotation import SigningSecrets, rotated, secrets_of, without_previous
from tocsin.store import alerts as alert_verbs
from tocsin.store import members as member_verbs
from tocsin.store import notifiers as verbs
from tocsin.store.audit import add_note, with_note
from tocsin.store.port import NewEvent, Store

Probe = Callable[[Notifier, bytes, str], Awaitable[Attempt]]
"""Makes one attempt at once, beside the queue: of a notifier, an event's body and a delivery id. What the platform
answers stands in the attempt."""

TEST_TYPE = "deployment"
_TRIES = 5
"""How often a change is made anew when the notifier changed between reading and writing; more would be a fight."""


class Notifiers:
    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ingest: Ingest,
        catalogue: Catalogue,
        platforms: Mapping[str, Platform],
        check_url: Callable[[str], None],
        ready: frozenset[str],
        probe: Probe,
    ) -> None:
        """`check_url` raises ValueError for a URL that may not be called; `ready` names the platforms set up."""
        self._store = store
        self._clock = clock
        self._ingest = ingest
        self.catalogue = catalogue
        self.platforms = platforms
        self._rules = NotifierRules(catalogue=catalogue, platforms=platforms, check_url=check_url)
        self._ready = ready
        self._probe = probe

    def waits_for(self, platform: str) -> str | None:
        """The operator's setting that deliveries of a platform wait for, if they do."""
        return waits_for_setup(self.platforms, self._ready, platform)

    async def list(self, app: App) -> list[Notifier]:
        """The notifiers of an app, oldest first."""
        found = await self._store.read(verbs.list_notifiers, app.id)
        return [self._shown(notifier) for notifier in found]

    async def get(self, app: App, notifier_id: str) -> Notifier:
        return self._shown(await self._find(app, notifier_id))

    async def check(self, app: App, wish: NotifierWish, notifier_id: str | None = None) -> Notifier:
        """The notifier that `add` would make of a wish, or `edit` with an id; nothing is stored.

        Raises InvalidInput that names the fields as those do.
        """
        if notifier_id is None:
            notifier = self._rules.new(app, wish, at=self._clock.now())
        else:
            notifier = self._rules.changed(await self._find(app, notifier_id), wish, at=self._clock.now())
        await self._check_members(app, notifier)
        return notifier

    async def add(self, app: App, user: User, wish: NotifierWish) -> Notifier:
        notifier = self._rules.new(app, wish, at=self._clock.now())
        await self._check_members(app, notifier)
        event = self._event("new_notifier", notifier, app, user)
        note = self._note(Action.NOTIFIER_ADDED, notifier, self._told(notifier))
        await self._ingest.write(partial(verbs.add_notifier, notifier=notifier), event, note)
        return self._shown(notifier)

    async def edit(self, app: App, user: User, notifier_id: str, wish: NotifierWish) -> Notifier:
        async def store(before: Notifier) -> Notifier:
            after = self._rules.changed(before, wish, at=self._clock.now())
            if wish.type_data:
                await self._check_members(app, after)
            event = self._event("edit_notifier", after, app, user)
            note = self._note(Action.NOTIFIER_CHANGED, after, self._changed(before, after))
            change = partial(verbs.change_notifier, before=before, after=after)
            return await self._ingest.write(change, event, note)

        return await self._change(app, notifier_id, store)

    async def remove(self, app: App, user: User, notifier_id: str) -> None:
        """Take a notifier away: what waits for it is cancelled, and alert rules no longer name it."""
        notifier = await self._find(app, notifier_id)
        event = self._event("delete_notifier", notifier, app, user)
        change = partial(_remove, notifier=notifier, at=self._clock.now())
        await self._ingest.write(change, event, self._note(Action.NOTIFIER_REMOVED, notifier))

    async def pause(self, app: App, notifier_id: str, *, until: datetime | None = None) -> Notifier:
        """Hold deliveries back, without end or until a time; they are sent after `resume`."""
        if until is not None and until <= self._clock.now():
            raise InvalidInput({"until": ["must lie in the future"]})

        def paused(notifier: Notifier) -> Notifier:
            check_active(notifier)
            state = {"state": NotifierState.PAUSED, "state_reason": "paused by its owner", "held_until": until}
            return msgspec.structs.replace(notifier, **state)

        details = {"until": None if until is None else format_instant(until)}
        return await self._restate(app, notifier_id, paused, Action.NOTIFIER_PAUSED, details)

    async def resume(self, app: App, notifier_id: str) -> Notifier:
        """Send what waits, whether its owner, its receiver or failures held it back; nothing for one that is off."""
        now = self._clock.now()
        return await self._restate(app, notifier_id, lambda notifier: freed(notifier, now), Action.NOTIFIER_RESUMED)

    async def resume_due(self) -> None:
        """Resume the notifiers whose pause or hold is over."""
        now = self._clock.now()
        for notifier in await self._store.read(verbs.list_holds_over, now):
            try:
                await self._store.write(verbs.change_notifier, notifier, freed(notifier, now))
            except verbs.Changed:
                continue  # its owner was quicker; the next round finds it if it is still to be resumed

    async def secrets(self, app: App, notifier_id: str) -> SigningSecrets:
        """What its requests are verified with. Raises NotFound for platforms that do not sign."""
        notifier = self._signing(await self._find(app, notifier_id))
        await self._store.write(add_note, self._note(Action.SECRET_READ, notifier))
        return secrets_of(notifier, self._clock.now())

    async def rotate_secret(
        self, app: App, notifier_id: str, *, algorithm: Algorithm | None = None, revoke_now: bool = False
    ) -> SigningSecrets:
        """Sign with a new secret from the next attempt on, and with the present one for a day, unless `revoke_now`."""

        def change(notifier: Notifier) -> Notifier:
            signing, now = self._signing(notifier), self._clock.now()
            return rotated(signing, algorithm=algorithm, revoke_now=revoke_now, at=now)

        details = {"algorithm": algorithm, "revoke_now": revoke_now}
        after = await self._restate(app, notifier_id, change, Action.SECRET_ROTATED, details)
        return secrets_of(after, self._clock.now())

    async def revoke_previous_secret(self, app: App, notifier_id: str) -> None:
        """Sign with the present secret alone from the next attempt on; harmless when that is so already."""

        def change(notifier: Notifier) -> Notifier:
            return without_previous(self._signing(notifier), self._clock.now())

        await self._restate(app, notifier_id, change, Action.SECRET_REVOKED)

    async def test(self, app: App, user: User, notifier_id: str) -> tuple[Delivery, Attempt]:
        """Send a made-up event once, now, whatever the notifier's state; neither is kept."""
        notifier = await self._find(app, notifier_id)
        sample = self.catalogue.events[TEST_TYPE].sample
        event = self._ingest.own_event(event_type=TEST_TYPE, type_data=sample, user=user, app=app)
        delivery_id = new_uuid7("de")
        started_at = self._clock.now()
        waits_for = self.waits_for(notifier.platform)
        if waits_for is None:
            attempt = await self._probe(notifier, event.body, delivery_id)
        else:
            attempt = _not_made(f"{waits_for} is not set", started_at)
        await self._store.write(
            add_note, self._note(Action.NOTIFIER_TESTED, notifier, {"outcome": attempt.outcome.value})
        )
        is_delivered = attempt.outcome is AttemptOutcome.DELIVERED
        delivery = Delivery(
            id=delivery_id,
            app_id=app.id,
            event_id=event.id,
            event_type=event.type,
            notifier_id=notifier.id,
            notifier_name=notifier.name,
            platform=notifier.platform,
            state=DeliveryState.DELIVERED if is_delivered else DeliveryState.FAILED,
            reason=_reason_of_test(attempt),
            attempt_count=1,
            created_at=started_at,
            expires_at=started_at,
            finished_at=self._clock.now(),
        )
        return delivery, attempt

    async def _find(self, app: App, notifier_id: str) -> Notifier:
        notifier = await self._store.read(verbs.find_notifier, app.id, notifier_id)
        if notifier is None:
            raise NotFound("notifier")
        return notifier

    async def _restate(
        self,
        app: App,
        notifier_id: str,
        change: Callable[[Notifier], Notifier],
        action: Action,
        details: Mapping[str, Any] = MappingProxyType({}),
    ) -> Notifier:
        async def store(before: Notifier) -> Notifier:
            after = change(before)
            written = partial(verbs.change_notifier, before=before, after=after)
            return await self._store.write(with_note(written, self._note(action, after, details)))

        return await self._change(app, notifier_id, store)

    async def _change(self, app: App, notifier_id: str, store: Callable[[Notifier], Awaitable[Notifier]]) -> Notifier:
        # Between reading and writing the worker may have disabled the notifier, or another client changed it.
        for _ in range(_TRIES - 1):
            try:
                return self._shown(await store(await self._find(app, notifier_id)))
            except verbs.Changed:
                continue
        return self._shown(await store(await self._find(app, notifier_id)))

    async def _check_members(self, app: App, notifier: Notifier) -> None:
        wrong = {}
        for name, user_ids in self._rules.members_of(notifier).items():
            members = await self._store.read(member_verbs.list_members, app.id, user_ids)
            strangers = set(user_ids) - {member.id for member in members}
            if strangers:
                wrong[f"type_data.{name}"] = [f"not the app's owner or a collaborator: {', '.join(sorted(strangers))}"]
        if wrong:
            raise InvalidInput(wrong)

    def _signing(self, notifier: Notifier) -> Notifier:
        if not self.platforms[notifier.platform].signs:
            raise NotFound("secret")
        return notifier

    def _event(self, event_type: str, notifier: Notifier, app: App, user: User) -> NewEvent:
        return self._ingest.own_event(event_type=event_type, type_data=self._told(notifier), user=user, app=app)

    def _note(self, action: Action, notifier: Notifier, details: Mapping[str, Any] = MappingProxyType({})) -> Note:
        return Note(
            action=action,
            at=self._clock.now(),
            app_id=notifier.app_id,
            object_id=notifier.id,
            object_name=notifier.name,
            details=details,
        )

    def _changed(self, before: Notifier, after: Notifier) -> dict[str, Any]:
        """What an edit changed, as the audit log tells it: a secret that is another is named, and shown masked."""
        found = changed(self._told(before), self._told(after))
        names = {*before.type_data, *after.type_data}
        others = sorted(name for name in names if before.type_data.get(name) != after.type_data.get(name))
        return found | ({"settings": others} if others else {})

    def _told(self, notifier: Notifier) -> dict[str, Any]:
        """What events tell of a notifier: its settings with secrets masked."""
        platform = self.platforms[notifier.platform]
        selected = (self.catalogue.event_type_by_id(each) for each in notifier.selected_event_ids)
        return {
            "notifier_id": notifier.id,
            "notifier_name": notifier.name,
            "active": notifier.active,
            "send_all_alerts": notifier.send_all_alerts,
            "send_all_events": notifier.send_all_events,
            "selected_events": [event_type.name for event_type in selected if event_type is not None],
            "notifier_type": platform.name,
            "notifier_type_data": mask_settings(platform, notifier.type_data),
            "platform_name": platform.name,
        }

    def _shown(self, notifier: Notifier) -> Notifier:
        waits_for = self.waits_for(notifier.platform)
        if waits_for is None or notifier.state is not NotifierState.ACTIVE:
            return notifier
        return msgspec.structs.replace(notifier, state_reason=f"waiting for set-up: {waits_for} is not set")


def waits_for_setup(platforms: Mapping[str, Platform], ready: frozenset[str], platform: str) -> str | None:
    """The operator's setting that a platform's deliveries wait for, if they do."""
    return None if platform in ready else platforms[platform].requires


def check_active(notifier: Notifier) -> None:
    """Raise Conflict for a notifier that its owner or the system switched off."""
    if not notifier.active:
        word = "disabled" if notifier.state is NotifierState.DISABLED else "off"
        raise Conflict(f"the notifier is {word}: set active to true first")


def _remove(connection: sa.Connection, notifier: Notifier, at: datetime) -> None:
    if verbs.find_notifier(connection, notifier.app_id, notifier.id) is None:
        raise NotFound("notifier")  # someone else removed it meanwhile, and told of it
    verbs.remove_notifier(connection, notifier.id, at=at)
    alert_verbs.drop_notifier(connection, notifier.app_id, notifier.id, at=at)


def _not_made(error: str, at: datetime) -> Attempt:
    return Attempt(
        number=1,
        started_at=at,
        duration_ms=0,
        outcome=AttemptOutcome.FAILED,
        reason=Reason.MISCONFIGURED,
        error=error,
    )


def _reason_of_test(attempt: Attempt) -> DeliveryReason | None:
    if attempt.outcome is AttemptOutcome.DELIVERED:
        return None
    match attempt.reason:
        case Reason.GONE:
            return DeliveryReason.GONE
        case Reason.MISCONFIGURED:
            return DeliveryReason.MISCONFIGURED
        case Reason.EGRESS_BLOCKED:
            return DeliveryReason.EGRESS_BLOCKED
        case Reason.REJECTED | Reason.AUTH | Reason.TOO_LARGE:
            return DeliveryReason.REJECTED
        case _:
            return DeliveryReason.EXHAUSTED  # worth another try, and a test has one
