"""What the store asks while it stores an event: who gets it, until when, and whether it can be sent at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tocsin.catalogue import Catalogue
from tocsin.health import Health
from tocsin.model import Notifier, NotifierState
from tocsin.platforms.base import Platform
from tocsin.routing import ALERT_TYPE, hears, named_by_rules
from tocsin.slots import Slots
from tocsin.store.port import AppRoutes, NewEvent


class Dispatcher:
    """`tocsin.store.port.Dispatch` for a process: routes by the catalogue, hands over while slots are free."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        platforms: Mapping[str, Platform],
        ready: frozenset[str],
        slots: Slots | None,
        health: Health,
        lease_seconds: float,
    ) -> None:
        """`ready` names the platforms that are set up; without `slots` nothing is handed over at storing."""
        self._type_ids = {
            kind: found.id for kind in catalogue.events if (found := catalogue.event_type_of(kind)) is not None
        }
        self._expiry = {name: platform.expires_after for name, platform in platforms.items()}
        self._ready = ready
        self._slots = slots
        self._health = health
        self._lease = timedelta(seconds=lease_seconds)

    def route(self, event: NewEvent, routes: AppRoutes) -> Sequence[Notifier]:
        named: frozenset[str] = frozenset()
        if event.type == ALERT_TYPE and event.alert is not None:
            named = named_by_rules(routes.alerts, event.alert)
        found = routes.router.route(
            event_type=event.type, event_type_id=self._type_ids.get(event.type), named_ids=named
        )
        if event.about is None:
            return found
        return [each for each in found if hears(each, event.about)]

    def expires_at(self, event: NewEvent, notifier: Notifier) -> datetime:
        return event.received_at + self.lifetime(notifier.platform, notifier.expires_after)

    def lifetime(self, platform: str, expires_after: int | None) -> timedelta:
        """How long a delivery is kept trying: the notifier's own seconds, or what its platform has."""
        if expires_after is not None:
            return timedelta(seconds=expires_after)
        return self._expiry.get(platform, timedelta(hours=24))

    def may_send(self, notifier: Notifier) -> bool:
        return notifier.platform in self._ready and notifier.state is NotifierState.ACTIVE

    def take_slot(self, notifier: Notifier) -> bool:
        return (
            self._slots is not None
            and self.may_send(notifier)
            and not self._health.is_stopped(notifier.id)
            and self._slots.take(notifier)
        )

    def give_back_slot(self, notifier_id: str) -> None:
        if self._slots is not None:
            self._slots.undo(notifier_id)

    def lease_until(self, claimed_at: datetime) -> datetime:
        return claimed_at + self._lease
