"""What can happen: event types, their categories, and every kind of event with a sample. The facts are data.

An event has a type (`deployment`); a notifier selects event types by id, each with a name (`app_deployed`).
Events without an event type travel by `send_all_events` alone.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, Self

import msgspec


class Category(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    display_name: str
    position: int


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    """What a notifier can select. A critical one is selected by the default notifier of a new app."""

    id: str
    category_id: str
    name: str
    display_name: str
    description: str
    critical: bool = False


class EventKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One type of event, with an example of its `type_data`; `own` where Tocsin itself makes it."""

    type: str
    event_type_name: str | None = None
    scope: Literal["app", "project", "user"]
    own: bool = False
    sample: dict[str, Any]


class AlertMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an alert watches. A ratio of 0.1 is 10 %; `rpm` is requests a minute."""

    id: str
    display_name: str
    unit: Literal["ratio", "ms", "count", "rpm"]


class _Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    category: str
    name: str
    display_name: str
    description: str
    critical: bool = False


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    categories: tuple[Category, ...]
    event_types: tuple[_Listed, ...]
    events: tuple[EventKind, ...]
    alert_metrics: tuple[AlertMetric, ...]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The catalogue as a whole: read once, never changed. `events` goes by type."""

    categories: tuple[Category, ...]
    event_types: tuple[EventType, ...]
    events: Mapping[str, EventKind]
    alert_metrics: tuple[AlertMetric, ...]

    @classmethod
    def load(cls) -> Self:
        content = files(__name__).joinpath("catalogue.json").read_bytes()
        file = msgspec.json.decode(content, type=_File)
        category_ids = {category.name: category.id for category in file.categories}
        return cls(
            categories=file.categories,
            event_types=tuple(_event_type(listed, category_ids[listed.category]) for listed in file.event_types),
            events=MappingProxyType({kind.type: kind for kind in file.events}),
            alert_metrics=file.alert_metrics,
        )

    @cached_property
    def critical_event_types(self) -> tuple[EventType, ...]:
        return tuple(event_type for event_type in self.event_types if event_type.critical)

    def event_type_of(self, event_type: str) -> EventType | None:
        """What a notifier selects to get events of this type: `app_deployed` for `deployment`."""
        return self._by_type.get(event_type)

    def event_type_by_id(self, event_type_id: str) -> EventType | None:
        return self._by_id.get(event_type_id)

    def event_type_by_name(self, name: str) -> EventType | None:
        return self._by_name.get(name)

    def category_by_id(self, category_id: str) -> Category | None:
        return self._categories_by_id.get(category_id)

    @cached_property
    def _by_id(self) -> Mapping[str, EventType]:
        return {event_type.id: event_type for event_type in self.event_types}

    @cached_property
    def _by_name(self) -> Mapping[str, EventType]:
        return {event_type.name: event_type for event_type in self.event_types}

    @cached_property
    def _by_type(self) -> Mapping[str, EventType]:
        return {kind.type: self._by_name[kind.event_type_name] for kind in self.events.values() if kind.event_type_name}

    @cached_property
    def _categories_by_id(self) -> Mapping[str, Category]:
        return {category.id: category for category in self.categories}


def _event_type(listed: _Listed, category_id: str) -> EventType:
    return EventType(
        id=listed.id,
        category_id=category_id,
        name=listed.name,
        display_name=listed.display_name,
        description=listed.description,
        critical=listed.critical,
    )
