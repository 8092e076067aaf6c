"""What a notifier must look like: a client's wishes, checked against the platforms and the catalogue. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from tocsin.catalogue import Catalogue, EventType
from tocsin.errors import InvalidInput
from tocsin.ids import new_uuid7
from tocsin.life import freed, renewed
from tocsin.model import App, Notifier, NotifierState
from tocsin.platforms.base import Platform, SettingKind
from tocsin.platforms.settings import read_settings
from tocsin.platforms.signing import new_secret

MAX_NAME_LENGTH = 255
MIN_RATE, MAX_RATE = 0.01, 1000
MAX_ATTEMPTS = 20
MAX_DELAY_SECONDS = 86_400
MIN_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS = 60, 7 * 86_400
DEFAULT_PLATFORM = "email"

_ZERO_WIDTH_JOINER = "\u200d"  # holds emoji together, though Python does not count it as printable


class NotifierWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks of a notifier; None is not given, and an empty text neither.

    `selected_events` are names of event types, read only where `selected_event_ids` is not given. A rate or lifetime of
    0, and an empty schedule, ask for the platform's own.
    """

    platform_id: str | None = None
    type: str | None = None
    name: str | None = None
    active: bool | None = None
    send_all_alerts: bool | None = None
    send_all_events: bool | None = None
    selected_event_ids: Sequence[str] | None = None
    selected_events: Sequence[str] | None = None
    type_data: Mapping[str, Any] | None = None
    rate_per_second: float | None = None
    retry_schedule: Sequence[float] | None = None
    expires_after: int | None = None


class NotifierRules:
    """Makes notifiers of wishes. Every verb raises InvalidInput that names all fields that are wrong."""

    def __init__(
        self, *, catalogue: Catalogue, platforms: Mapping[str, Platform], check_url: Callable[[str], None]
    ) -> None:
        self._catalogue = catalogue
        self._platforms = platforms
        self._by_id = {platform.id: platform for platform in platforms.values()}
        self._check_url = check_url

    def new(self, app: App, wish: NotifierWish, *, at: datetime) -> Notifier:
        wrong: dict[str, list[str]] = {}
        name = self._name(wish, wrong)
        if name is None and not wrong:
            wrong["name"] = ["is required"]
        platform = self._platform(wish, wrong)
        selected = self._selected(wish, wrong)
        settings = None if platform is None else self._settings(platform, wish.type_data or {}, wrong)
        pace = _pace(wish, wrong)
        if wrong or platform is None or name is None or settings is None:
            raise InvalidInput(wrong)
        active = wish.active is not False
        return Notifier(
            id=new_uuid7("no"),
            app_id=app.id,
            name=name,
            platform=platform.name,
            active=active,
            state=NotifierState.ACTIVE if active else NotifierState.OFF,
            send_all_alerts=bool(wish.send_all_alerts),
            send_all_events=bool(wish.send_all_events),
            selected_event_ids=selected or (),
            type_data=settings,
            secret=new_secret() if platform.signs else "",
            **pace,
            created_at=at,
            updated_at=at,
        )

    def changed(self, notifier: Notifier, wish: NotifierWish, *, at: datetime) -> Notifier:
        """The notifier as the wish makes it: what is not given stays, a given `type_data` replaces all of it."""
        wrong: dict[str, list[str]] = {}
        platform = self._platforms[notifier.platform]
        if wish.platform_id not in {None, "", platform.id}:
            wrong["platform_id"] = ["cannot be changed: add another notifier"]
        if wish.type not in {None, "", platform.name}:
            wrong["type"] = ["cannot be changed: add another notifier"]
        given = {
            "name": self._name(wish, wrong),
            "send_all_alerts": wish.send_all_alerts,
            "send_all_events": wish.send_all_events,
            "selected_event_ids": self._selected(wish, wrong),
            "type_data": self._settings(platform, wish.type_data, wrong) if wish.type_data else None,
        }
        pace = _pace(wish, wrong)
        if wrong:
            raise InvalidInput(wrong)
        kept = {name: value for name, value in given.items() if value is not None} | pace
        changed = msgspec.structs.replace(notifier, **kept, updated_at=at)
        if changed.type_data != notifier.type_data and notifier.state is not NotifierState.PAUSED:
            changed = freed(changed, at)  # another receiver: what is known of the one before says nothing of it
        return switched(changed, active=wish.active, at=at)

    def members_of(self, notifier: Notifier) -> Mapping[str, Sequence[str]]:
        """The user ids that the notifier's settings name, by the name of the setting."""
        settings = self._platforms[notifier.platform].settings
        return {
            setting.name: notifier.type_data[setting.name]
            for setting in settings
            if setting.kind is SettingKind.MEMBERS and notifier.type_data.get(setting.name)
        }

    def _platform(self, wish: NotifierWish, wrong: dict[str, list[str]]) -> Platform | None:
        if not wish.platform_id:
            wrong["platform_id"] = ["is required"]
            return None
        platform = self._by_id.get(wish.platform_id)
        if platform is None:
            known = ", ".join(f"{each.id} ({each.name})" for each in self._platforms.values())
            wrong["platform_id"] = [f"is not the id of a notification platform; there are {known}"]
        return platform

    def _name(self, wish: NotifierWish, wrong: dict[str, list[str]]) -> str | None:
        if wish.name is None or wish.name == "":
            return None
        if is_printable(wish.name, MAX_NAME_LENGTH):
            return wish.name
        wrong["name"] = [f"must be 1 to {MAX_NAME_LENGTH} printable characters"]
        return None

    def _selected(self, wish: NotifierWish, wrong: dict[str, list[str]]) -> tuple[str, ...] | None:
        find: Callable[[str], EventType | None] = self._catalogue.event_type_by_id
        field, given = "selected_event_ids", wish.selected_event_ids
        if given is None:
            find = self._catalogue.event_type_by_name
            field, given = "selected_events", wish.selected_events
        if given is None:
            return None
        unknown = [entry for entry in given if find(entry) is None]
        if unknown:
            wrong[field] = [f"has no such event type: {_listed(unknown)}"]
            return None
        found = (find(entry) for entry in given)
        return tuple(dict.fromkeys(event_type.id for event_type in found if event_type is not None))

    def _settings(
        self, platform: Platform, type_data: Mapping[str, Any], wrong: dict[str, list[str]]
    ) -> dict[str, Any] | None:
        try:
            return read_settings(platform, type_data, self._check_url)
        except InvalidInput as error:
            wrong.update(error.fields)
            return None


def _pace(wish: NotifierWish, wrong: dict[str, list[str]]) -> dict[str, Any]:
    """What the wish says of rate, schedule and lifetime; None is the platform's own."""
    pace: dict[str, Any] = {}
    rate, schedule, lifetime = wish.rate_per_second, wish.retry_schedule, wish.expires_after
    if rate is not None:
        pace["rate_per_second"] = rate or None
        if rate and not MIN_RATE <= rate <= MAX_RATE:
            wrong["rate_per_second"] = [f"must be from {MIN_RATE} to {MAX_RATE}, or 0 for the platform's own"]
    if schedule is not None:
        pace["retry_schedule"] = tuple(schedule) or None
        if not (len(schedule) <= MAX_ATTEMPTS and all(0 <= delay <= MAX_DELAY_SECONDS for delay in schedule)):
            each = f"each from 0 to {MAX_DELAY_SECONDS}, or empty for the platform's own"
            wrong["retry_schedule"] = [f"must be the seconds before each of at most {MAX_ATTEMPTS} attempts, {each}"]
    if lifetime is not None:
        pace["expires_after"] = lifetime or None
        if lifetime and not MIN_LIFETIME_SECONDS <= lifetime <= MAX_LIFETIME_SECONDS:
            limits = f"{MIN_LIFETIME_SECONDS} to {MAX_LIFETIME_SECONDS} seconds"
            wrong["expires_after"] = [f"must be from {limits}, or 0 for the platform's own"]
    return pace


def switched(notifier: Notifier, *, active: bool | None, at: datetime) -> Notifier:
    """The notifier after its owner's switch was set: off, or on again; one that is on already keeps its state."""
    if active is None or (active and notifier.active):
        return notifier
    state = NotifierState.ACTIVE if active else NotifierState.OFF
    if active:
        notifier = renewed(notifier, at)
    return msgspec.structs.replace(notifier, active=active, state=state, state_reason=None, held_until=None)


def default_notifier(app: App, catalogue: Catalogue, at: datetime) -> Notifier:
    """The notifier that every new app starts with: critical events by e-mail to its owner."""
    return Notifier(
        id=new_uuid7("no"),
        app_id=app.id,
        name=f"Default '{app.name}' notifier",
        platform=DEFAULT_PLATFORM,
        selected_event_ids=_ids(catalogue.critical_event_types),
        type_data={"user_ids": [app.owner.id], "emails": []},
        secret="",
        created_at=at,
        updated_at=at,
    )


def is_printable(text: str, max_length: int) -> bool:
    """Whether a text is not blank, not longer than that, and free of control characters."""
    characters = (character.isprintable() or character == _ZERO_WIDTH_JOINER for character in text)
    return len(text) <= max_length and bool(text.strip()) and all(characters)


def _ids(event_types: Iterable[EventType]) -> tuple[str, ...]:
    return tuple(event_type.id for event_type in event_types)


def _listed(entries: Sequence[str]) -> str:
    """The first few entries, for a message; what a client sent is quoted as ASCII and cut."""
    shown = ", ".join(ascii(entry)[:80] for entry in entries[:5])
    return f"{shown} and {len(entries) - 5} more" if len(entries) > 5 else shown
