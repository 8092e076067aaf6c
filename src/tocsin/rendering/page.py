"""The page of all events: `python -m tocsin.rendering.page > docs/events.md` writes it, a test holds it true."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from tocsin.catalogue import Catalogue, EventKind
from tocsin.model import Event, EventUser
from tocsin.rendering import render

_INTRODUCTION = """\
# Events

What can happen, as its sender names it (the type, in an event), as a notifier selects it (the event-type name, in
`selected_events` and by id in `selected_event_ids`), and as people read it: the sentence is that of a sample event.
The severity is that of the sample too; where it depends on how something ended (a deployment, an alert, a payment),
so does the severity.

Events without an event-type name reach the notifiers that take all events (`send_all_events`), and no others. So do
events of types that are not listed here: any type is accepted, and put in words as well as it can be.

The names in **bold** are selected by the default notifier of a new app.

This page is written by `python -m tocsin.rendering.page > docs/events.md`.
"""


def sample_event(kind: EventKind) -> Event:
    """An event of this kind as the catalogue's sample has it: alice's, in my-app or in her project."""
    return Event(
        id="695733c5a7d3f2000c8e4200",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        user=EventUser(username="alice", email="alice@example.com", id="us-6f1d2a60-3c54-4f0b-9d3e-0d7a5c1e8b21"),
        app_id="695733c5a7d3f2000c8e4100" if kind.scope == "app" else None,
        app_name="my-app" if kind.scope == "app" else None,
        type=kind.type,
        type_data=dict(kind.sample),
        project_id="prj-9d4e6b20-8a17-4c5f-b3d2-1f6e7c8a9b05" if kind.scope == "project" else None,
        project_name="shop" if kind.scope == "project" else None,
    )


def page(catalogue: Catalogue) -> str:
    kinds = catalogue.events.values()
    parts = [_INTRODUCTION]
    for category in catalogue.categories:
        named = [kind for kind in kinds if _category_id(catalogue, kind) == category.id]
        parts.append(f"## {category.display_name}\n\n{_table(catalogue, named)}")
    unnamed = [kind for kind in kinds if not kind.event_type_name and not kind.own]
    parts.append(f"## Without an event-type name\n\n{_table(catalogue, unnamed)}")
    own = [kind for kind in kinds if kind.own]
    intro = (
        "What happens to a notifier itself. They go to the app's other active notifiers that send all events, or to "
        "its owner by mail."
    )
    parts.append(f"## Made by Tocsin\n\n{intro}\n\n{_table(catalogue, own)}")
    return "\n".join(parts)


def _category_id(catalogue: Catalogue, kind: EventKind) -> str | None:
    event_type = catalogue.event_type_of(kind.type)
    return event_type.category_id if event_type else None


def _table(catalogue: Catalogue, kinds: Iterable[EventKind]) -> str:
    rows = ["| type | event-type name | category | severity | sentence |", "| --- | --- | --- | --- | --- |"]
    rows.extend(_row(catalogue, kind) for kind in kinds)
    return "\n".join(rows) + "\n"


def _row(catalogue: Catalogue, kind: EventKind) -> str:
    message = render(sample_event(kind))
    event_type = catalogue.event_type_of(kind.type)
    category = catalogue.category_by_id(event_type.category_id) if event_type else None
    name = f"`{event_type.name}`" if event_type else ""
    cells = (
        f"`{kind.type}`",
        f"**{name}**" if event_type and event_type.critical else name,
        f"`{category.name}`" if category else "",
        str(message.severity),
        message.title.replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page(Catalogue.load()))
