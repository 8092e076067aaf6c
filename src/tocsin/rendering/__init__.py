"""Events in words: pure, and the same for every platform. Each module holds the sentences of one subject."""

from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from tocsin.model import Event, Field, Message
from tocsin.rendering import (
    accounts,
    addons,
    alerts,
    apps,
    collaborators,
    databases,
    deployments,
    domains,
    notifiers,
    other,
    projects,
    repositories,
    variables,
)
from tocsin.rendering.draft import Renderer
from tocsin.rendering.read import UNNAMED_APP, UNNAMED_OWNER, UNNAMED_PROJECT, Facts
from tocsin.rendering.words import capital, clip, lines, one_line

MAX_TITLE = 300
MAX_TEXT = 4_000
MAX_FIELDS = 20
MAX_LABEL = 60
MAX_VALUE = 500

SENTENCES: Mapping[str, Renderer] = MappingProxyType(
    {
        **apps.SENTENCES,
        **deployments.SENTENCES,
        **addons.SENTENCES,
        **databases.SENTENCES,
        **collaborators.SENTENCES,
        **domains.SENTENCES,
        **variables.SENTENCES,
        **alerts.SENTENCES,
        **notifiers.SENTENCES,
        **repositories.SENTENCES,
        **projects.SENTENCES,
        **accounts.SENTENCES,
    }
)

# Where a sentence begins with words of ours for someone or something that the event does not name.
_UNNAMED = (UNNAMED_APP, UNNAMED_PROJECT, UNNAMED_OWNER)


def render(event: Event, *, link: str | None = None) -> Message:
    """Put an event in words. Never raises for what `type_data` holds; `link` is used when that offers none."""
    facts = Facts(event)
    draft = SENTENCES.get(event.type, other.unknown)(facts)
    title = one_line(draft.title, MAX_TITLE)
    if title.startswith(_UNNAMED):
        title = capital(title)
    return Message(
        title=title,
        text=clip(lines(draft.text), MAX_TEXT),
        severity=draft.severity,
        fields=tuple(islice(_fields(draft.fields), MAX_FIELDS)),
        link=draft.link or link,
        app_name=one_line(event.app_name, MAX_LABEL) if event.app_name else None,
        event_id=event.id,
        event_type=event.type,
        created_at=event.created_at,
    )


def _fields(pairs: tuple[tuple[str, str], ...]) -> Iterator[Field]:
    for label, value in pairs:
        if (label := one_line(label, MAX_LABEL)) and (value := one_line(value, MAX_VALUE)):
            yield Field(label, value)
