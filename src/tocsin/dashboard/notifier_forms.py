"""What forms of a notifier hold, as it was typed, and the wish that it makes. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.catalogue import Catalogue, Category, EventType
from tocsin.dashboard.fields import Fields
from tocsin.dashboard.spans import read_span, read_spans, write_span, write_spans
from tocsin.model import Notifier
from tocsin.platforms.base import Platform, SettingKind

SETTING = "type_data."
"""Before the name of a setting in that of its field, as in what InvalidInput names."""

_BETWEEN_ADDRESSES = re.compile(r"[\s,;]+")


class Events(StrEnum):
    """Which events a notifier gets: the owner's first choice."""

    ALL = "all"
    CRITICAL = "critical"
    CUSTOM = "custom"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier is to get; `selected` are ids of event types, and count for CUSTOM alone."""

    events: Events
    selected: frozenset[str]
    all_alerts: bool


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A category as it can be chosen from, with those of its event types that a search shows."""

    category: Category
    event_types: Sequence[EventType]
    shown: frozenset[str]


def typed_settings(platform: Platform, form: Fields) -> dict[str, str | list[str]]:
    """What was typed for each setting, as it is shown again."""
    return {
        setting.name: form.all(SETTING + setting.name)
        if setting.kind is SettingKind.MEMBERS
        else form.get(SETTING + setting.name, "")
        for setting in platform.settings
    }


def shown_settings(platform: Platform, notifier: Notifier, *, is_whole: bool) -> dict[str, str | list[str]]:
    """A notifier's settings as a form shows them; without secret ones, unless `is_whole`."""
    shown: dict[str, str | list[str]] = {}
    for setting in platform.settings:
        value = notifier.type_data.get(setting.name)
        if setting.kind is SettingKind.MEMBERS:
            shown[setting.name] = list(value or ())
        elif setting.kind is SettingKind.EMAILS:
            shown[setting.name] = "\n".join(value or ())
        else:
            shown[setting.name] = "" if value is None or (setting.secret and not is_whole) else str(value)
    return shown


def type_data_of(platform: Platform, typed: Mapping[str, str | list[str]]) -> dict[str, str | list[str]]:
    """The settings that were typed: of addresses one or several a line, of everything else what it is."""
    data: dict[str, str | list[str]] = {}
    for setting in platform.settings:
        value = typed[setting.name]
        if isinstance(value, str) and setting.kind is SettingKind.EMAILS:
            data[setting.name] = [address for address in _BETWEEN_ADDRESSES.split(value) if address]
        else:
            data[setting.name] = value.strip() if isinstance(value, str) else value
    return data


def read_choice(catalogue: Catalogue, form: Fields) -> Choice:
    """What was chosen; a form that says nothing of it starts with what is critical."""
    if "events" not in form:
        critical = frozenset(each.id for each in catalogue.critical_event_types)
        return Choice(events=Events.CRITICAL, selected=critical, all_alerts=False)
    try:
        events = Events(form["events"])
    except ValueError:
        events = Events.CRITICAL
    names = set(form.all("category"))
    whole = {category.id for category in catalogue.categories if category.name in names}
    ids = set(form.all("event"))
    selected = {each.id for each in catalogue.event_types if each.id in ids or each.category_id in whole}
    return Choice(events=events, selected=frozenset(selected), all_alerts="send_all_alerts" in form)


def choice_of(catalogue: Catalogue, notifier: Notifier) -> Choice:
    selected = frozenset(notifier.selected_event_ids)
    critical = frozenset(each.id for each in catalogue.critical_event_types)
    events = Events.CRITICAL if selected == critical else Events.CUSTOM
    return Choice(
        events=Events.ALL if notifier.send_all_events else events,
        selected=selected,
        all_alerts=notifier.send_all_alerts,
    )


def wanted(catalogue: Catalogue, choice: Choice) -> dict[str, Any]:
    """The part of a wish that says what a notifier gets. What was selected before `all` was chosen is kept."""
    critical = tuple(each.id for each in catalogue.critical_event_types)
    own = tuple(each.id for each in catalogue.event_types if each.id in choice.selected)
    return {
        "send_all_events": choice.events is Events.ALL,
        "send_all_alerts": choice.all_alerts,
        "selected_event_ids": critical if choice.events is Events.CRITICAL else own,
    }


def listed(catalogue: Catalogue, search: str, told: Callable[[str], str]) -> list[Listed]:
    """Every category with its event types; those are shown that have all words of a search, as `told` says them."""
    words = search.casefold().split()
    categories = sorted(catalogue.categories, key=lambda category: category.position)
    found = []
    for category in categories:
        types = [each for each in catalogue.event_types if each.category_id == category.id]
        shown = frozenset(each.id for each in types if _has(each, category, words, told))
        found.append(Listed(category=category, event_types=types, shown=shown))
    return found


def _has(event_type: EventType, category: Category, words: Sequence[str], told: Callable[[str], str]) -> bool:
    texts = (event_type.display_name, event_type.description, category.display_name)
    text = " ".join((event_type.name, *map(told, texts))).casefold()
    return all(word in text for word in words)


PACE = ("rate_per_second", "retry_schedule", "expires_after")


def typed_pace(form: Fields) -> dict[str, str]:
    return {name: form.get(name, "") for name in PACE}


def shown_pace(notifier: Notifier) -> dict[str, str]:
    """Rate, schedule and lifetime as a form shows them; empty where the platform's own hold."""
    rate, schedule, lifetime = notifier.rate_per_second, notifier.retry_schedule, notifier.expires_after
    return {
        "rate_per_second": "" if rate is None else f"{rate:g}",
        "retry_schedule": "" if schedule is None else write_spans(schedule),
        "expires_after": "" if lifetime is None else write_span(lifetime),
    }


def pace_of(typed: Mapping[str, str], wrong: dict[str, list[str]]) -> dict[str, Any]:
    """The part of a wish that was typed of rate, schedule and lifetime; what cannot be read is added to `wrong`."""
    pace: dict[str, Any] = {"rate_per_second": 0.0, "retry_schedule": (), "expires_after": 0}
    try:
        pace["rate_per_second"] = float(typed["rate_per_second"].strip().replace(",", ".") or 0)
    except ValueError:
        wrong["rate_per_second"] = ["must be a number"]
    try:
        pace["retry_schedule"] = read_spans(typed["retry_schedule"])
    except ValueError as error:
        wrong["retry_schedule"] = [str(error)]
    try:
        pace["expires_after"] = int(read_span(typed["expires_after"] or "0"))
    except ValueError as error:
        wrong["expires_after"] = [str(error)]
    return pace
