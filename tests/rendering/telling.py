"""Making events to put in words."""

from datetime import UTC, datetime
from typing import Any

from tocsin.model import Event, EventUser, Message
from tocsin.rendering import render

ALICE = EventUser(username="alice", email="alice@example.com", id="us-1")


def event(event_type: str, *, user: EventUser = ALICE, app_name: str | None = "my-app", **type_data: Any) -> Event:
    return Event(
        id="695733c5a7d3f2000c8e4200",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        user=user,
        app_id="695733c5a7d3f2000c8e4100",
        app_name=app_name,
        type=event_type,
        type_data=type_data,
    )


def tell(event_type: str, **type_data: Any) -> Message:
    return render(event(event_type, **type_data))


def shown(message: Message) -> str:
    """Everything of a message that a reader can see."""
    fields = (f"{field.label}\0{field.value}" for field in message.fields)
    return "\0".join([message.title, message.text, message.link or "", message.app_name or "", *fields])
